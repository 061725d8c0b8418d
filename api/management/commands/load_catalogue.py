"""Load a catalogue: `manage.py load_catalogue NAME_OR_FILE [--replace] [--dry-run]`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.catalogue.check import find_catalogue, read_catalogue
from api.catalogue.load import CatalogueChanges, load_document
from api.catalogue.reader import CatalogueError


class Command(BaseCommand):
    """The command: it loads all of a file, or reports every problem and loads nothing."""

    help = "Load a catalogue: a file, or the name of a shipped one (default, weatmood, ...)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("catalogue", help="my/file.toml, or the name of a shipped catalogue")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="disable models that are not in the file, as when switching catalogues",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would change, and change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the load. Raise CommandError (exit status 1) listing the problems."""
        dry_run: bool = options["dry_run"]
        try:
            path = find_catalogue(options["catalogue"])
            document = read_catalogue(path, settings.READ_ENVIRONMENT)
            changes = load_document(
                document,
                file=path.name,
                name=path.stem,
                replace=options["replace"],
                dry_run=dry_run,
            )
        except CatalogueError as error:
            count = len(error.problems)
            heading = f"{count} problem{'s' if count > 1 else ''}; nothing was loaded"
            raise CommandError("\n  ".join([heading, *error.problems])) from None
        if options["verbosity"] > 1:
            for detail in changes.details:
                self.stdout.write(detail)
        self.stdout.write(f"{path.name}: {summary_of(changes, dry_run=dry_run)}")


def summary_of(changes: CatalogueChanges, *, dry_run: bool) -> str:
    """Return a line that sums up the changes of a load."""
    if changes.is_empty():
        return "nothing to change"
    kinds = []
    for kind, counts in changes.counts.items():
        plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        kinds.append(f"{plural} {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}")
    return f"{'would load' if dry_run else 'loaded'}: {'; '.join(kinds)}"

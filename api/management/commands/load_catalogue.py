"""`manage.py load_catalogue NAME_OR_FILE [--replace] [--dry-run]`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.catalogue.check import find_catalogue, read_catalogue
from api.catalogue.file import CatalogueError
from api.catalogue.load import Changes, load_document


class Command(BaseCommand):
    """Checks a catalogue file and loads all of it, or says every problem and loads nothing."""

    help = "Loads a catalogue: a file, or the name of one that ships (default, weatmood, ...)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("catalogue", help="my/file.toml, or a shipped catalogue's name")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="disable the models that the file does not name, as when switching catalogues",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change and change nothing"
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


def summary_of(changes: Changes, *, dry_run: bool) -> str:
    """Return what a load did, or would do, in a line."""
    if changes.is_empty():
        return "nothing to change"
    kinds = []
    for kind, counts in changes.counts.items():
        plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        kinds.append(f"{plural} {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}")
    return f"{'would load' if dry_run else 'loaded'}: {'; '.join(kinds)}"

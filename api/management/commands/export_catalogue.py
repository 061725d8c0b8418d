"""Export the catalogue: `manage.py export_catalogue [--diff NAME_OR_FILE] > my.toml`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.catalogue.check import find_catalogue, read_catalogue
from api.catalogue.export import changes_by, export_catalogue
from api.catalogue.reader import CatalogueError


class Command(BaseCommand):
    """The command: it prints the catalogue, or what loading a file would change of it."""

    help = "Print the whole catalogue as the TOML that load_catalogue takes. No keys are in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--diff", metavar="CATALOGUE", help="print what loading this file would change"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it. Raise CommandError (exit status 1) listing a file's problems."""
        if not options["diff"]:
            self.stdout.write(export_catalogue(), ending="")
            return
        try:
            path = find_catalogue(options["diff"])
            document = read_catalogue(path, settings.READ_ENVIRONMENT)
            changes, diff = changes_by(document, path.name)
        except CatalogueError as error:
            raise CommandError("\n  ".join(["The file can't be loaded", *error.problems])) from None
        self.stdout.write(diff if not changes.is_empty() else "nothing to change")

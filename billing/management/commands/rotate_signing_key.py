"""Replace the key that signs receipts and day roots: `manage.py rotate_signing_key`."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.commands import OperatorCommand
from billing.receipts import keys


class Command(OperatorCommand):
    """The command."""

    help = (
        "Create the next key for receipts and day roots. It is published at once, and signs two "
        "hours later, when every cached copy of the JWKS has it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--now", action="store_true", help="sign with it at once")
        parser.add_argument(
            "--withdraw",
            metavar="KEY_ID",
            help="also stop publishing this key, because its private half leaked; implies --now",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the new key's id. Raise CommandError for a key that is not published."""
        withdrawn = options["withdraw"]
        if withdrawn and not keys.withdraw(withdrawn):
            raise CommandError(f"No published key has the id {withdrawn!r}.")
        key = keys.rotate(at_once=options["now"] or bool(withdrawn))
        self.stdout.write(f"{key} signs from {key.signs_from:%Y-%m-%d %H:%M} UTC.")

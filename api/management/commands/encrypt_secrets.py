"""Encrypt all stored secrets with the newest of ENCRYPTION_KEYS: `manage.py encrypt_secrets`."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.commands import OperatorCommand
from accounts.encryption import DecryptionError
from api.reencryption import decrypt_second_factors, reencrypt


class Command(OperatorCommand):
    """The command."""

    help = (
        "Encrypt all keys of upstreams, second factors, signing keys and the secrets of alert "
        "targets and webhooks that are stored under an older key, or as plaintext, under the "
        "newest of ENCRYPTION_KEYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--undo",
            action="store_true",
            help="store second factors as plaintext, to go back to a release before encryption",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Change the rows and print their number. Raise CommandError if a key is missing."""
        try:
            count = decrypt_second_factors() if options["undo"] else reencrypt()
        except DecryptionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Rows changed: {count}.")

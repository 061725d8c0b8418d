"""Revoke an API key: `manage.py revoke_key 12`, or `revoke_key sk-tg-…a1b2`."""

import re
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.api_keys import find_active, revoke_key
from accounts.commands import OperatorCommand
from accounts.models import ApiKey

_ABBREVIATED = re.compile(
    r"(?P<prefix>[A-Za-z0-9-]{1,20})(?:…|\.\.\.)(?P<last_four>[0-9A-Za-z]{4})"
)


class Command(OperatorCommand):
    """The command."""

    help = "Revoke an API key, from its next request on."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "key", metavar="KEY", help="the key's id, or prefix…last4 as it is shown in lists"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke the key and print when."""
        key = self._find(options["key"])
        revoke_key(key)
        self.stdout.write(
            f"API key {key.pk}, {key}, of team {key.team.slug}: revoked at "
            f"{key.revoked_at:%Y-%m-%d %H:%M:%S} UTC."
        )

    def _find(self, text: str) -> ApiKey:
        keys = ApiKey.objects.select_related("team")
        if text.isascii() and text.isdigit() and len(text) <= 18:
            found = list(keys.filter(pk=int(text)))
        elif abbreviated := _ABBREVIATED.fullmatch(text):
            found = list(keys.filter(**abbreviated.groupdict()).order_by("id")[:10])
        elif whole := find_active(text):
            raise CommandError(
                f"That is the key itself, which is now in your shell's history. "
                f"Revoke it with `manage.py revoke_key {whole.pk}`."
            )
        else:
            raise CommandError("Name the key by its id or as prefix…last4, such as sk-tg-…a1b2.")
        if not found:
            raise CommandError("No such API key. They are listed in the admin, under API keys.")
        if len(found) > 1:
            ids = ", ".join(f"{key.pk} ({key.team.slug})" for key in found)
            raise CommandError(f"Several API keys match; name one by its id: {ids}.")
        return found[0]

"""Create an API key for a team: `manage.py create_key TEAM [--name NAME] [--json]`."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts import api_keys
from accounts.commands import OperatorCommand
from accounts.models import ApiKey
from api.management.arguments import dollars, moment
from api.service import current_service


class Command(OperatorCommand):
    """The command."""

    help = "Create an API key for a team and show it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("team", metavar="TEAM", help="a slug, an id or a member's email")
        parser.add_argument("--name", default="Made by staff")
        parser.add_argument("--scope", choices=ApiKey.Scope.values, default=ApiKey.Scope.INFERENCE)
        parser.add_argument("--expires-at", metavar="TIME", type=moment, help="ISO 8601")
        parser.add_argument(
            "--model", action="append", default=[], help="an allowed model; repeat for more"
        )
        for limit in ("requests", "tokens"):
            parser.add_argument(f"--{limit}-per-minute", type=int, help="default: the plan's")
        for period in ("day", "month", "total"):
            parser.add_argument(f"--budget-{period}", metavar="DOLLARS", type=dollars)
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the key and print it."""
        team = self.team(options["team"])
        if options["expires_at"] is not None and options["expires_at"] <= timezone.now():
            raise CommandError("--expires-at is in the past. Give a time in the future.")
        for limit in ("requests_per_minute", "tokens_per_minute"):
            if options[limit] is not None and not 1 <= options[limit] <= 2**31 - 1:
                raise CommandError(f"--{limit.replace('_', '-')}: give a number from 1 to 2^31-1.")
        key, plaintext = api_keys.create_key(
            team,
            None,
            options["name"],
            prefix=current_service().key_prefix,
            scope=options["scope"],
            expires_at=options["expires_at"],
            allowed_models=options["model"],
            requests_per_minute=options["requests_per_minute"],
            tokens_per_minute=options["tokens_per_minute"],
            budget_day_nanos=options["budget_day"],
            budget_month_nanos=options["budget_month"],
            budget_total_nanos=options["budget_total"],
        )
        if options["json"]:
            self.stdout.write(
                json.dumps({"team": team.slug, "key_id": key.pk, "api_key": plaintext})
            )
            return
        self.stdout.write(f"{plaintext}\nKey {key.pk} of {team.slug}; it is shown this once.")

"""`manage.py balance TEAM [--json]`: a team's balance."""

import json
from typing import Any

from django.core.management.base import CommandParser

from accounts.commands import OperatorCommand
from billing.usage.balances import balance_of


class Command(OperatorCommand):
    """Print a team's balance."""

    help = "Show a team's balance in dollars: posted, held by open requests, available."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument("team", metavar="TEAM", help="a slug, an id or a member's email")
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the balance."""
        team = self.team(options["team"])
        balance = {"team": team.slug, **balance_of(team).as_json()}
        if options["json"]:
            self.stdout.write(json.dumps(balance))
            return
        self.stdout.write(f"{team.name} ({team.slug})")
        for part in ("posted", "held", "available"):
            self.stdout.write(f"  {part:<9} ${balance[part]:>20}")

"""`manage.py check_ledger`: prove that the ledger is consistent."""

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from billing.ledger import invariants
from billing.models import CreditAccount, Reservation, Transfer


class Command(BaseCommand):
    """Check every invariant of the ledger. Exit with 1 and examples if one is broken."""

    help = "Prove the ledger's invariants and print what was checked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print a line for each invariant. Raise CommandError if one is broken."""
        findings = invariants.check()
        counted = {
            "accounts": CreditAccount.objects.count(),
            "transfers": Transfer.objects.count(),
            "reservations": Reservation.objects.count(),
        }
        broken = sum(finding.count for finding in findings)
        if options["json"]:
            report = {
                "ok": not broken,
                "checked": counted,
                "violations": {f.invariant.name: f.examples for f in findings if f.count},
            }
            self.stdout.write(msgspec.json.encode(report).decode())
        else:
            for finding in findings:
                state = f"{finding.count} VIOLATIONS" if finding.count else "ok"
                self.stdout.write(f"{finding.invariant.name:12} {state}: {finding.invariant.rule}")
                for example in finding.examples:
                    self.stdout.write(f"    {example}")
            self.stdout.write(
                "Checked " + ", ".join(f"{count} {name}" for name, count in counted.items()) + "."
            )
        if broken:
            raise CommandError("The ledger's books are wrong; see the violations above.")

"""`manage.py check_ledger`: the proof that the books are right."""

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from billing.ledger import invariants
from billing.models import CreditAccount, Reservation, Transfer


class Command(BaseCommand):
    """Checks every invariant of the ledger; exits with 1 and says where one is broken."""

    help = "Proves the ledger's invariants and prints what was checked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Adds the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prints a line for each invariant. Raises CommandError where one is broken."""
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

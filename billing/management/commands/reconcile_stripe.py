"""`manage.py reconcile_stripe --since 2026-11-01`: reconcile Stripe's balance with the books."""

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from billing.errors import StripeError
from billing.payments.reconciliation import Report, reconcile
from billing.pricing.money import cents_text


class Command(BaseCommand):
    """Print each difference. Exit with 1 if there is one, or if Stripe does not answer."""

    help = "Compare Stripe's balance transactions with the books and print each difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--since", type=_day, required=True, help="The first day to compare (UTC), YYYY-MM-DD."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the report. Raise CommandError for differences, and if Stripe does not answer."""
        try:
            report = reconcile(options["since"])
        except StripeError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(msgspec.json.encode(asdict(report)).decode())
        else:
            self._print(report)
        if report.differences:
            raise CommandError(f"{len(report.differences)} differences.")

    def _print(self, report: Report) -> None:
        self.stdout.write(
            f"From {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC: "
            f"{report.compared} payments, refunds and disputes."
        )
        figures = {
            "Stripe moved for us": report.stripe_cents,
            "The books say": report.books_cents,
            "Stripe's fees on these": report.fee_cents,
            "Not ours": sum(report.foreign.values()),
            **{f"Other, {name}": cents for name, cents in sorted(report.other.items())},
        }
        for name, cents in figures.items():
            self.stdout.write(f"  {name}: {cents_text(cents)}")
        for payment, cents in report.foreign.items():
            self.stdout.write(f"Not of this service: {payment}, {cents_text(cents)}")
        for each in report.differences:
            self.stdout.write(f"DIFFERENCE: {each.sentence}")


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a date: use YYYY-MM-DD") from None

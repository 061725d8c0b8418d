"""`manage.py margins --by WHAT [--days N] [--csv]`: revenue, upstream cost and margin."""

import csv
from datetime import timedelta
from typing import Any, get_args

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from billing.pricing.money import dollars_text
from billing.usage.margins import By, Margin, margins


class Command(BaseCommand):
    """Print margins."""

    help = "Show what customers paid, what upstreams charge us, and what is left, in dollars."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument("--by", choices=get_args(By), default="model")
        parser.add_argument("--days", type=int, default=30, help="how many days back")
        parser.add_argument("--limit", type=int, default=100, help="maximum number of rows")
        parser.add_argument("--csv", action="store_true", help="comma-separated values")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the margins."""
        now = timezone.now()
        found = margins(options["by"], now - timedelta(days=options["days"]), now, options["limit"])
        heading = [options["by"], "requests", "revenue", "upstream cost", "margin", "percent"]
        rows = [heading, *map(_row, found)]
        if options["csv"]:
            csv.writer(self.stdout).writerows(rows)
            return
        for name, *figures in rows:
            self.stdout.write(f"{name:<40}" + "".join(f"{figure:>18}" for figure in figures))


def _row(margin: Margin) -> list[str]:
    return [
        margin.name,
        str(margin.requests),
        dollars_text(margin.charged_nanos),
        dollars_text(margin.upstream_cost_nanos),
        dollars_text(margin.margin_nanos),
        "" if margin.percent is None else f"{margin.percent:.1f}",
    ]

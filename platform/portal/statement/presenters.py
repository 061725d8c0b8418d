"""A statement as its page and its CSV show it."""

from collections.abc import Iterator
from datetime import UTC
from typing import NamedTuple

from django.http import QueryDict
from django.urls import reverse

from billing.pricing.money import dollars_text
from billing.usage.statement import Line, Statement, every_line, lines_by_day, lines_from
from portal.statement.queries import models_of
from portal.ui.csv import Row
from portal.ui.money import Balances, balances_in_cents

PAGE_ROWS = 100
DAY_ROWS = 500
CSV_HEADER: Row = [
    "time_utc",
    "kind",
    "reference",
    "memo",
    "transfers",
    "amount_usd",
    "balance_usd",
]


class StatementPage(NamedTuple):
    """One page of a statement: its lines, each with its model, and the adjacent pages' URLs."""

    lines: list[tuple[Line, str]]
    earlier_url: str
    later_url: str


def headline_of(statement: Statement) -> Balances:
    """Return the statement's totals, rounded to cents so that they add up as shown."""
    return balances_in_cents(
        Balances(
            opening_nanos=statement.opening_nanos,
            credits_nanos=statement.credits_nanos,
            debits_nanos=statement.debits_nanos,
            closing_nanos=statement.closing_nanos,
        )
    )


def page_of(statement: Statement, query: QueryDict, *, by_day: bool) -> StatementPage:
    """Return the page that begins at the query's `start`."""
    if by_day:
        return _page_of_days(statement, query)
    return _page_of_transfers(statement, query)


def _page_of_days(statement: Statement, query: QueryDict) -> StatementPage:
    """Return a page of days; `start` is the index of the first one."""
    days = lines_by_day(statement)
    start = min(_start_of(query), max(len(days) - 1, 0))
    end = start + DAY_ROWS
    return StatementPage(
        lines=[(day, "") for day in days[start:end]],
        earlier_url=address_of("statement", query, start - DAY_ROWS) if start else "",
        later_url=address_of("statement", query, end) if end < len(days) else "",
    )


def _page_of_transfers(statement: Statement, query: QueryDict) -> StatementPage:
    """Return a page of transfers; `start` is the sequence number of the first one."""
    start = min(max(_start_of(query), statement.first), max(statement.end - 1, statement.first))
    end = start + PAGE_ROWS
    lines = lines_from(statement, start, PAGE_ROWS)
    models = models_of(lines)
    return StatementPage(
        lines=[(line, models.get(line.reference, "")) for line in lines],
        earlier_url=(
            address_of("statement", query, start - PAGE_ROWS) if start > statement.first else ""
        ),
        later_url=address_of("statement", query, end) if end < statement.end else "",
    )


def csv_rows(statement: Statement, *, by_day: bool) -> Iterator[list[Row]]:
    """Yield the statement's rows in batches, between its opening and its closing balance."""
    yield [["", "opening balance", "", "", None, None, dollars_text(statement.opening_nanos)]]
    for lines in [lines_by_day(statement)] if by_day else every_line(statement):
        yield [_csv_row(line) for line in lines]
    yield [["", "closing balance", "", "", None, None, dollars_text(statement.closing_nanos)]]


def _csv_row(line: Line) -> Row:
    at = line.at.astimezone(UTC)
    return [
        f"{at:%Y-%m-%d}" if line.is_day else f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        line.kind,
        line.reference,
        line.memo,
        line.count,
        dollars_text(line.amount_nanos),
        dollars_text(line.balance_nanos),
    ]


def address_of(name: str, query: QueryDict, start: int = 0, download: str = "") -> str:
    """Return a page's URL with the period of this query, beginning at `start`.

    A page with a `download` begins to download the statement in this format.
    """
    query = query.copy()
    query.pop("start", None)
    query.pop("download", None)
    if start > 0:
        query["start"] = str(start)
    if download:
        query["download"] = download
    return f"{reverse(name)}?{query.urlencode()}" if query else reverse(name)


def _start_of(query: QueryDict) -> int:
    """Return the query's `start`, or 0 if it is missing or invalid."""
    text = query.get("start", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0

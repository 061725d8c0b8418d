"""Every transfer between two balances."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing.models import CreditAccount, Transfer, UsageRecord
from billing.pricing.money import dollars_text
from billing.usage.statement import (
    Line,
    Statement,
    every_line,
    lines_by_day,
    lines_from,
    statement_of,
)
from portal.access import MemberRequest, member_page_if
from portal.statement.forms import StatementForm
from portal.ui.csv import Row, csv_response

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

billing_page = member_page_if(lambda actor: actor.may_see_billing)


@require_safe
@billing_page
def statement(request: MemberRequest) -> HttpResponse:
    """Show a period's opening and closing balance, its lines, and whether the sum holds."""
    account = CreditAccount.objects.filter(team=request.actor.team).first()
    if account is None:
        return render(request, "statement/statement.html")
    form = StatementForm(request.GET, account.created_at.astimezone(UTC).date())
    context: dict[str, Any] = {"form": form}
    if not form.is_valid():
        return render(request, "statement/statement.html", context, status=400)
    found = statement_of(account, form.span.since, form.span.until)
    context |= {
        "statement": found,
        "span": form.span,
        "csv_url": _url(request, "statement_csv"),
        "count": found.end - found.first,
        **(_by_day(request, found) if form.is_by_day else _one_by_one(request, found)),
    }
    return render(request, "statement/statement.html", context)


@require_safe
@billing_page
def statement_csv(request: MemberRequest) -> HttpResponseBase:
    """Send the same lines, all of them, as CSV."""
    account = CreditAccount.objects.filter(team=request.actor.team).first()
    if account is None:
        return redirect("statement")
    form = StatementForm(request.GET, account.created_at.astimezone(UTC).date())
    if not form.is_valid():
        return redirect(_url(request, "statement"))
    found = statement_of(account, form.span.since, form.span.until)
    name = f"statement-{form.span.first}-{form.span.last}"
    return csv_response(name, CSV_HEADER, _csv_batches(found, by_day=form.is_by_day))


def _by_day(request: MemberRequest, found: Statement) -> dict[str, Any]:
    """Return the page of lines from the number that `start` says, and its neighbours."""
    lines = lines_by_day(found)
    start = min(_start(request), max(len(lines) - 1, 0))
    return {
        "lines": [(line, "") for line in lines[start : start + DAY_ROWS]],
        "earlier_url": _url(request, "statement", start - DAY_ROWS) if start else "",
        "later_url": (
            _url(request, "statement", start + DAY_ROWS) if start + DAY_ROWS < len(lines) else ""
        ),
    }


def _one_by_one(request: MemberRequest, found: Statement) -> dict[str, Any]:
    """Return the page of transfers from the sequence that `start` says, and its neighbours."""
    start = min(max(_start(request), found.first), max(found.end - 1, found.first))
    lines = lines_from(found, start, PAGE_ROWS)
    models = _models_of(lines)
    return {
        "lines": [(line, models.get(line.reference, "")) for line in lines],
        "earlier_url": (
            _url(request, "statement", max(start - PAGE_ROWS, 0)) if start > found.first else ""
        ),
        "later_url": (
            _url(request, "statement", start + PAGE_ROWS) if start + PAGE_ROWS < found.end else ""
        ),
    }


def _models_of(lines: list[Line]) -> dict[str, str]:
    """Return the models by the lines' references, which for usage are the requests' ids."""
    ids = [UUID(line.reference) for line in lines if line.kind == Transfer.Kind.USAGE]
    found = UsageRecord.objects.filter(pk__in=ids).values_list("pk", "model")
    return {str(pk): model for pk, model in found}


def _csv_batches(found: Statement, *, by_day: bool) -> Iterator[list[Row]]:
    yield [["", "opening balance", "", "", None, None, dollars_text(found.opening_nanos)]]
    for lines in [lines_by_day(found)] if by_day else every_line(found):
        yield [_csv_row(line) for line in lines]
    yield [["", "closing balance", "", "", None, None, dollars_text(found.closing_nanos)]]


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


def _start(request: MemberRequest) -> int:
    """Return where the page begins, as its address says; 0 where it says nothing useful."""
    text = request.GET.get("start", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _url(request: MemberRequest, name: str, start: int = 0) -> str:
    """Return a page's address with this one's form."""
    query = request.GET.copy()
    query.pop("start", None)
    if start > 0:
        query["start"] = str(start)
    return f"{reverse(name)}?{query.urlencode()}" if query else reverse(name)

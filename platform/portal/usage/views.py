"""Usage, and the cost of each request."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.access import Actor
from accounts.models import ApiKey
from billing.models import CreditAccount, UsageRecord
from billing.pricing.money import dollars_text
from billing.usage.records import Selection, models_used, narrowed, records, sums, total
from portal.access import MemberRequest, member_page, without_chat_keys
from portal.ui.charts import chart_of
from portal.ui.csv import Row, csv_response
from portal.ui.outcomes import outcome_of
from portal.ui.paging import PAGE_ROWS, RowPage, batches_of, page_of, read_place
from portal.usage.forms import UsageFilter
from portal.usage.presenters import charge_of

MOST_DAYS_BY_HOUR = 2
_UNSHOWN = ("attempts", "error")  # the long ones
CSV_HEADER: Row = [
    "time_utc",
    "request_id",
    "key",
    "model",
    "endpoint",
    "streamed",
    "user",
    "outcome",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "seconds",
    "pieces",
    "usage_source",
    "charged_usd",
    "latency_ms",
    "first_token_ms",
]


@require_safe
@member_page
def usage(request: MemberRequest) -> HttpResponse:
    """Show the requests that a filter selects: their totals, a chart, and a page of them."""
    keys = _keys_of(request.actor)
    form = UsageFilter(request.GET, keys)
    context = {"form": form, "is_filtered": _is_filtered(request.GET)}
    if not form.is_valid():
        form.offer_models([])
        return render(request, "usage/usage.html", context, status=400)
    selection = form.selection(_account_id(request.actor))
    by_hour = form.span.days <= MOST_DAYS_BY_HOUR
    parts = sums(selection, by_hour=by_hour)
    form.offer_models(sorted({*models_used(selection), *(model for _, model in parts)}))
    page = page_of(
        partial(_shown, selection),
        before=read_place(request.GET.get("before", "")),
        after=read_place(request.GET.get("after", "")),
    )
    names = _names(request.actor.visible_keys().filter(pk__in={row.key_id for row in page.rows}))
    context |= {
        "span": form.span,
        "total": total(parts.values()),
        "chart": chart_of(parts, selection.since, selection.until, by_hour=by_hour),
        "rows": [(row, outcome_of(row), names.get(row.key_id, "")) for row in page.rows],
        "page": _Pager(request, page),
        "csv_url": _url(request, "usage_csv"),
    }
    return render(request, "usage/usage.html", context)


@require_safe
@member_page
def usage_csv(request: MemberRequest) -> HttpResponseBase:
    """Send the same requests, all of them, as CSV."""
    keys = _keys_of(request.actor)
    form = UsageFilter(request.GET, keys)
    if not form.is_valid():
        return redirect(_url(request, "usage"))  # where the errors stand beside their fields
    names = _names(request.actor.visible_keys())
    selection = form.selection(_account_id(request.actor))
    name = f"usage-{form.span.first}-{form.span.last}"
    return csv_response(name, CSV_HEADER, _csv_batches(selection, names))


@require_safe
@member_page
def request_detail(request: MemberRequest, request_id: UUID) -> HttpResponse:
    """Everything that led to one request's charge."""
    charge = charge_of(_account_id(request.actor), request_id)
    if charge is None:
        raise Http404("There is no such request of this team.")
    return render(request, "usage/request.html", {"charge": charge})


def _shown(selection: Selection, **near: datetime | None) -> QuerySet[UsageRecord]:
    return narrowed(selection, PAGE_ROWS + 1, **near).defer(*_UNSHOWN)


class _Pager:
    """The addresses of a page's neighbours, for `components/pager.html`."""

    def __init__(self, request: HttpRequest, page: RowPage[UsageRecord]) -> None:
        self.newer_url = _url(request, "usage", after=str(page.newer)) if page.newer else ""
        self.older_url = _url(request, "usage", before=str(page.older)) if page.older else ""


def _csv_batches(selection: Selection, names: dict[int, str]) -> Iterator[list[Row]]:
    for batch in batches_of(records(selection).defer(*_UNSHOWN)):
        yield [_csv_row(record, names) for record in batch]


def _csv_row(record: UsageRecord, names: dict[int, str]) -> Row:
    return [
        record.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        str(record.request_id),
        names.get(record.key_id, ""),
        record.model,
        record.endpoint,
        "yes" if record.streamed else "no",
        record.end_user,
        record.outcome,
        record.input_tokens,
        record.cached_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.images,
        record.seconds,
        record.pieces,
        record.source,
        dollars_text(record.charged_nanos),
        record.latency_ms,
        record.first_token_ms,
    ]


def _keys_of(actor: Actor) -> list[ApiKey]:
    """Return the keys to choose from. Those of chats are too many, and mean nothing to anyone."""
    keys = without_chat_keys(actor.visible_keys().filter(scope=ApiKey.Scope.INFERENCE))
    return list(keys.order_by("revoked_at", "name", "pk"))


def _names(keys: QuerySet[ApiKey]) -> dict[int, str]:
    return dict(keys.values_list("pk", "name"))


def _account_id(actor: Actor) -> int:
    """Return the id of the team's account; one that no account has where there is none yet."""
    found = CreditAccount.objects.filter(team=actor.team).values_list("pk", flat=True).first()
    return found or 0


def _is_filtered(query: QueryDict) -> bool:
    return any(query.get(name) for name in ("key", "model", "status", "end_user"))


def _url(request: HttpRequest, name: str, **place: str) -> str:
    """Return a page's address with the filter of this one."""
    query = request.GET.copy()
    for old in ("before", "after"):
        query.pop(old, None)
    query.update(place)
    return f"{reverse(name)}?{query.urlencode()}" if query else reverse(name)

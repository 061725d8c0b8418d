"""Usage, and the cost of each request."""

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from api.catalogue.snapshot import load_snapshot
from billing.receipts.keys import MEDIA_TYPE
from billing.receipts.receipt import RequestOpenError, claims_of, signed_receipt
from billing.usage.records import models_used
from portal.access import (
    MemberRequest,
    has_recent_sign_in,
    member_page,
    require_recent_sign_in_to_download,
)
from portal.ui.csv import csv_response
from portal.ui.paging import Pager, read_place
from portal.ui.prices import snapshot_for, sold_names
from portal.usage.forms import FilterName, UsageFilter
from portal.usage.overview import overview_of
from portal.usage.preferences import (
    COLUMNS,
    delete_filter,
    filter_query,
    save_filter,
    show_columns,
    view_of,
)
from portal.usage.presenters import CSV_HEADER, csv_batches, request_rows
from portal.usage.queries import (
    account_id_of,
    charge_of,
    inference_keys,
    key_names,
    request_batches,
    requests_page,
)
from portal.usage.sessions import (
    PERIODS,
    calls_page,
    cheaper_model,
    find_session,
    read_moment,
    session_page,
)


@require_safe
@member_page
def usage(request: MemberRequest) -> HttpResponse:
    """Show the requests that a filter selects: their totals, a chart, and a page of them."""
    keys = inference_keys(request.actor)
    form = UsageFilter(request.GET, keys)
    if not form.is_valid():
        form.offer_models([])
        return render(request, "usage/usage.html", {"form": form}, status=400)
    selection = form.selection(account_id_of(request.actor))
    overview = overview_of(request.actor, form, selection, request.GET)
    others = models_used(selection) if form.is_filtered or not overview.models else []
    form.offer_models(sorted({*others, *overview.models}))
    page = requests_page(
        selection,
        before=read_place(request.GET.get("before", "")),
        after=read_place(request.GET.get("after", "")),
    )
    context = {
        "form": form,
        "span": form.span,
        "overview": overview,
        "total": overview.total,
        "chart": overview.chart,
        "rows": request_rows(page.rows, key_names(request.actor, page.rows, known=keys)),
        "page": Pager(
            newer_url=_url(request, "usage", after=str(page.newer)) if page.newer else "",
            older_url=_url(request, "usage", before=str(page.older)) if page.older else "",
        ),
        "csv_url": _url(request, "usage_csv"),
        "sold": sold_names(load_snapshot()),
        "columns": COLUMNS,
        "view": view_of(request.actor),
        "filter_query": filter_query(request.GET),
        "begins_download": "download" in request.GET and has_recent_sign_in(request),
    }
    return render(request, "usage/usage.html", context)


@require_safe
@member_page
def usage_csv(request: MemberRequest) -> HttpResponseBase:
    """Send the same requests, all of them, as CSV."""
    form = UsageFilter(request.GET, inference_keys(request.actor))
    if not form.is_valid():
        return redirect(_url(request, "usage"))  # which shows the errors beside their fields
    require_recent_sign_in_to_download(request, _url(request, "usage", download="csv"))
    selection = form.selection(account_id_of(request.actor))
    batches = csv_batches(request_batches(selection), key_names(request.actor))
    return csv_response(f"usage-{form.span.first}-{form.span.last}", CSV_HEADER, batches)


@require_POST
@member_page
def saved_filters(request: MemberRequest) -> HttpResponse:
    """Keep the page's filter under a name, or delete the one that is named by `delete`."""
    query = filter_query(QueryDict(request.POST.get("query", "")[:2000]))
    if name := request.POST.get("delete"):
        delete_filter(request.actor, name)
    else:
        form = FilterName(request.POST)
        if not form.is_valid():
            messages.error(request, str(form.errors["name"][0]))
        elif not save_filter(request.actor, form.cleaned_data["name"], query):
            messages.error(request, _("You have too many saved filters. Delete one first."))
    return redirect(f"{reverse('usage')}?{query}" if query else "usage")


@require_POST
@member_page
def columns(request: MemberRequest) -> HttpResponse:
    """Keep which columns of the table are shown."""
    show_columns(request.actor, request.POST.getlist("column"))
    return HttpResponse(status=204)


@require_safe
@member_page
def request_detail(request: MemberRequest, request_id: UUID) -> HttpResponse:
    """Show everything that led to one request's charge."""
    charge = charge_of(account_id_of(request.actor), request_id)
    if charge is None:
        raise Http404("This team has no such request.")
    context = {"charge": charge, "sold": sold_names(load_snapshot())}
    return render(request, "usage/request.html", context)


@require_safe
@member_page
def receipt(request: MemberRequest, request_id: UUID) -> HttpResponse:
    """Send the request's signed receipt as a file."""
    try:
        claims = claims_of(account_id_of(request.actor), request_id)
    except RequestOpenError:
        raise Http404("This request has not ended.") from None
    if claims is None:
        raise Http404("This team has no such request.")
    headers = {"Content-Disposition": f'attachment; filename="receipt-{request_id}.jws"'}
    return HttpResponse(signed_receipt(claims), content_type=MEDIA_TYPE, headers=headers)


@require_safe
@member_page
def sessions(request: MemberRequest) -> HttpResponse:
    """Show the sessions of the last days: each agent's run, with its calls and its cost."""
    days = 30 if request.GET.get("days") == "30" else 7
    page = session_page(
        account_id_of(request.actor), days, read_moment(request.GET.get("before", ""))
    )
    keys = key_names(request.actor)
    query = {"days": days, "before": page.next_before}
    context = {
        "days": days,
        "periods": PERIODS,
        "rows": [(row, [keys.get(key_id, "") for key_id in row.key_ids]) for row in page.rows],
        "older_url": f"{reverse('sessions')}?{urlencode(query)}" if page.next_before else "",
        "is_first": "before" not in request.GET,
    }
    return render(request, "usage/sessions.html", context)


@require_safe
@member_page
def session_detail(request: MemberRequest, request_id: UUID) -> HttpResponse:
    """Show one session's sums and calls, found by any of its requests."""
    account_id = account_id_of(request.actor)
    session = find_session(account_id, request_id)
    if session is None:
        raise Http404("This team has no such session.")
    snapshot = snapshot_for(request)
    page = calls_page(
        account_id,
        session.session_id,
        before=read_place(request.GET.get("before", "")),
        after=read_place(request.GET.get("after", "")),
    )
    here = reverse("session", args=[request_id])
    context = {
        "session": session,
        "cheaper": cheaper_model(session, snapshot),
        "rows": request_rows(page.rows, key_names(request.actor, page.rows)),
        "page": Pager(
            newer_url=f"{here}?after={page.newer}" if page.newer else "",
            older_url=f"{here}?before={page.older}" if page.older else "",
        ),
        "sold": sold_names(snapshot),
    }
    return render(request, "usage/session.html", context)


def _url(request: HttpRequest, name: str, **place: str) -> str:
    """Return a page's address with the filter of this one."""
    query = request.GET.copy()
    for old in ("before", "after", "download"):
        query.pop(old, None)
    query.update(place)
    return f"{reverse(name)}?{query.urlencode()}" if query else reverse(name)

"""Every transfer between two balances."""

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing.receipts.day_roots import signed_statement
from billing.receipts.keys import MEDIA_TYPE
from billing.usage.statement import statement_of
from portal.access import (
    MemberRequest,
    has_recent_sign_in,
    member_page_if,
    require_recent_sign_in_to_download,
)
from portal.statement.forms import StatementForm
from portal.statement.presenters import CSV_HEADER, address_of, csv_rows, headline_of, page_of
from portal.statement.queries import account_of, opened_on, read_day, root_of, roots_page
from portal.ui.csv import csv_response

billing_page = member_page_if(lambda actor: actor.may_see_billing)


@require_safe
@billing_page
def statement(request: MemberRequest) -> HttpResponse:
    """Show a period's opening and closing balance, its lines, and whether the sum holds."""
    account = account_of(request.actor.team)
    if account is None:
        return render(request, "statement/statement.html")
    form = StatementForm(request.GET, opened_on(account))
    if not form.is_valid():
        return render(request, "statement/statement.html", {"form": form}, status=400)
    period = statement_of(account, form.span.since, form.span.until)
    context = {
        "form": form,
        "statement": period,
        "headline": headline_of(period),
        "span": form.span,
        "count": period.end - period.first,
        "page": page_of(period, request.GET, by_day=form.is_by_day),
        "csv_url": address_of("statement_csv", request.GET),
        "begins_download": "download" in request.GET and has_recent_sign_in(request),
    }
    return render(request, "statement/statement.html", context)


@require_safe
@billing_page
def statement_csv(request: MemberRequest) -> HttpResponseBase:
    """Send the same lines, all of them, as CSV."""
    account = account_of(request.actor.team)
    if account is None:
        return redirect("statement")
    form = StatementForm(request.GET, opened_on(account))
    if not form.is_valid():
        return redirect(address_of("statement", request.GET))
    page_url = address_of("statement", request.GET, download="csv")
    require_recent_sign_in_to_download(request, page_url)
    period = statement_of(account, form.span.since, form.span.until)
    name = f"statement-{form.span.first}-{form.span.last}"
    return csv_response(name, CSV_HEADER, csv_rows(period, by_day=form.is_by_day))


@require_safe
@billing_page
def day_roots(request: MemberRequest) -> HttpResponse:
    """Show the Merkle roots of the closed days' transfers."""
    page = roots_page(account_of(request.actor.team), read_day(request.GET.get("before", "")))
    older_url = f"{reverse('day_roots')}?before={page.older}" if page.older else ""
    context = {"roots": page.roots, "older_url": older_url, "is_first": "before" not in request.GET}
    return render(request, "statement/days.html", context)


@require_safe
@billing_page
def day_root(request: MemberRequest, day: str) -> HttpResponse:
    """Send a day's signed root as a file."""
    root = root_of(account_of(request.actor.team), read_day(day))
    if root is None:
        raise Http404("This day has no root.")
    headers = {"Content-Disposition": f'attachment; filename="day-root-{root.day}.jws"'}
    return HttpResponse(signed_statement(root), content_type=MEDIA_TYPE, headers=headers)

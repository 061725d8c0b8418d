"""The console's pages: search, a customer on one page, and the actions on it."""

from datetime import date
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import Staff
from accounts.models import Team
from accounts.staff_rules import may_act_on
from billing.models import UsageRecord
from portal.access import SAFE_METHODS
from portal.access import end_view_as as leave_view_as
from portal.console import actions
from portal.console.access import StaffRequest, staff_page
from portal.console.charge import staff_charge
from portal.console.margins import (
    CSV_HEADER,
    csv_rows,
    losing_context,
    page_context,
    read_question,
)
from portal.console.presenters import facts_of, key_states
from portal.console.queries import customer_page, find_team
from portal.console.search import find
from portal.console.shell import page
from portal.ui.csv import csv_response
from portal.usage.queries import charge_of


@require_safe
@staff_page("accounts.view_team")
def search(request: StaffRequest) -> HttpResponse:
    """Redirect to the only match, or list the matches."""
    text, before = request.GET.get("q", ""), _day(request.GET.get("before", ""))
    found = find(text, request.user, before=before)
    if len(found.matches) == 1:
        return redirect(found.matches[0].url)
    context = {"title": "Search", "query": text.strip(), "found": found}
    return page(request, "console/search.html", context)


@require_safe
@staff_page("accounts.view_team")
def customer(request: StaffRequest, team_id: int) -> HttpResponse:
    """Show all that the member of staff may see of a customer."""
    team = _team(team_id)
    may_act = may_act_on(request, team)
    found = customer_page(team, request.user)
    context = {
        "title": team.name,
        "page": found,
        "keys": key_states(found.keys or []),
        "actions": actions.actions_for(request.user, team) if may_act else [],
        "may_act": may_act,
    }
    return page(request, "console/customer.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page("accounts.view_team")
def action(request: StaffRequest, team_id: int, name: str) -> HttpResponse:
    """Show an action's form, or do it. An action that was refused has changed nothing."""
    team, chosen = _team(team_id), actions.ACTIONS.get(name)
    if chosen is None:
        raise Http404
    if not (request.user.has_perm(chosen.permission) and may_act_on(request, team)):
        raise PermissionDenied
    form = chosen.form(team, request.POST or None)
    back = reverse("console:customer", args=[team.pk])
    if form.is_valid():
        try:
            told = actions.run(chosen, request, Staff(team, request.user), form)
        except actions.ActionError as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            if told:
                messages.success(request, told)
            return redirect(chosen.leads_to or back)
    context = {
        "title": chosen.title,
        "facts": facts_of(team, request.user),
        "form": form,
        "action_label": chosen.label,
        "back_url": back,
    }
    return page(request, "admin/billing/action_form.html", context)


@staff_page("billing.view_usagerecord")
def request_charge(request: StaffRequest, request_id: UUID) -> HttpResponse:
    """Show a request as its customer sees it, and beside it what only staff may see."""
    if request.method not in SAFE_METHODS:
        raise PermissionDenied  # as on every page of the ledger's rows
    found = staff_charge(request_id)
    if found is None:
        raise Http404("There is no such request.")
    context = {
        "title": f"Request to {found.record.model}",
        "opts": UsageRecord._meta,
        "staff": found,
        "charge": charge_of(found.record.account_id, request_id),
        "is_console": True,
    }
    return page(request, "console/request.html", context)


@require_safe
@staff_page("billing.view_margins")
def margins(request: StaffRequest) -> HttpResponse:
    """Show revenue, cost and margin by day, model, upstream or team."""
    context = page_context(read_question(request.GET))
    return page(request, "console/margins.html", {"title": "Margins", **context})


@require_safe
@staff_page("billing.view_margins")
def margins_csv(request: StaffRequest) -> HttpResponseBase:
    """Download the sums by day, team, model and upstream."""
    asked = read_question(request.GET)
    name = f"margins-{asked.chosen.first}-{asked.chosen.last}"
    return csv_response(name, CSV_HEADER, csv_rows(asked))


@require_safe
@staff_page("billing.view_margins")
def losing_requests(request: StaffRequest) -> HttpResponse:
    """List the newest requests that cost more than they were charged."""
    context = losing_context(read_question(request.GET), request.GET.get("before", ""))
    context["title"] = "Requests at a loss"
    return page(request, "console/losing_requests.html", context)


@require_POST
def end_view_as(request: HttpRequest) -> HttpResponse:
    """Return from the customer's portal to the customer's page in the console."""
    team = leave_view_as(request)
    return redirect("console:customer", team.pk) if team else redirect("admin:index")


def _team(team_id: int) -> Team:
    team = find_team(team_id)
    if team is None:
        raise Http404("There is no such team.")
    return team


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None

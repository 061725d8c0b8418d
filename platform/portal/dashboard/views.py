"""Balance, spending and requests, as they happen."""

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import NotificationSettings
from billing.models import CreditAccount
from portal.access import MemberRequest, member_page
from portal.dashboard.queries import first_steps, is_all_granted, overview_of, version_of
from portal.ui.money import cents
from portal.ui.notices import current_notices


@require_safe
@member_page
def dashboard(request: MemberRequest) -> HttpResponse:
    """Show the whole page."""
    context = _context(request, _account(request))
    context["notices"] = current_notices(timezone.now())
    return render(request, "dashboard/dashboard.html", context)


@require_safe
@member_page
def live(request: MemberRequest) -> HttpResponse:
    """Show the content again if it changed since `version`, else 204; polled every few seconds.

    Without changes it takes one query of the ledger's tables more than any page.
    """
    account = _account(request)
    if request.GET.get("version") == version_of(account):
        return HttpResponse(status=204)
    return render(request, "dashboard/live.html", _context(request, account))


@require_safe
@member_page
def balance(request: MemberRequest) -> JsonResponse:
    """Return the balance as the rail shows it, for the pages that are open."""
    account = _account(request)
    answer = JsonResponse({"balance": cents(account.available_nanos if account else 0)})
    answer["Cache-Control"] = "no-store"
    return answer


def _context(request: MemberRequest, account: CreditAccount | None) -> dict[str, Any]:
    overview = overview_of(request.actor, account)
    low_nanos = NotificationSettings.of(request.user).low_balance_nanos
    context: dict[str, Any] = {
        "overview": overview,
        "is_low": account is not None and account.posted_nanos < low_nanos,
    }
    if not overview.recent:
        base_url = request.build_absolute_uri("/v1")
        context["is_free"] = account is not None and is_all_granted(account)
        context["steps"] = first_steps(request.actor, base_url)
    return context


def _account(request: MemberRequest) -> CreditAccount | None:
    """Return the team's account, which the shell shows, too."""
    return getattr(request.actor.team, "credit_account", None)

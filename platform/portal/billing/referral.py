"""Referrals: a team's link, who comes by it, and what they sign up as."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Actor
from accounts.models import Membership, Team, User
from accounts.teams import personal_team
from billing.models import CreditAccount
from billing.payments import promotions
from portal.sign_in.mailboxes import mailbox_of

SESSION_KEY = "referral"


def referral_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `referral_url`, and what it brings; nothing where there are no referrals."""
    amount_nanos = promotions.referral_credit_nanos()
    if amount_nanos == 0:
        return {"referral_url": ""}
    path = reverse("referral", args=[promotions.get_or_create_referral_link(actor.team).code])
    return {
        "referral_url": settings.BASE_URL.rstrip("/") + path,
        "referral_nanos": amount_nanos,
        "referral_wait_days": settings.REFERRAL_WAIT_DAYS,
        "referral_count": promotions.rewarded_referral_count(actor.team),
    }


@require_safe
@never_cache
def referral(request: HttpRequest, code: str) -> HttpResponse:
    """Leads a stranger to the sign-up, and remembers who sent them."""
    if request.user.is_authenticated:
        return redirect("dashboard")
    link = promotions.find_referral_link(code)
    if link is not None:
        request.session[SESSION_KEY] = link.code
    return redirect("account_signup")


def note_sign_up(request: HttpRequest, user: User) -> None:
    """Writes down who sent the new user, unless that is somebody with the same mailbox."""
    link = promotions.find_referral_link(request.session.pop(SESSION_KEY, ""))
    team = personal_team(user)
    if link is None or team is None or _has_mailbox(link.team, user.email):
        return
    promotions.record_referral(team, link.code)


def _has_mailbox(team: Team, address: str) -> bool:
    members = Membership.objects.filter(team=team).values_list("user__email", flat=True)
    return mailbox_of(address) in {mailbox_of(each) for each in members}

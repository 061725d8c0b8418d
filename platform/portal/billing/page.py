"""The billing page, put together of sections.

A section is a template `billing/_<name>.html` and a function that gives what it shows. A view that
takes a section's form shows the page again with it where it has an error:
`show_page(request, status=422, top_up_form=form)`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from accounts.access import Actor
from accounts.models import Team
from billing.models import CreditAccount
from billing.stripe_settings import is_enabled, is_live
from portal.access import MemberRequest, member_page_if
from portal.billing.auto_top_up import auto_top_up_section, code_section
from portal.billing.balance import balance_section
from portal.billing.card import card_section
from portal.billing.orders_list import orders_section
from portal.billing.plans_shown import plan_section
from portal.billing.referral import referral_section
from portal.billing.top_up import top_up_section
from portal.billing.transactions import transactions_section

Section = Callable[[Actor, CreditAccount | None], dict[str, Any]]

# What each gives goes into the template's context; names begin with the section's own.
SECTIONS: tuple[Section, ...] = (
    balance_section,
    top_up_section,
    plan_section,
    card_section,
    orders_section,
    transactions_section,
    auto_top_up_section,
    code_section,
    referral_section,
)

# What a team has one of comes with it, in one query; sections read it from the actor's team.
_OF_A_TEAM = ("plan", "credit_account", "payment_customer", "auto_top_up", "referral_link")

billing_page = member_page_if(lambda actor: actor.may_see_billing)


def show_page(request: MemberRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    """Returns the page; `more` goes before what its sections give."""
    team = Team.objects.select_related(*_OF_A_TEAM).get(pk=request.actor.team.pk)
    request.actor = replace(request.actor, team=team)
    account = getattr(team, "credit_account", None)
    context = {"account": account, **payment_mode()}
    for section in SECTIONS:
        context |= section(request.actor, account)
    return render(request, "billing/page.html", context | more, status=status)


def payment_mode() -> dict[str, Any]:
    """Gives `payments_on`, and `is_test_mode` for a key that moves no money."""
    return {"payments_on": is_enabled(), "is_test_mode": is_enabled() and not is_live()}

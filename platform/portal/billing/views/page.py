"""The billing page, and the purchase of credits that starts there.

The page is composed of sections. A section is a template `billing/_<name>.html` and a function that
returns what it shows. A view that handles a section's form shows the page again with the form when
it has an error: `show_page(request, status=422, top_up_form=form)`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Actor
from accounts.client_ip import client_ip
from accounts.models import Team
from billing.models import CreditAccount, Order
from billing.payments import customer_pages, orders
from billing.payments.customer_pages import PaymentError, payment_errors
from portal.access import MemberRequest, member_page_if
from portal.billing.forms import TopUpForm
from portal.billing.presenters import (
    auto_top_up_section,
    balance_section,
    card_section,
    code_section,
    plan_section,
    referral_section,
    top_up_section,
)
from portal.billing.queries import orders_section, transactions_section

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
    """Return the page; `more` goes before what its sections give."""
    team = Team.objects.select_related(*_OF_A_TEAM).get(pk=request.actor.team.pk)
    request.actor = replace(request.actor, team=team)
    account = getattr(team, "credit_account", None)
    context = {"account": account, **payment_mode()}
    for section in SECTIONS:
        context |= section(request.actor, account)
    return render(request, "billing/page.html", context | more, status=status)


def payment_mode() -> dict[str, Any]:
    """Return `payments_on`, and `is_test_mode` for a key that moves no money."""
    mode = customer_pages.payment_mode()
    return {"payments_on": mode.is_on, "is_test_mode": mode.is_test}


def to_checkout(request: MemberRequest, order: Order) -> HttpResponse:
    """Redirect to Stripe's page for the order, or to ours where it is over. Raise PaymentError."""
    with payment_errors():
        url = orders.open_checkout(
            order,
            request.user,
            success_url=request.build_absolute_uri(reverse("order", args=[order.pk])),
            cancel_url=request.build_absolute_uri(reverse("left_order", args=[order.pk])),
        )
    return to_stripe(url) if url else redirect("order", order.pk)


def to_stripe(url: str) -> HttpResponse:
    """Redirect a form that was sent to a page of Stripe's, which the browser gets."""
    return HttpResponseRedirect(url, status=303)


@require_safe
@billing_page
def billing(request: MemberRequest) -> HttpResponse:
    """Show the page, from the database alone: it works while Stripe is down."""
    asked = request.GET.get("amount", "")
    return (
        show_page(request, top_up_form=TopUpForm.of_amount(asked)) if asked else show_page(request)
    )


@require_POST
@billing_page
def top_up(request: MemberRequest) -> HttpResponse:
    """Place an order and leads to Stripe's page for it; sent twice it is the same order."""
    form = TopUpForm(request.POST)
    order_id = _order_id(request)
    if order_id is None:
        form.add_error(None, "The form was not whole. Send it again.")
    if order_id is None or not form.is_valid():
        return show_page(request, status=422, top_up_form=form)
    try:
        order = orders.place(
            request.actor.team,
            request.user,
            form.cleaned_data["amount_cents"],
            order_id,
            ip_address=client_ip(request),
        )
    except orders.OrderError as error:
        form.add_error(None, str(error))
        return show_page(request, status=422, top_up_form=form)
    try:
        return to_checkout(request, order)
    except PaymentError as error:
        # The form keeps the order's id: sent again it goes on with this order.
        form.add_error(None, str(error))
        return show_page(request, status=503, top_up_form=form, top_up_order_id=order.pk)


def _order_id(request: MemberRequest) -> UUID | None:
    try:
        return UUID(request.POST.get("order", ""))
    except ValueError:
        return None

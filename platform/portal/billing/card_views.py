"""The card and the billing details, which Stripe's own pages take: no card number comes here."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts import audit
from accounts.client_ip import client_ip
from billing.errors import StripeError
from billing.models import PaymentCustomer
from billing.payments.customers import open_card_setup, open_customer_portal, refresh_card
from portal.access import MemberRequest
from portal.billing.card import card_name
from portal.billing.checkout import to_stripe, trouble_with
from portal.billing.page import billing_page


@require_safe
@billing_page
def card(request: MemberRequest) -> HttpResponse:
    """Where a member comes back to from Stripe: asks for the card as it is now, and says it."""
    customer = PaymentCustomer.objects.filter(team=request.actor.team).first()
    if customer is None:
        return redirect("billing")
    try:
        name = card_name(refresh_card(customer))
    except StripeError:
        messages.warning(request, "Stripe does not answer just now. Changes are shown in a while.")
        return redirect("billing")
    messages.success(request, f"Your card is {name}." if name else "No card is kept for the team.")
    return redirect("billing")


@require_POST
@billing_page
def add_card(request: MemberRequest) -> HttpResponse:
    """Leads to Stripe's page where a card is left."""
    try:
        url = open_card_setup(
            request.actor.team,
            request.user,
            success_url=request.build_absolute_uri(reverse("card")),
            cancel_url=request.build_absolute_uri(reverse("billing")),
        )
    except StripeError as error:
        return _closed(request, error)
    _record(request, "billing.card_setup_opened")
    return to_stripe(url)


@require_POST
@billing_page
def portal(request: MemberRequest) -> HttpResponse:
    """Leads to Stripe's customer portal: cards, billing details, invoices."""
    try:
        back = request.build_absolute_uri(reverse("card"))
        url = open_customer_portal(request.actor.team, request.user, return_url=back)
    except StripeError as error:
        return _closed(request, error)
    _record(request, "billing.portal_opened")
    return to_stripe(url)


def _closed(request: MemberRequest, error: StripeError) -> HttpResponse:
    messages.error(request, trouble_with(error))
    return redirect("billing")


def _record(request: MemberRequest, action: str) -> None:
    audit.record(request.actor, action, ip_address=client_ip(request))

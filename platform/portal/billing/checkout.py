"""The way to Stripe's pages, and what to say where it is closed."""

import structlog
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse

from billing.errors import PaymentsDisabledError, StripeError, StripeRejectedError
from billing.models import Order
from billing.payments import orders
from portal.access import MemberRequest

log = structlog.get_logger(__name__)

NOT_SET_UP = "Payments are not set up on this service, so nothing was charged."
REFUSED = "Stripe did not take this, so nothing was charged. Write to us if it stays so."
AWAY = "Stripe does not answer just now. Nothing was charged. Try again in a minute."


def to_checkout(request: MemberRequest, order: Order) -> HttpResponse:
    """Leads to Stripe's page for the order, or to ours where it is over. Raises StripeError."""
    url = orders.open_checkout(
        order,
        request.user,
        success_url=request.build_absolute_uri(reverse("order", args=[order.pk])),
        cancel_url=request.build_absolute_uri(reverse("left_order", args=[order.pk])),
    )
    return to_stripe(url) if url else redirect("order", order.pk)


def to_stripe(url: str) -> HttpResponse:
    """Leads a form that was sent to a page of Stripe's, which the browser gets."""
    return HttpResponseRedirect(url, status=303)


def trouble_with(error: StripeError) -> str:
    """Returns what to tell a customer whose form came to nothing at Stripe."""
    log.warning("stripe_call_failed", kind=type(error).__name__, error=str(error))
    if isinstance(error, PaymentsDisabledError):
        return NOT_SET_UP
    return REFUSED if isinstance(error, StripeRejectedError) else AWAY

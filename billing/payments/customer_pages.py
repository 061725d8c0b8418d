"""Payments as pages need them: hosted pages and documents of Stripe, errors worded for customers.

Pages call Stripe through this package only, inside `payment_errors()`, and know none of the Stripe
client's exceptions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from accounts.models import Team, User
from billing.models import Order, SubscriptionPayment
from billing.payments.customers import customer_of
from billing.stripe_api import payments, subscriptions
from billing.stripe_api.checkout import open_card_setup, open_portal
from billing.stripe_api.client import (
    CardRefusedError,
    PaymentsOffError,
    StripeError,
    StripeRefusedError,
    is_live,
    is_on,
)

log = structlog.get_logger(__name__)

NOT_SET_UP = "Payments are not set up on this service, so nothing was charged."
REFUSED = "Stripe did not take this, so nothing was charged. Write to us if it stays so."
AWAY = "Stripe does not answer just now. Nothing was charged. Try again in a minute."


class PaymentError(Exception):
    """Stripe failed or refused, and nothing was charged. Its text is for the customer."""


class CardDeclinedError(PaymentError):
    """The customer's bank declined the card; `reason` is the bank's."""

    def __init__(self, reason: str) -> None:
        super().__init__(REFUSED)
        self.reason = reason


@dataclass(frozen=True)
class PaymentMode:
    """Whether payments are configured, and whether they are Stripe's test mode."""

    is_on: bool
    is_test: bool


@contextmanager
def payment_errors() -> Iterator[None]:
    """Raise PaymentError, or CardDeclinedError, in place of the Stripe client's errors."""
    try:
        yield
    except CardRefusedError as error:
        raise CardDeclinedError(str(error)) from error
    except StripeError as error:
        log.warning("stripe_call_failed", kind=type(error).__name__, error=str(error))
        if isinstance(error, PaymentsOffError):
            text = NOT_SET_UP
        else:
            text = REFUSED if isinstance(error, StripeRefusedError) else AWAY
        raise PaymentError(text) from error


def payment_mode() -> PaymentMode:
    """Return the mode of the configured Stripe key."""
    return PaymentMode(is_on=is_on(), is_test=is_on() and not is_live())


def card_setup_url(team: Team, user: User, *, success_url: str, cancel_url: str) -> str:
    """Return the URL of Stripe's page that takes a card. Raise StripeError."""
    customer = customer_of(team, user)
    return open_card_setup(
        customer_id=customer.stripe_id, success_url=success_url, cancel_url=cancel_url
    )


def customer_portal_url(team: Team, user: User, *, return_url: str) -> str:
    """Return the URL of Stripe's customer portal. Raise StripeError."""
    customer = customer_of(team, user)
    return open_portal(customer_id=customer.stripe_id, return_url=return_url)


def receipt_url(order: Order) -> str:
    """Return the URL of a paid order's receipt; empty if Stripe has none. Raise StripeError."""
    return payments.get_charge(order.charge_id or "").receipt_url


def invoice_url(document: Order | SubscriptionPayment) -> str:
    """Return the URL of the PDF invoice; empty if Stripe has none. Raise StripeError."""
    invoice_id = document.invoice_id if isinstance(document, Order) else document.pk
    return subscriptions.get_invoice(invoice_id or "").pdf_url

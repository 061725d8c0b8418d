"""Payments as pages need them: whether they are enabled, and errors worded for customers.

Pages call `billing.payments` inside `payment_errors()` and know none of the Stripe client's errors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from django.utils.translation import gettext_lazy as _

from billing import errors
from billing.stripe_settings import is_enabled, is_live

log = structlog.get_logger(__name__)

DISABLED = _("Payments aren't set up on this service, so nothing was charged.")
REJECTED = _("Stripe rejected this, so nothing was charged. If it keeps happening, contact us.")
UNAVAILABLE = _("Stripe isn't responding. Nothing was charged. Try again in a minute.")


class PaymentError(Exception):
    """Stripe failed or refused, and nothing was charged. Its text is for the customer."""


class CardDeclinedError(PaymentError):
    """The customer's bank declined the card; `reason` is the bank's."""

    def __init__(self, reason: str) -> None:
        super().__init__(str(REJECTED))
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
    except errors.CardDeclinedError as error:
        raise CardDeclinedError(str(error)) from error
    except errors.StripeError as error:
        log.warning("stripe_call_failed", kind=type(error).__name__, error=str(error))
        if isinstance(error, errors.PaymentsDisabledError):
            text = DISABLED
        else:
            text = REJECTED if isinstance(error, errors.StripeRejectedError) else UNAVAILABLE
        raise PaymentError(str(text)) from error


def payment_mode() -> PaymentMode:
    """Return the mode of the configured Stripe key."""
    return PaymentMode(is_on=is_enabled(), is_test=is_enabled() and not is_live())

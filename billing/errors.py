"""Errors of payments, for callers outside `billing` to answer.

    StripeError                     a call to Stripe returned no object
    ├── PaymentsDisabledError       no STRIPE_SECRET_KEY is set
    ├── StripeUnavailableError      no answer, or a failure of Stripe's own: outcome unknown, retry
    │   ├── StripeBusyError         the same call is in progress elsewhere: retry in a moment
    │   └── ReplayedFailureError    Stripe replays a stored failure for this idempotency key
    └── StripeRejectedError         the request is invalid: retrying changes nothing
        └── CardDeclinedError       the card's issuer declined, or asks for authentication
    PaymentMismatchError            what was paid is not what was ordered; an alert is raised

`billing.stripe_api` raises the StripeErrors, and `billing.payments` lets them through. Messages
are safe to log and to show: secrets in them are masked.
"""


class StripeError(Exception):
    """A call to Stripe that returned no object."""


class PaymentsDisabledError(StripeError):
    """The operator has not set STRIPE_SECRET_KEY."""


class StripeUnavailableError(StripeError):
    """Stripe failed or did not answer, so the outcome is unknown. Retry with the same key."""


class StripeBusyError(StripeUnavailableError):
    """A call with the same idempotency key is in progress. Retry in a moment with that key."""


class ReplayedFailureError(StripeUnavailableError):
    """Stripe replays the failure it stored for this idempotency key; the outcome is unknown.

    Stripe keeps the first result of a key, failures included, for at least 24 hours
    (https://docs.stripe.com/api/idempotent_requests).
    """


class StripeRejectedError(StripeError):
    """Stripe rejected the request; retrying changes nothing. `code` is Stripe's error code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class CardDeclinedError(StripeRejectedError):
    """The issuer declined the card, or requires authentication (`authentication_required`)."""

    def __init__(self, message: str, code: str, payment_intent_id: str) -> None:
        super().__init__(message, code)
        self.payment_intent_id = payment_intent_id

    @property
    def needs_authentication(self) -> bool:
        """Whether the payment could succeed with the cardholder present (on-session)."""
        return self.code == "authentication_required"


class PaymentMismatchError(Exception):
    """What was paid does not match what was ordered: a person has to look at it."""

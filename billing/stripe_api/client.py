"""The one client of Stripe, and what its errors mean to us."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus

import stripe
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.masking import mask_secrets

SHORTEST_WEBHOOK_SECRET = 16
KEY_IN_USE = "idempotency_key_in_use"


class StripeError(Exception):
    """A call to Stripe that gave no object."""


class PaymentsOffError(StripeError):
    """The operator has set no STRIPE_SECRET_KEY."""


class StripeUnavailableError(StripeError):
    """Stripe failed or did not answer: it may have done it or not. Ask again with the same key."""


class StripeBusyError(StripeUnavailableError):
    """The same call is under way from elsewhere. Ask again in a moment, with the same key."""


class FailureKeptError(StripeUnavailableError):
    """Stripe failed, and will answer so to this idempotency key for a day, done or not done."""


class StripeRefusedError(StripeError):
    """Stripe did not accept the call; asking again changes nothing. `code` is Stripe's."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class CardRefusedError(StripeRefusedError):
    """The card's bank said no, or asks for the cardholder (`authentication_required`)."""

    def __init__(self, message: str, code: str, payment_intent_id: str) -> None:
        super().__init__(message, code)
        self.payment_intent_id = payment_intent_id

    @property
    def needs_authentication(self) -> bool:
        """Whether the cardholder could still pay, being there in person."""
        return self.code == "authentication_required"


def is_on() -> bool:
    """Tells whether payments are configured."""
    return bool(settings.STRIPE_SECRET_KEY)


def is_live() -> bool:
    """Tells whether the money is real: the key is one of Stripe's live mode."""
    key: str = settings.STRIPE_SECRET_KEY
    return key.startswith(("sk_live_", "rk_live_"))


def require_secrets() -> None:
    """Raises ImproperlyConfigured where payments are on and anybody could sign a webhook.

    Stripe's signature is an HMAC, which an empty secret does not protect.
    """
    secret = settings.STRIPE_WEBHOOK_SECRET
    if is_on() and not (
        secret.startswith("whsec_") and len(secret.strip()) >= SHORTEST_WEBHOOK_SECRET
    ):
        raise ImproperlyConfigured(
            "STRIPE_SECRET_KEY is set, but STRIPE_WEBHOOK_SECRET is not the `whsec_…` that Stripe "
            "shows for the webhook endpoint. Set it: without it anybody could announce payments."
        )


@contextmanager
def calling() -> Iterator[stripe.StripeClient]:
    """Gives the client, and turns what it raises into StripeError's kinds.

    Their messages may be written down and shown: a key that Stripe quotes is masked.
    """
    if not is_on():
        raise PaymentsOffError("Payments are not set up on this service.")
    try:
        yield _client(
            settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE, settings.STRIPE_TIMEOUT_SECONDS
        )
    except stripe.StripeError as error:
        raise _ours(error) from None  # whose own text may quote the key


def _ours(error: stripe.StripeError) -> StripeError:
    message = mask_secrets(error.user_message or type(error).__name__)
    code = mask_secrets(error.code or "")
    if isinstance(error, stripe.CardError):
        intent = getattr(error.error, "payment_intent", None)
        return CardRefusedError(message, code, getattr(intent, "id", None) or "")
    if error.http_status == HTTPStatus.CONFLICT or error.code == KEY_IN_USE:
        return StripeBusyError(message)
    if isinstance(error, stripe.InvalidRequestError | stripe.IdempotencyError):
        return StripeRefusedError(message, code)
    # Of what is left an authentication error is ours to mend, and then the call is repeated.
    is_kept = (error.headers or {}).get("idempotent-replayed") == "true"
    kind = FailureKeptError if is_kept else StripeUnavailableError
    return kind(f"{type(error).__name__}: {message}")


@lru_cache(maxsize=8)
def _client(key: str, base: str, timeout_seconds: float) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else None,
        http_client=stripe.RequestsClient(timeout=timeout_seconds),
        max_network_retries=1,
    )

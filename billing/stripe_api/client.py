"""The Stripe client, and the translation of its errors into those of `billing.errors`."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus

import stripe
from django.conf import settings

from accounts.masking import mask_secrets
from billing.errors import (
    CardDeclinedError,
    PaymentsDisabledError,
    ReplayedFailureError,
    StripeBusyError,
    StripeError,
    StripeRejectedError,
    StripeUnavailableError,
)
from billing.stripe_settings import is_enabled

_KEY_IN_USE = "idempotency_key_in_use"  # https://docs.stripe.com/error-codes


@contextmanager
def stripe_client() -> Iterator[stripe.StripeClient]:
    """Yield the client, and raise its errors as kinds of StripeError.

    Their messages are safe to store and to show: a key that Stripe quotes is masked.
    """
    if not is_enabled():
        raise PaymentsDisabledError("Payments are not set up on this service.")
    try:
        yield _client(
            settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE, settings.STRIPE_TIMEOUT_SECONDS
        )
    except stripe.StripeError as error:
        raise _translated(error) from None  # the original's text may quote the key


def _translated(error: stripe.StripeError) -> StripeError:
    message = mask_secrets(error.user_message or type(error).__name__)
    code = mask_secrets(error.code or "")
    if isinstance(error, stripe.CardError):
        intent = getattr(error.error, "payment_intent", None)
        return CardDeclinedError(message, code, getattr(intent, "id", None) or "")
    if error.http_status == HTTPStatus.CONFLICT or error.code == _KEY_IN_USE:
        return StripeBusyError(message)
    if isinstance(error, stripe.InvalidRequestError | stripe.IdempotencyError):
        return StripeRejectedError(message, code)
    # The rest may succeed later, an authentication error once the operator has fixed the key.
    is_replayed = (error.headers or {}).get("idempotent-replayed") == "true"
    kind = ReplayedFailureError if is_replayed else StripeUnavailableError
    return kind(f"{type(error).__name__}: {message}")


@lru_cache(maxsize=8)
def _client(key: str, base: str, timeout_seconds: float) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else None,
        http_client=stripe.RequestsClient(timeout=timeout_seconds),
        max_network_retries=1,
    )

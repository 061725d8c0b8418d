"""Verification and parsing of webhooks (https://docs.stripe.com/webhooks)."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings

from billing.stripe_api.objects import Event
from billing.stripe_settings import is_enabled, is_live

TOLERANCE_SECONDS = 300  # the SDK's default


class InvalidEventError(Exception):
    """A payload that is not an event of our Stripe account; the message says why."""


def verify_event(payload: bytes, signature: str) -> Event:
    """Return the event that Stripe signed. Raise InvalidEventError for anything else.

    The SDK accepts timestamps in the future, and raises errors other than its own for signatures
    that are not ASCII: both are refused here.
    """
    if not is_enabled():
        raise InvalidEventError("Payments are not set up on this service.")
    try:
        stripe.WebhookSignature.verify_header(
            payload, signature, settings.STRIPE_WEBHOOK_SECRET, TOLERANCE_SECONDS
        )
        signed_at = _timestamp(signature)
        envelope = json.loads(payload)
        event = Event(
            id=_text(envelope["id"]),
            type=_text(envelope["type"]),
            object_id=_text(envelope["data"]["object"].get("id", "")),
            created_at=datetime.fromtimestamp(envelope["created"], UTC),
        )
    except Exception as error:  # whatever is wrong with it, Stripe did not send it
        raise InvalidEventError(f"Invalid signature or payload: {error}") from error
    if signed_at > time.time() + TOLERANCE_SECONDS:
        raise InvalidEventError("The timestamp is in the future.")
    _require_our_account(envelope)
    return event


def _require_our_account(envelope: dict[str, Any]) -> None:
    """Raise InvalidEventError for an event of the other mode, or of another account."""
    if envelope.get("livemode") is not is_live():
        raise InvalidEventError("The event is of the other mode (live or test).")
    account = envelope.get("account")
    if account and account != settings.STRIPE_ACCOUNT:
        raise InvalidEventError("The event is of another Stripe account.")


def _timestamp(signature: str) -> int:
    """Return the signed timestamp, which is the header's first one."""
    items = [item.split("=", 1) for item in signature.split(",")]
    return int(next(value for name, value in items if name == "t"))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 100 or "\0" in value:
        raise ValueError("not a short string")
    return value

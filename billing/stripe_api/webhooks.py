"""Webhooks: whose they are, and what they say."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings

from billing.stripe_api.client import is_live, is_on
from billing.stripe_api.objects import Event

TOLERANCE_SECONDS = 300


class ForgedEventError(Exception):
    """What was sent is no event of our Stripe account; the message says why not."""


def read(payload: bytes, signature: str) -> Event:
    """Returns the event that Stripe signed. Raises ForgedEventError for anything else.

    The SDK lets a timestamp of the future pass, and raises other errors than its own for a
    signature that is not ASCII: both are refused here.
    """
    if not is_on():
        raise ForgedEventError("Payments are not set up on this service.")
    try:
        stripe.WebhookSignature.verify_header(
            payload, signature, settings.STRIPE_WEBHOOK_SECRET, TOLERANCE_SECONDS
        )
        signed_at = _timestamp(signature)
        told = json.loads(payload)
        event = Event(
            id=_text(told["id"]),
            type=_text(told["type"]),
            object_id=_text(told["data"]["object"].get("id", "")),
            created_at=datetime.fromtimestamp(told["created"], UTC),
        )
    except Exception as error:  # whatever is wrong with it, it is not Stripe's
        raise ForgedEventError(f"The signature or the event is not right: {error}") from error
    if signed_at > time.time() + TOLERANCE_SECONDS:
        raise ForgedEventError("The timestamp is in the future.")
    _require_ours(told)
    return event


def _require_ours(told: dict[str, Any]) -> None:
    """Refuses events of test mode in live mode, or the other way, and of other accounts."""
    if told.get("livemode") is not is_live():
        raise ForgedEventError("The event is of the other mode, live or test.")
    account = told.get("account")
    if account and account != settings.STRIPE_ACCOUNT:
        raise ForgedEventError("The event is of another Stripe account.")


def _timestamp(signature: str) -> int:
    """Returns the time that is signed for, which is the first one."""
    items = [item.split("=", 1) for item in signature.split(",")]
    return int(next(value for name, value in items if name == "t"))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 100 or "\0" in value:
        raise ValueError("something else stands where a name should")
    return value

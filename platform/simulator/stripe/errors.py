"""Stripe's error answers."""

from typing import Any


class StripeError(Exception):
    """An answer of Stripe's that is no success, in its shape."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "code": code, "param": param, **more}

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON body, without what it does not say."""
        return {"error": {key: value for key, value in self.error.items() if value is not None}}


def missing(kind: str, name: str) -> StripeError:
    """Return the error for an object that there is not."""
    return StripeError(f"No such {kind}: '{name}'", status=404, code="resource_missing", param="id")


_SAYS = {
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "expired_card": "Your card has expired.",
    "insufficient_funds": "Your card has insufficient funds.",
    "payment_intent_authentication_failure": (
        "We are unable to authenticate your payment method. Please choose a different payment "
        "method and try again."
    ),
}
# Declines with a code of their own; the others are `card_declined` with a decline code.
_OWN_CODES = {"authentication_required", "expired_card", "payment_intent_authentication_failure"}


def card_error(reason: str, **more: Any) -> dict[str, Any]:
    """Return the error object of a card that was not charged, for a reason."""
    return {
        "type": "card_error",
        "code": reason if reason in _OWN_CODES else "card_declined",
        "decline_code": reason,
        "message": _SAYS.get(reason, "Your card was declined."),
        **more,
    }


def declined(error: dict[str, Any], **more: Any) -> StripeError:
    """Return the answer for a card's error object."""
    parts = {key: value for key, value in error.items() if key not in {"type", "message"}}
    return StripeError(error["message"], status=402, kind="card_error", **parts, **more)

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
        """Returns the answer's JSON body, without what it does not say."""
        return {"error": {key: value for key, value in self.error.items() if value is not None}}


def missing(kind: str, name: str) -> StripeError:
    """Returns the error for an object that there is not."""
    return StripeError(f"No such {kind}: '{name}'", status=404, code="resource_missing", param="id")


def declined(code: str, intent: dict[str, Any]) -> StripeError:
    """Returns the error of a card that was not charged; `code` is `card_declined` or
    `authentication_required`.
    """
    return StripeError(
        "Your card was declined."
        if code == "card_declined"
        else "Your card was declined. This transaction requires authentication.",
        status=402,
        kind="card_error",
        code=code,
        decline_code="generic_decline" if code == "card_declined" else code,
        payment_intent=intent,
    )

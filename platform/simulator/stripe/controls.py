"""What a test does to the stand-in: time, disputes, lost webhooks, an API that fails."""

import json
from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.payments import Payments
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import Subscriptions
from simulator.stripe.webhooks import Webhooks

TROUBLES = {"error_before", "error_after", "hang_before", "hang_after"}


class Controls:
    """`POST /control/<deed>` with a JSON object; README.md lists the deeds."""

    def __init__(
        self, store: Store, webhooks: Webhooks, payments: Payments, subscriptions: Subscriptions
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._payments = payments
        self._subscriptions = subscriptions
        self._troubles: list[str] = []
        self.hang_seconds = 1.0
        self.calls: list[Thing] = []

    def obey(self, deed: str, body: bytes) -> Any:
        """Does one deed and returns what came of it. Raises StripeError for an unknown one."""
        order: dict[str, Any] = json.loads(body) if body else {}
        does = getattr(self, f"_do_{deed}", None)
        if does is None:
            raise StripeError(f"There is no control {deed!r}.", status=404)
        return does(order)

    def note_call(self, method: str, path: str, idempotency_key: str) -> None:
        """Journals a call to the API."""
        self.calls.append({"method": method, "path": path, "idempotency_key": idempotency_key})

    def trouble(self) -> str | None:
        """Takes the next trouble that was ordered for the API, if any."""
        return self._troubles.pop(0) if self._troubles else None

    def _do_calls(self, _order: Thing) -> list[Thing]:
        return self.calls

    def _do_trouble(self, order: Thing) -> Thing:
        """`{"next": ["error_after", ...], "hang_seconds": 1}`: for the next calls, one each."""
        if unknown := set(order.get("next", [])) - TROUBLES:
            raise StripeError(f"No such troubles: {sorted(unknown)}.")
        self._troubles = list(order.get("next", []))
        self.hang_seconds = float(order.get("hang_seconds", 1.0))
        return {"next": self._troubles}

    def _do_webhooks(self, order: Thing) -> Thing:
        """Changes the delivery's temper; an empty order calms it. `url` and `secret` move it."""
        self._webhooks.url = order.pop("url", self._webhooks.url)
        self._webhooks.secret = order.pop("secret", self._webhooks.secret)
        if not order:
            self._webhooks.calm()
        self._webhooks.temper |= order
        return self._webhooks.temper

    def _do_held(self, _order: Thing) -> list[str]:
        return [event["type"] for event in self._webhooks.held]

    def _do_release(self, order: Thing) -> list[str]:
        """`{"order": [2, 0, 1]}`: by these indexes; without it as they were made."""
        return self._webhooks.release(order.get("order"))

    def _do_resend(self, order: Thing) -> Thing:
        """`{"event": "evt_…", "copies": 100}`."""
        event = self._store.get("event", order["event"])
        for _ in range(int(order.get("copies", 1))):
            self._webhooks.send(event)
        return event

    def _do_dispute(self, order: Thing) -> Thing:
        """`{"charge": "ch_…", "amount": cents}`."""
        return self._payments.dispute(order["charge"], order.get("amount"))

    def _do_close_dispute(self, order: Thing) -> Thing:
        """`{"dispute": "du_…", "won": true}`."""
        return self._payments.close_dispute(order["dispute"], won=order["won"])

    def _do_fraud_warning(self, order: Thing) -> Thing:
        """`{"charge": "ch_…"}`."""
        return self._payments.warn_of_fraud(order["charge"])

    def _do_renew(self, order: Thing) -> Thing:
        """`{"subscription": "sub_…"}`: a month passes."""
        return self._subscriptions.renew(order["subscription"])

    def _do_forget(self, _order: Thing) -> Thing:
        self._store.forget()
        return {}

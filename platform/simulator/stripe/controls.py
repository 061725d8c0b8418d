"""The stand-in's controls for tests: time, disputes, lost webhooks, API faults."""

import inspect
import json
from typing import Any

from simulator.stripe.account import Account
from simulator.stripe.errors import StripeError
from simulator.stripe.idempotency import Idempotency
from simulator.stripe.present import present
from simulator.stripe.store import Thing

FAULTS = {
    "error_before", "error_after", "error_kept", "hang_before", "hang_after", "rate_limit",
}  # fmt: skip
TIMES = ("created", "expires_at", "start_date", "billing_cycle_anchor", "cancel_at")
ITEM_TIMES = ("current_period_start", "current_period_end")


class Controls:
    """`POST /control/<action>` with a JSON object; the simulator's README.md lists the actions."""

    def __init__(self, account: Account, idempotency: Idempotency) -> None:
        self._account = account
        self._idempotency = idempotency
        self._start_afresh()

    async def run(self, action: str, body: bytes) -> Any:
        """Do one action and return what came of it. Raise StripeError for an unknown one."""
        order: dict[str, Any] = json.loads(body) if body else {}
        does = getattr(self, f"_do_{action}", None)
        if does is None:
            raise StripeError(f"There is no control {action!r}.", status=404)
        result = does(order)
        result = await result if inspect.isawaitable(result) else result
        return present(self._account.store, result) if isinstance(result, dict) else result

    def note_call(self, method: str, path: str, idempotency_key: str) -> None:
        """Journals a call to the API."""
        self._calls.append({"method": method, "path": path, "idempotency_key": idempotency_key})

    def next_fault(self, method: str, path: str) -> str | None:
        """Take the next fault that was ordered for such a call, if any."""
        if not self._faults or not f"{method} {path}".startswith(self._faulty_call):
            return None
        return self._faults.pop(0)

    def _start_afresh(self) -> None:
        self._faults: list[str] = []
        self._faulty_call = ""
        self.hang_seconds = 1.0
        self._calls: list[Thing] = []

    def _do_calls(self, _order: Thing) -> list[Thing]:
        return self._calls

    def _do_fault(self, order: Thing) -> Thing:
        if unknown := set(order.get("next", [])) - FAULTS:
            raise StripeError(f"No such faults: {sorted(unknown)}.")
        self._faults = list(order.get("next", []))
        self._faulty_call = order.get("call", "")
        self.hang_seconds = float(order.get("hang_seconds", 1.0))
        return {"next": self._faults}

    def _do_webhooks(self, order: Thing) -> Thing:
        webhooks = self._account.webhooks
        webhooks.url = order.pop("url", webhooks.url)
        webhooks.secret = order.pop("secret", webhooks.secret)
        if unknown := order.keys() - webhooks.delivery.keys():
            raise StripeError(f"Delivery knows no {sorted(unknown)}.")
        if not order:
            webhooks.calm()
        webhooks.delivery |= order
        return webhooks.delivery

    def _do_held(self, _order: Thing) -> list[str]:
        return [event["type"] for event in self._account.webhooks.held]

    async def _do_release(self, order: Thing) -> list[Thing]:
        webhooks = self._account.webhooks
        held = webhooks.take_held()
        chosen = [held[index] for index in order.get("order", range(len(held)))]
        return [
            {"id": event["id"], "type": event["type"], "status": await webhooks.deliver_now(event)}
            for event in chosen
        ]

    def _do_take(self, _order: Thing) -> list[Thing]:
        webhooks = self._account.webhooks
        return [
            {"id": event["id"], "type": event["type"]} | webhooks.signed(event)
            for event in webhooks.take_held()
        ]

    def _do_resend(self, order: Thing) -> Thing:
        event = self._account.store.get("event", order["event"])
        for _ in range(int(order.get("copies", 1))):
            self._account.webhooks.send(event)
        return event

    async def _do_forge(self, order: Thing) -> Thing:
        webhooks = self._account.webhooks
        event: Thing = {}
        if number := order.get("event"):
            event = dict(self._account.store.get("event", number))
        event |= order.get("changes", {})
        delivery = webhooks.signed(
            event, secret=order.get("secret"), timestamp=order.get("timestamp")
        )
        payload = order.get("payload", delivery["payload"])
        header = order.get("signature", delivery["signature"])
        if not order.get("send", True):
            return {"payload": payload, "signature": header}
        status, body = await webhooks.post(payload, header)
        return {"payload": payload, "signature": header, "status": status, "body": body}

    def _do_settle(self, order: Thing) -> Thing:
        return self._account.checkout.settle(order)

    def _do_expire(self, order: Thing) -> Thing:
        return self._account.checkout.expire(order["session"])

    def _do_refund(self, order: Thing) -> Thing:
        return self._account.refunds.create(order)

    def _do_next_refunds(self, order: Thing) -> Thing:
        self._account.refunds.next_statuses = list(order["statuses"])
        return order

    def _do_finish_refund(self, order: Thing) -> Thing:
        reason = order.get("reason", "lost_or_stolen_card")
        return self._account.refunds.finish(order["refund"], order["status"], reason)

    def _do_dispute(self, order: Thing) -> Thing:
        return self._account.disputes.open(order)

    def _do_withdraw(self, order: Thing) -> Thing:
        return self._account.disputes.withdraw(order["dispute"])

    def _do_reinstate(self, order: Thing) -> Thing:
        return self._account.disputes.reinstate(order["dispute"], order.get("amount"))

    def _do_close_dispute(self, order: Thing) -> Thing:
        return self._account.disputes.close(
            order["dispute"], won=order["won"], amount=order.get("amount")
        )

    def _do_fraud_warning(self, order: Thing) -> Thing:
        return self._account.disputes.warn_of_fraud(order["charge"])

    def _do_renew(self, order: Thing) -> Thing:
        return self._account.subscriptions.renew(order["subscription"])

    def _do_retry_invoice(self, order: Thing) -> Thing:
        return self._account.subscriptions.retry_invoice(order["invoice"])

    def _do_give_up(self, order: Thing) -> Thing:
        outcome = order.get("outcome", "canceled")
        return self._account.subscriptions.give_up(order["subscription"], outcome)

    def _do_payout(self, order: Thing) -> Thing:
        return self._account.balance.pay_out(order)

    def _do_stripe_fee(self, order: Thing) -> Thing:
        return self._account.balance.charge_operator(order)

    def _do_age(self, order: Thing) -> Thing:
        thing = self._account.store.peek(order["id"])
        if thing is None:
            raise StripeError(f"There is no {order['id']}.", status=404)
        seconds = int(order["seconds"])
        parts = [(thing, TIMES)]
        if thing["object"] == "subscription":
            parts += [(item, ITEM_TIMES) for item in thing["items"]["data"]]
        for part, names in parts:
            part |= {name: part[name] - seconds for name in names if part.get(name)}
        return thing

    def _do_forget(self, _order: Thing) -> Thing:
        self._account.store.forget()
        self._account.webhooks.take_held()
        self._account.webhooks.calm()
        self._account.refunds.next_statuses = []
        self._idempotency.forget()
        self._start_afresh()
        return {}

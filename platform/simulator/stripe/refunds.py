"""Refunds: money going back, mostly at once, sometimes later, sometimes not after all."""

from typing import Any

from simulator.stripe.balance import BalanceTransactions
from simulator.stripe.errors import StripeError, missing
from simulator.stripe.form import whole
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

STATUSES = {"succeeded", "pending", "failed", "canceled"}


class Refunds:
    """Refunds of charges. `next_statuses` are the initial statuses of the next ones, one each."""

    def __init__(self, store: Store, webhooks: Webhooks, balance: BalanceTransactions) -> None:
        self._store = store
        self._webhooks = webhooks
        self._balance = balance
        self.next_statuses: list[str] = []

    def create(self, form: dict[str, Any]) -> Thing:
        """Give money back: all that is left, or `amount` cents of it. Raise StripeError."""
        charge = self._charge_of(form)
        left = charge["amount"] - charge["amount_refunded"]
        amount = whole(form.get("amount"), left)
        self._refuse_impossible(charge, amount, left)
        refund = self._store.create(
            "refund",
            "re",
            amount=amount,
            balance_transaction=None,
            charge=charge["id"],
            currency=charge["currency"],
            customer=charge["customer"],
            destination_details={"type": charge["payment_method_details"]["type"]},
            failure_balance_transaction=None,
            failure_reason=None,
            metadata=form.get("metadata", {}),
            payment_intent=charge["payment_intent"],
            payment_method=charge["payment_method"],
            reason=form.get("reason"),
            status=self.next_statuses.pop(0) if self.next_statuses else "succeeded",
        )
        kind = "refund" if charge["payment_method_details"]["type"] == "card" else "payment_refund"
        moved = self._balance.move(-amount, kind, refund["id"], category="refund")
        refund["balance_transaction"] = moved["id"]
        self._count(charge, amount)
        self._webhooks.emit("refund.created", refund)
        self._webhooks.emit("charge.refunded", charge)
        if refund["status"] in {"failed", "canceled"}:
            self._return_money(refund)
        return refund

    def finish(self, number: str, status: str, reason: str) -> Thing:
        """End a refund: `succeeded`, or `failed` or `canceled`, which return the money. A refund
        may fail though it had succeeded, as with a bank that sends it back.
        """
        refund = self._store.get("refund", number)
        if status not in STATUSES - {"pending"} or refund["status"] in {"failed", "canceled"}:
            raise StripeError(f"A refund that is {refund['status']} does not become {status}.")
        refund["status"] = status
        if status == "succeeded":
            self._webhooks.emit("refund.updated", refund)
            self._webhooks.emit("charge.refund.updated", refund)
        else:
            refund["failure_reason"] = reason if status == "failed" else None
            self._return_money(refund)
        return refund

    def _return_money(self, refund: Thing) -> None:
        self._count(self._store.get("charge", refund["charge"]), -refund["amount"])
        moved = self._balance.move(refund["amount"], "refund_failure", refund["id"])
        refund["failure_balance_transaction"] = moved["id"]
        self._webhooks.emit("refund.updated", refund)
        self._webhooks.emit("charge.refund.updated", refund)
        if refund["status"] == "failed":
            self._webhooks.emit("refund.failed", refund)

    def _refuse_impossible(self, charge: Thing, amount: int, left: int) -> None:
        if not charge["paid"]:
            raise StripeError("This charge has not been paid.", code="charge_not_refundable")
        if any(
            dispute["simulated"]["withdrawn"]
            for dispute in self._store.find("dispute", charge=charge["id"])
        ):
            raise StripeError(
                f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                code="charge_disputed",
            )
        if left == 0:
            raise StripeError(
                f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
            )
        if not 0 < amount <= left:
            raise StripeError(
                f"Refund amount (${amount / 100:,.2f}) is greater than unrefunded amount on charge "
                f"(${left / 100:,.2f})",
                param="amount",
            )

    @staticmethod
    def _count(charge: Thing, amount: int) -> None:
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]

    def _charge_of(self, form: dict[str, Any]) -> Thing:
        if number := form.get("charge"):
            return self._store.get("charge", number)
        intent = self._store.get("payment_intent", str(form.get("payment_intent")))
        if intent["latest_charge"] is None:
            raise missing("charge", intent["id"])
        return self._store.get("charge", intent["latest_charge"])

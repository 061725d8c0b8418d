"""Disputes and early fraud warnings, which cardholders' banks raise."""

import time
from typing import Any

from simulator.stripe.balance import DISPUTE_FEE_CENTS, BalanceTransactions
from simulator.stripe.errors import StripeError
from simulator.stripe.form import whole
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

ANSWER_SECONDS = 10 * 24 * 3600
CLOSED = {"won", "lost", "warning_closed"}


class Disputes:
    """A dispute takes the money at once; an inquiry (`warning_…`) takes it later, or never."""

    def __init__(self, store: Store, webhooks: Webhooks, balance: BalanceTransactions) -> None:
        self._store = store
        self._webhooks = webhooks
        self._balance = balance

    def open(self, order: dict[str, Any]) -> Thing:
        """Disputes the charge `charge`, `amount` cents of it (all by default), for a `reason`.
        With `withdraw` false it is an inquiry.
        """
        charge = self._store.get("charge", order["charge"])
        charge["disputed"] = True
        takes = order.get("withdraw", True)
        dispute = self._store.create(
            "dispute",
            "du",
            amount=whole(order.get("amount"), charge["amount"] - charge["amount_refunded"]),
            balance_transactions=[],
            charge=charge["id"],
            currency=charge["currency"],
            evidence_details={"due_by": int(time.time()) + ANSWER_SECONDS, "has_evidence": False},
            is_charge_refundable=not takes,
            metadata={},
            payment_intent=charge["payment_intent"],
            reason=order.get("reason", "fraudulent"),
            status="needs_response" if takes else "warning_needs_response",
            simulated={"withdrawn": 0},
        )
        if takes:
            self._take(dispute)
        self._webhooks.emit("charge.dispute.created", dispute)
        if takes:
            self._webhooks.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def withdraw(self, number: str) -> Thing:
        """Turn an inquiry into a dispute that takes the money."""
        dispute = self._open_dispute(number)
        if dispute["simulated"]["withdrawn"]:
            raise StripeError("The money of this dispute has been withdrawn.")
        dispute |= {"status": "needs_response", "is_charge_refundable": False}
        self._take(dispute)
        self._webhooks.emit("charge.dispute.updated", dispute, {"status": "warning_needs_response"})
        self._webhooks.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close(self, number: str, *, won: bool, amount: int | None = None) -> Thing:
        """End a dispute. What is won comes back, or `amount` cents of it."""
        dispute = self._open_dispute(number)
        before = dispute["status"]
        if before.startswith("warning"):
            dispute["status"] = "warning_closed"
        else:
            dispute["status"] = "won" if won else "lost"
        if won and dispute["simulated"]["withdrawn"]:
            self.reinstate(number, amount)
        self._webhooks.emit("charge.dispute.closed", dispute, {"status": before})
        return dispute

    def reinstate(self, number: str, amount: int | None = None) -> Thing:
        """Give withdrawn money back: all of it, or `amount` cents."""
        dispute = self._store.get("dispute", number)
        withdrawn = dispute["simulated"]["withdrawn"]
        cents = withdrawn if amount is None else amount
        if not 0 < cents <= withdrawn:
            raise StripeError("So much has not been withdrawn.")
        dispute["simulated"]["withdrawn"] -= cents
        moved = self._balance.move(cents, "adjustment", number, category="dispute_reversal")
        dispute["balance_transactions"].append(moved)
        self._webhooks.emit("charge.dispute.funds_reinstated", dispute)
        return dispute

    def warn_of_fraud(self, charge_id: str) -> Thing:
        """Have the card's issuer suspect fraud, before any dispute."""
        charge = self._store.get("charge", charge_id)
        warning = self._store.create(
            "radar.early_fraud_warning",
            "issfr",
            actionable=True,
            charge=charge["id"],
            fraud_type="unauthorized_use_of_card",
            payment_intent=charge["payment_intent"],
        )
        self._webhooks.emit("radar.early_fraud_warning.created", warning)
        return warning

    def _open_dispute(self, number: str) -> Thing:
        dispute = self._store.get("dispute", number)
        if dispute["status"] in CLOSED:
            raise StripeError(f"This dispute is {dispute['status']}.")
        return dispute

    def _take(self, dispute: Thing) -> None:
        cents = dispute["amount"]
        moved = self._balance.move(-cents, "adjustment", dispute["id"], fee=DISPUTE_FEE_CENTS)
        dispute["balance_transactions"].append(moved)
        dispute["simulated"]["withdrawn"] = cents

"""The operator's balance at Stripe: each cent that comes, goes or is charged for."""

from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.form import whole
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

FEE_PER_THOUSAND = 29
FEE_FIXED_CENTS = 30
DISPUTE_FEE_CENTS = 1500
CATEGORIES = {"adjustment": "dispute", "payment": "charge", "stripe_fee": "fee"}


def charge_fee(cents: int) -> int:
    """Return what Stripe keeps of a charge, in cents."""
    return cents * FEE_PER_THOUSAND // 1000 + FEE_FIXED_CENTS


class BalanceTransactions:
    """Balance transactions, and what leaves the account."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks

    def move(
        self, cents: int, kind: str, source: str | None, *, fee: int = 0, category: str = ""
    ) -> Thing:
        """Book an amount in cents for a source (an object's id)."""
        parts = [{"amount": fee, "currency": "usd", "type": "stripe_fee", "description": "Fees"}]
        moved = self._store.make("balance_transaction", "txn")
        return self._store.add(
            moved
            | {
                "amount": cents,
                "available_on": moved["created"],
                "balance_type": "payments",
                "currency": "usd",
                "description": None,
                "exchange_rate": None,
                "fee": fee,
                "fee_details": parts if fee else [],
                "net": cents - fee,
                "reporting_category": category or CATEGORIES.get(kind, kind),
                "source": source,
                "status": "available",
                "type": kind,
            }
        )

    def pay_out(self, order: dict[str, Any]) -> Thing:
        """Send money to the operator's bank: `amount` cents, by default all there is."""
        have = sum(each["net"] for each in self._store.find("balance_transaction"))
        amount = whole(order.get("amount"), have)
        if not 0 < amount <= have:
            raise StripeError("You have insufficient funds in your Stripe account.")
        payout = self._store.create(
            "payout", "po", amount=amount, currency="usd", status="paid", metadata={}
        )
        payout["balance_transaction"] = self.move(-amount, "payout", payout["id"])["id"]
        self._webhooks.emit("payout.paid", payout)
        return payout

    def charge_operator(self, order: dict[str, Any]) -> Thing:
        """Take a fee of `amount` cents for something else than a charge, such as Stripe Tax."""
        moved = self.move(-whole(order.get("amount")), "stripe_fee", None)
        moved["description"] = order.get("description", "Automatic Tax")
        return moved

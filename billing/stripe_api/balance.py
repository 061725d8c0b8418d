"""Stripe's balance transactions: what moved on the operator's balance, and Stripe's fees."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe

from billing.stripe_api.client import stripe_client
from billing.stripe_api.objects import id_of, metadata_of


@dataclass(frozen=True)
class BalanceTransaction:
    """A balance transaction. `category` is Stripe's reporting category; cents are before fees.

    `source_id` is the charge, refund or dispute behind it. The payment, the customer and the order
    (from the metadata) are the source's, empty where it has none.
    """

    id: str
    category: str
    amount_cents: int
    fee_cents: int
    currency: str
    created_at: datetime
    source_id: str
    payment_intent_id: str
    customer_id: str
    order_id: str


def balance_transactions(since: datetime, until: datetime) -> list[BalanceTransaction]:
    """Return what moved from `since` to before `until`, oldest first. Raise StripeError."""
    with stripe_client() as client:
        listed = client.v1.balance_transactions.list(
            {
                "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
                "limit": 100,
                "expand": ["data.source"],
            }
        )
        return [_transaction(each) for each in listed.auto_paging_iter()][::-1]


def net_moved_cents(source_id: str) -> int:
    """Return the net cents ever moved for a charge, refund or dispute. Raise StripeError."""
    with stripe_client() as client:
        listed = client.v1.balance_transactions.list({"source": source_id, "limit": 100})
        return sum(each.amount for each in listed.auto_paging_iter())


def _transaction(found: stripe.BalanceTransaction) -> BalanceTransaction:
    source: Any = found.source
    return BalanceTransaction(
        id=found.id,
        category=found.reporting_category,
        amount_cents=found.amount,
        fee_cents=found.fee,
        currency=found.currency,
        created_at=datetime.fromtimestamp(found.created, UTC),
        source_id=id_of(source),
        payment_intent_id=id_of(getattr(source, "payment_intent", None)),
        customer_id=id_of(getattr(source, "customer", None)),
        order_id=metadata_of(source, "order"),
    )

"""The operator's balance at Stripe: what came, what went, and what Stripe kept of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe

from billing.stripe_api.client import calling
from billing.stripe_api.objects import id_of, metadata_of


@dataclass(frozen=True)
class Movement:
    """A balance transaction. `category` is Stripe's word for it; cents are before Stripe's fee.

    `source_id` is what it was for: a charge, a refund, a dispute. The payment, the customer and
    the order (which the metadata names) are the source's, as far as it says.
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
    order: str


def movements(since: datetime, until: datetime) -> list[Movement]:
    """Returns what moved from `since` to before `until`, the oldest first. Raises StripeError."""
    with calling() as client:
        listed = client.v1.balance_transactions.list(
            {
                "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
                "limit": 100,
                "expand": ["data.source"],
            }
        )
        return [_movement(each) for each in listed.auto_paging_iter()][::-1]


def moved_for(source_id: str) -> int:
    """Returns the cents that ever moved for a charge, a refund or a dispute. Raises StripeError."""
    with calling() as client:
        listed = client.v1.balance_transactions.list({"source": source_id, "limit": 100})
        return sum(each.amount for each in listed.auto_paging_iter())


def _movement(moved: stripe.BalanceTransaction) -> Movement:
    source: Any = moved.source
    return Movement(
        id=moved.id,
        category=moved.reporting_category,
        amount_cents=moved.amount,
        fee_cents=moved.fee,
        currency=moved.currency,
        created_at=datetime.fromtimestamp(moved.created, UTC),
        source_id=id_of(source),
        payment_intent_id=id_of(getattr(source, "payment_intent", None)),
        customer_id=id_of(getattr(source, "customer", None)),
        order=metadata_of(source, "order"),
    )

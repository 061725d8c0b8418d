"""The parts of Stripe's objects that we use. Amounts are cents; ids are Stripe's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Session:
    """A Checkout Session. `url` is empty once it is complete or expired."""

    id: str
    url: str
    mode: str
    status: str
    payment_status: str
    client_reference_id: str
    subtotal_cents: int
    total_cents: int
    currency: str
    is_live: bool
    customer_id: str
    payment_intent_id: str
    subscription_id: str
    invoice_id: str


@dataclass(frozen=True)
class PaymentIntent:
    """A PaymentIntent. `order_id` is our order's id from its metadata, if any.

    `needs_authentication`: the card's issuer requires the cardholder to authenticate.
    """

    id: str
    status: str
    amount_cents: int
    received_cents: int
    currency: str
    is_live: bool
    customer_id: str
    charge_id: str
    order_id: str
    failure: str
    needs_authentication: bool


@dataclass(frozen=True)
class Charge:
    """A charge."""

    id: str
    payment_intent_id: str
    receipt_url: str


@dataclass(frozen=True)
class Card:
    """A customer's saved card."""

    payment_method_id: str
    brand: str
    last_four: str


@dataclass(frozen=True)
class Refund:
    """A refund. `local_id` is our row's id from its metadata, if any."""

    id: str
    payment_intent_id: str
    amount_cents: int
    currency: str
    status: str
    failure: str
    local_id: str
    created_at: datetime


@dataclass(frozen=True)
class Dispute:
    """A dispute.

    `moved_cents` are its balance transactions without fees: negative amounts were withdrawn,
    positive ones reinstated. `at` is the time of the first of them, else of the dispute.
    """

    id: str
    payment_intent_id: str
    amount_cents: int
    reason: str
    status: str
    moved_cents: tuple[int, ...]
    at: datetime
    evidence_due_at: datetime | None

    @property
    def is_withdrawn(self) -> bool:
        """Whether Stripe withdrew funds, reinstated since or not."""
        return any(cents < 0 for cents in self.moved_cents)

    @property
    def reinstated_cents(self) -> int:
        """What Stripe has reinstated so far."""
        return sum(cents for cents in self.moved_cents if cents > 0)

    @property
    def is_reinstated(self) -> bool:
        """Whether Stripe reinstated all of the funds."""
        return self.is_withdrawn and sum(self.moved_cents) >= 0


@dataclass(frozen=True)
class FraudWarning:
    """An early fraud warning about a charge, from the card's issuer."""

    id: str
    payment_intent_id: str
    fraud_type: str


@dataclass(frozen=True)
class Subscription:
    """A monthly subscription of one item. `local_id` is our row's id from its metadata."""

    id: str
    status: str
    local_id: str
    customer_id: str
    is_live: bool
    item_id: str
    price_id: str
    period_start: datetime
    period_end: datetime
    is_ending: bool
    ended_at: datetime | None
    latest_invoice_id: str


@dataclass(frozen=True)
class InvoiceLine:
    """An invoice line, before tax and discounts; a negative amount credits unused time."""

    price_id: str
    amount_cents: int


@dataclass(frozen=True)
class Invoice:
    """An invoice; `subscription_id` is empty unless it is a subscription's."""

    id: str
    subscription_id: str
    billing_reason: str
    status: str
    currency: str
    is_live: bool
    paid_cents: int
    tax_cents: int
    paid_at: datetime | None
    payment_intent_id: str
    pdf_url: str
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True)
class Event:
    """A webhook's envelope: the event's type and its object's id, without the object."""

    id: str
    type: str
    object_id: str
    created_at: datetime


def id_of(thing: Any) -> str:
    """Return the id of an expandable field: an id, an expanded object, or nothing ("")."""
    return thing if isinstance(thing, str) else getattr(thing, "id", None) or ""


def metadata_of(thing: Any, name: str) -> str:
    """Return a value of the object's metadata, or "" where it has none."""
    metadata = getattr(thing, "metadata", None)
    return str(getattr(metadata, name, "")) if metadata is not None else ""

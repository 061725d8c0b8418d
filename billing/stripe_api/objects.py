"""What Stripe tells of its objects, as far as we act on it. Amounts are cents; ids are Stripe's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Session:
    """A Checkout Session. `url` is empty once it is over."""

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
    """A payment. `order` is the id of ours that its metadata names, if any.

    `needs_authentication`: the card's bank wants to hear of the cardholder in person.
    """

    id: str
    status: str
    amount_cents: int
    received_cents: int
    currency: str
    is_live: bool
    customer_id: str
    charge_id: str
    order: str
    failure: str
    needs_authentication: bool


@dataclass(frozen=True)
class Charge:
    """Money that was taken from a card."""

    id: str
    payment_intent_id: str
    receipt_url: str


@dataclass(frozen=True)
class Card:
    """A customer's kept card."""

    payment_method_id: str
    brand: str
    last_four: str


@dataclass(frozen=True)
class Refund:
    """Money that goes back. `request` is the id of ours that its metadata names, if any."""

    id: str
    payment_intent_id: str
    amount_cents: int
    currency: str
    status: str
    failure: str
    request: str
    created_at: datetime


@dataclass(frozen=True)
class Dispute:
    """A cardholder's dispute.

    `moved_cents` are the amounts, without fees, that moved on Stripe's balance: a negative one was
    withdrawn, a positive one reinstated. `at` is when that began, or when the dispute did.
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
        """Whether Stripe took the money, whatever came of it."""
        return any(cents < 0 for cents in self.moved_cents)

    @property
    def is_reinstated(self) -> bool:
        """Whether Stripe gave all of it back."""
        return self.is_withdrawn and sum(self.moved_cents) >= 0


@dataclass(frozen=True)
class FraudWarning:
    """An issuer's early warning about a charge."""

    id: str
    payment_intent_id: str
    fraud_type: str


@dataclass(frozen=True)
class Subscription:
    """A monthly subscription of one item. `row` is the id of ours that its metadata names."""

    id: str
    status: str
    row: str
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
    """A line of an invoice, before tax and discounts: below zero it gives back unused time."""

    price_id: str
    amount_cents: int


@dataclass(frozen=True)
class Invoice:
    """A subscription's invoice; `subscription_id` is empty for any other one."""

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
    """A webhook's envelope: what happened to which object, and not the object itself."""

    id: str
    type: str
    object_id: str
    created_at: datetime


def id_of(thing: Any) -> str:
    """Returns the id of what Stripe gives as an id, as the object itself, or not at all."""
    return thing if isinstance(thing, str) else getattr(thing, "id", None) or ""


def metadata_of(thing: Any, name: str) -> str:
    """Returns a text of an object's metadata, which is ours; empty where it has none."""
    metadata = getattr(thing, "metadata", None)
    return str(getattr(metadata, name, "")) if metadata is not None else ""

"""The part of an order that is still refundable: the order less its refunds and disputes.

Parts are proportional, in whole cents and nano-dollars. The part that completes the order takes
the exact remainder, so all parts together never exceed the order.

A module of its own, as refunds and disputes both need it, and disputes end pending refunds.
"""

from dataclasses import dataclass

from django.db.models import F, Sum

from billing.models import Order, Refund


@dataclass(frozen=True)
class OrderPart:
    """A part of an order: the amount before tax, its tax, and the credits for it."""

    amount_cents: int
    tax_cents: int
    credit_nanos: int

    @property
    def charged_cents(self) -> int:
        """The part as charged to the card: the amount with its tax."""
        return self.amount_cents + self.tax_cents


def refundable_part(order: Order) -> OrderPart:
    """Return what has not been returned yet. Hold the order's lock to act on it."""
    refunds = order.refunds.exclude(state__in=Refund.UNSUCCESSFUL_STATES).aggregate(
        amount=Sum("amount_cents", default=0),
        tax=Sum("tax_cents", default=0),
        credit=Sum("credit_nanos", default=0),
    )
    cents = tax_cents = credit_nanos = 0
    for dispute in order.disputes.filter(is_withdrawn=True, is_reinstated=False):
        cents += dispute.withdrawn_cents
        tax_cents += dispute.tax_cents - dispute.share(dispute.tax_cents)
        credit_nanos += dispute.credit_nanos - dispute.share(dispute.credit_nanos)
    return OrderPart(
        amount_cents=max(0, order.amount_cents - refunds["amount"] - cents + tax_cents),
        tax_cents=max(0, order.tax_cents - refunds["tax"] - tax_cents),
        credit_nanos=max(0, order.credit_nanos - refunds["credit"] - credit_nanos),
    )


def part_of_amount(remaining: OrderPart, amount_cents: int) -> OrderPart:
    """Return the part with this amount before tax, at most all that remains."""
    if amount_cents >= remaining.amount_cents:
        return remaining
    return OrderPart(
        amount_cents=amount_cents,
        tax_cents=remaining.tax_cents * amount_cents // remaining.amount_cents,
        credit_nanos=remaining.credit_nanos * amount_cents // remaining.amount_cents,
    )


def part_of_charge(order: Order, charged_cents: int) -> OrderPart:
    """Return the next part with this amount including tax, at most all that remains.

    Its share of the credits depends on its position among all parts so far, including those that
    were undone. So it is the same whether or not an earlier part's return is known yet.
    """
    remaining = refundable_part(order)
    if charged_cents >= remaining.charged_cents:
        return remaining
    start = _total_reversed_cents(order)
    end, whole = start + charged_cents, order.amount_cents + order.tax_cents
    amount_cents = order.amount_cents * end // whole - order.amount_cents * start // whole
    amount_cents = max(
        charged_cents - remaining.tax_cents, min(amount_cents, remaining.amount_cents)
    )
    credit_nanos = order.credit_nanos * end // whole - order.credit_nanos * start // whole
    return OrderPart(
        amount_cents=amount_cents,
        tax_cents=charged_cents - amount_cents,
        credit_nanos=min(credit_nanos, remaining.credit_nanos),
    )


def _total_reversed_cents(order: Order) -> int:
    """Return the cents of all refunds and withdrawals so far, including those that were undone."""
    refunds = order.refunds.aggregate(cents=Sum(F("amount_cents") + F("tax_cents"), default=0))
    disputes = order.disputes.filter(is_withdrawn=True)
    return int(refunds["cents"]) + int(
        disputes.aggregate(cents=Sum("amount_cents", default=0))["cents"]
    )

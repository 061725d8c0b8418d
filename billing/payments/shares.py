"""What of an order is still the customer's: less its refunds, and what disputes have taken.

Parts are in proportion, whole cents and nano-dollars. The one that completes the order takes the
rest exactly, and all together are never more than the order.
"""

from dataclasses import dataclass

from django.db.models import F, Sum

from billing.models import Order, Refund


@dataclass(frozen=True)
class Share:
    """A part of an order: the amount before tax, the tax with it, and the credits for it."""

    amount_cents: int
    tax_cents: int
    credit_nanos: int

    @property
    def charged_cents(self) -> int:
        """What it is of the customer's card."""
        return self.amount_cents + self.tax_cents


def left_of(order: Order) -> Share:
    """Returns what has not gone back. Who acts on it holds the order's lock."""
    refunds = order.refunds.exclude(state__in=Refund.CAME_TO_NOTHING).aggregate(
        amount=Sum("amount_cents", default=0),
        tax=Sum("tax_cents", default=0),
        credit=Sum("credit_nanos", default=0),
    )
    disputes = order.disputes.filter(is_withdrawn=True, is_reinstated=False).aggregate(
        amount=Sum(F("amount_cents") - F("tax_cents"), default=0),
        tax=Sum("tax_cents", default=0),
        credit=Sum("credit_nanos", default=0),
    )
    return Share(
        amount_cents=max(0, order.amount_cents - refunds["amount"] - disputes["amount"]),
        tax_cents=max(0, order.tax_cents - refunds["tax"] - disputes["tax"]),
        credit_nanos=max(0, order.credit_nanos - refunds["credit"] - disputes["credit"]),
    )


def part_of_amount(left: Share, amount_cents: int) -> Share:
    """Returns the part whose amount before tax is given, at most all that is left."""
    if amount_cents >= left.amount_cents:
        return left
    return Share(
        amount_cents=amount_cents,
        tax_cents=left.tax_cents * amount_cents // left.amount_cents,
        credit_nanos=left.credit_nanos * amount_cents // left.amount_cents,
    )


def part_of_charge(order: Order, charged_cents: int) -> Share:
    """Returns the next part that is so much of the customer's card, at most all that is left.

    It is proportioned by where it lies among all that ever went back, what returned since too. So
    it is the same whether we hear first that an earlier part returned, or of this one.
    """
    left = left_of(order)
    if charged_cents >= left.charged_cents:
        return left
    start = _ever_back(order)
    end, whole = start + charged_cents, order.amount_cents + order.tax_cents
    amount_cents = order.amount_cents * end // whole - order.amount_cents * start // whole
    amount_cents = max(charged_cents - left.tax_cents, min(amount_cents, left.amount_cents))
    credit_nanos = order.credit_nanos * end // whole - order.credit_nanos * start // whole
    return Share(
        amount_cents=amount_cents,
        tax_cents=charged_cents - amount_cents,
        credit_nanos=min(credit_nanos, left.credit_nanos),
    )


def _ever_back(order: Order) -> int:
    """Returns the cents of all parts so far, whatever became of them."""
    refunds = order.refunds.aggregate(cents=Sum(F("amount_cents") + F("tax_cents"), default=0))
    disputes = order.disputes.filter(is_withdrawn=True)
    return int(refunds["cents"]) + int(
        disputes.aggregate(cents=Sum("amount_cents", default=0))["cents"]
    )

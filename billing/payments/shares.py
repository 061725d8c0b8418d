"""What of an order is still the customer's: less its refunds, and what disputes have taken.

Parts are in proportion, whole cents and nano-dollars. Each is a part of what the ones before have
left, so the last takes exactly the rest, and all together are never more than the order.
"""

from dataclasses import dataclass

from django.db.models import F, Sum

from billing.models import Order, Refund

GONE_BACK = (Refund.State.FAILED, Refund.State.CANCELED)


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
    refunds = order.refunds.exclude(state__in=GONE_BACK).aggregate(
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


def part_of_charge(left: Share, charged_cents: int) -> Share:
    """Returns the part that is so much of the customer's card, at most all that is left."""
    if charged_cents >= left.charged_cents:
        return left
    amount_cents = left.amount_cents * charged_cents // left.charged_cents
    return Share(
        amount_cents=amount_cents,
        tax_cents=charged_cents - amount_cents,
        credit_nanos=left.credit_nanos * charged_cents // left.charged_cents,
    )

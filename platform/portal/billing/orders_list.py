"""A team's orders as a list. One that was never paid in time is nothing to keep a receipt of."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from accounts.access import Actor
from accounts.models import Team
from billing.models import CreditAccount, Order, Refund

LATEST_ROWS = 5
_BADGES = {
    Order.State.PAID: ("Paid", "good"),
    Order.State.FAILED: ("Failed", "bad"),
    Order.State.OPEN: ("Not paid", ""),
}
_GIVING_BACK = {Refund.State.REQUESTED, Refund.State.PENDING, Refund.State.SUCCEEDED}


@dataclass(frozen=True)
class Line:
    """An order and its state in a word. `refunded_cents` are without tax."""

    order: Order
    label: str
    badge: str
    refunded_cents: int


def orders_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `orders_latest`, and whether there are more (`orders_has_more`)."""
    found = list(orders_of(actor.team).order_by("-created_at", "-pk")[: LATEST_ROWS + 1])
    return {
        "orders_latest": [line_of(order) for order in found[:LATEST_ROWS]],
        "orders_has_more": len(found) > LATEST_ROWS,
    }


def orders_of(team: Team) -> QuerySet[Order]:
    """Returns the team's orders with their refunds, but those that ended unpaid by themselves."""
    found = Order.objects.filter(team=team).exclude(state=Order.State.EXPIRED)
    return found.prefetch_related("refunds")


def line_of(order: Order) -> Line:
    """Returns an order's line; its refunds must be prefetched."""
    label, badge = _BADGES[Order.State(order.state)]
    given_back = sum(
        refund.amount_cents for refund in order.refunds.all() if refund.state in _GIVING_BACK
    )
    if given_back:
        label, badge = ("Refunded" if given_back >= order.amount_cents else "Refunded in part"), ""
    return Line(order, label, badge, given_back)

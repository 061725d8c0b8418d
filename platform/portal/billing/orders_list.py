"""A team's payments as lists: orders of credits, and what its plan cost.

An order that was never paid in time is nothing to keep a receipt of.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.access import Actor
from accounts.models import Team
from billing.models import CreditAccount, Dispute, Order, Refund, SubscriptionPayment

LATEST_ROWS = 5
_BADGES = {
    Order.State.PAID: ("Paid", "good"),
    Order.State.FAILED: ("Failed", "bad"),
    Order.State.OPEN: ("Not paid", ""),
}


@dataclass(frozen=True)
class Line:
    """An order and its state in a word. `refunded_cents` are with their tax."""

    order: Order
    label: str
    badge: str
    refunded_cents: int


def orders_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `orders_latest`, whether there are more (`orders_has_more`), and `orders_of_plans`."""
    found = list(orders_of(actor.team).order_by("-created_at", "-pk")[: LATEST_ROWS + 1])
    return {
        "orders_latest": [line_of(order) for order in found[:LATEST_ROWS]],
        "orders_has_more": len(found) > LATEST_ROWS,
        "orders_of_plans": list(plan_payments_of(actor.team).order_by("-paid_at")[:LATEST_ROWS]),
    }


def orders_of(team: Team) -> QuerySet[Order]:
    """Returns the team's orders but those that expired: with `given_back_cents`, `is_disputed`."""
    refunds = Refund.objects.filter(order=OuterRef("pk")).exclude(
        state__in=Refund.UNSUCCESSFUL_STATES
    )
    given_back = refunds.values("order").values(cents=Sum(F("amount_cents") + F("tax_cents")))
    return (
        Order.objects.filter(team=team)
        .exclude(state=Order.State.EXPIRED)
        .annotate(
            given_back_cents=Coalesce(Subquery(given_back), 0),
            is_disputed=Exists(Dispute.objects.filter(order=OuterRef("pk"))),
        )
    )


def plan_payments_of(team: Team) -> QuerySet[SubscriptionPayment]:
    """Returns what the team's plans cost, with the plans."""
    found = SubscriptionPayment.objects.filter(subscription__team=team)
    return found.select_related("subscription__price__plan")


def line_of(order: Order) -> Line:
    """Returns the line of an order that `orders_of` found."""
    label, badge = _BADGES[Order.State(order.state)]
    given_back: int = order.given_back_cents  # type: ignore[attr-defined]
    if given_back:
        is_all = given_back >= order.amount_cents + order.tax_cents
        label, badge = ("Refunded" if is_all else "Refunded in part"), ""
    if order.is_disputed:  # type: ignore[attr-defined]
        label, badge = "Disputed", "warn"
    return Line(order, label, badge, given_back)

"""A team's payments and credit movements as lists: orders, plan payments, transactions.

Orders that expired unpaid are left out: there is no receipt to keep.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.access import Actor
from accounts.models import Team
from billing.models import CreditAccount, Dispute, Order, Refund, SubscriptionPayment, Transfer

LATEST_ROWS = 5
_BADGES = {
    Order.State.PAID: ("Paid", "good"),
    Order.State.FAILED: ("Failed", "bad"),
    Order.State.OPEN: ("Not paid", ""),
}


@dataclass(frozen=True)
class OrderLine:
    """An order and its state in a word. `refunded_cents` are with their tax."""

    order: Order
    label: str
    badge: str
    refunded_cents: int


def orders_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `orders_latest`, whether there are more (`orders_has_more`), and `orders_of_plans`."""
    found = list(orders_of(actor.team).order_by("-created_at", "-pk")[: LATEST_ROWS + 1])
    return {
        "orders_latest": [order_line(order) for order in found[:LATEST_ROWS]],
        "orders_has_more": len(found) > LATEST_ROWS,
        "orders_of_plans": list(plan_payments_of(actor.team).order_by("-paid_at")[:LATEST_ROWS]),
    }


def orders_of(team: Team) -> QuerySet[Order]:
    """Return the team's orders but those that expired: with `given_back_cents`, `is_disputed`."""
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
    """Return what the team's plans cost, with the plans."""
    found = SubscriptionPayment.objects.filter(subscription__team=team)
    return found.select_related("subscription__price__plan")


def order_line(order: Order) -> OrderLine:
    """Return the line of an order that `orders_of` found."""
    label, badge = _BADGES[Order.State(order.state)]
    given_back: int = order.given_back_cents  # type: ignore[attr-defined]
    if given_back:
        is_all = given_back >= order.amount_cents + order.tax_cents
        label, badge = ("Refunded" if is_all else "Refunded in part"), ""
    if order.is_disputed:  # type: ignore[attr-defined]
        label, badge = "Disputed", "warn"
    return OrderLine(order, label, badge, given_back)


TRANSACTION_ROWS = 6


def transactions_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `transactions`: transfers, each with its amount as the balance saw it."""
    if account is None:
        return {"transactions": []}
    found = Transfer.objects.filter(customer=account).exclude(kind=Transfer.Kind.USAGE)
    newest = found.order_by("-sequence")[:TRANSACTION_ROWS]
    return {
        "transactions": [
            (row, row.amount_nanos if row.credit_account_id == account.pk else -row.amount_nanos)
            for row in newest
        ]
    }

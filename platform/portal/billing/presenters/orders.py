"""What the pages of orders show: one order and its status, and the list of all."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.access import Actor
from billing.models import CreditAccount, Order
from billing.payments import customer_pages
from billing.payments.orders import OrderStatus, Step
from portal.billing import queries
from portal.ui.paging import Pager, RowPage

# How often an order's page asks for its status, at most: every two seconds.
MOST_POLLS = 60

_BADGES = {
    Order.State.PAID: (_("Paid"), "good"),
    Order.State.FAILED: (_("Failed"), "bad"),
    Order.State.OPEN: (_("Not paid"), ""),
}


# The texts of ours among failures that are stored; others are Stripe's and the banks'.
_FAILURES = {
    "No card to charge.": _("No card to charge."),
    "The payment was not completed.": _("The payment was not completed."),
    "Stripe could not be reached in time.": _("Stripe could not be reached in time."),
}


@dataclass(frozen=True)
class OrderLine:
    """An order and its state in a word. `refunded_cents` includes the tax."""

    order: Order
    label: str
    badge: str
    refunded_cents: int


def order_line(order: Order) -> OrderLine:
    """Return the line of an order that `queries.orders_of` found."""
    title, badge = _BADGES[Order.State(order.state)]
    label = str(title)
    given_back: int = order.given_back_cents  # type: ignore[attr-defined]
    if given_back:
        is_all = given_back >= order.amount_cents + order.tax_cents
        label, badge = (gettext("Refunded") if is_all else gettext("Partially refunded")), ""
    if order.is_disputed:  # type: ignore[attr-defined]
        label, badge = gettext("Disputed"), "warn"
    return OrderLine(order, label, badge, given_back)


def orders_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `orders_latest`, whether there are more (`orders_has_more`), and `orders_of_plans`."""
    latest, has_more = queries.latest_orders(actor.team)
    return {
        "orders_latest": [order_line(order) for order in latest],
        "orders_has_more": has_more,
        "orders_of_plans": queries.latest_plan_payments(actor.team),
    }


def orders_context(page: RowPage[Order]) -> dict[str, Any]:
    """Return the context of a page of the list of orders."""
    here = reverse("orders")
    return {
        "lines": [order_line(order) for order in page.rows],
        "page": Pager(
            newer_url=f"{here}?after={page.newer}" if page.newer else "",
            older_url=f"{here}?before={page.older}" if page.older else "",
        ),
        **payment_mode(),
    }


def order_context(status: OrderStatus, *, polls: int) -> dict[str, Any]:
    """Return the context of an order's page, which has asked for its status `polls` times."""
    order = status.order
    context: dict[str, Any] = {
        "order_status": status,
        "order": order,
        "failure": _FAILURES.get(order.failure, order.failure),
        "paid_cents": order.amount_cents + order.tax_cents,
        "refunds": [
            (refund, refund.amount_cents + refund.tax_cents) for refund in queries.refunds_of(order)
        ],
        "disputes": queries.disputes_of(order),
        "polls": polls + 1 if status.may_change and polls < MOST_POLLS else 0,
        **payment_mode(),
    }
    if status.step is Step.PAID:
        context["credited"] = queries.credit_of(order)
        context["account"] = queries.account_of(order.team)
    return context


def payment_mode() -> dict[str, Any]:
    """Return `payments_on`, and `is_test_mode` for a key that moves no money."""
    mode = customer_pages.payment_mode()
    return {"payments_on": mode.is_on, "is_test_mode": mode.is_test}

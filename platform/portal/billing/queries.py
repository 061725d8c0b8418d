"""A team's payments and credit movements: orders, plan payments, transactions.

Orders that expired unpaid are left out of the lists: there is no receipt to keep.
"""

from uuid import UUID

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.models import Plan, Team
from billing.models import (
    CreditAccount,
    Dispute,
    Order,
    Refund,
    SubscriptionPayment,
    Transfer,
)
from portal.ui.paging import Place, RowPage, page_of

LATEST_ROWS = 5
TRANSACTION_ROWS = 6

# What a team has one of comes with it, in one query; sections read it from the actor's team.
_OF_A_TEAM = ("plan", "credit_account", "payment_customer", "auto_top_up", "referral_link")


def team_for_billing(team: Team) -> Team:
    """Return the team with its plan, account, card, auto top-up and referral link, in one query."""
    return Team.objects.select_related(*_OF_A_TEAM).get(pk=team.pk)


def default_plan() -> Plan | None:
    """Return the plan of teams without a subscription."""
    return Plan.objects.filter(is_default=True).first()


def find_order(team: Team, order_id: UUID) -> Order | None:
    """Return the team's order with this id, in whatever state."""
    found = Order.objects.filter(team=team, pk=order_id)
    return found.select_related("team", "user").first()


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


def latest_orders(team: Team) -> tuple[list[Order], bool]:
    """Return the team's newest orders, and whether there are more."""
    found = list(orders_of(team).order_by("-created_at", "-pk")[: LATEST_ROWS + 1])
    return found[:LATEST_ROWS], len(found) > LATEST_ROWS


def orders_page(team: Team, *, before: Place | None, after: Place | None) -> RowPage[Order]:
    """Return a page of the team's orders, the newest first."""
    found = orders_of(team)
    return page_of(lambda **_near: found, before=before, after=after)


def latest_plan_payments(team: Team) -> list[SubscriptionPayment]:
    """Return the team's newest plan payments."""
    return list(plan_payments_of(team).order_by("-paid_at")[:LATEST_ROWS])


def find_plan_payment(team: Team, invoice_id: str) -> SubscriptionPayment | None:
    """Return the team's plan payment of this invoice."""
    return plan_payments_of(team).filter(pk=invoice_id).first()


def refunds_of(order: Order) -> list[Refund]:
    """Return the order's refunds, the oldest first."""
    return list(order.refunds.order_by("created_at"))


def disputes_of(order: Order) -> list[Dispute]:
    """Return the order's disputes, the oldest first."""
    return list(order.disputes.order_by("created_at"))


def credit_of(order: Order) -> Transfer | None:
    """Return the transfer that credited the order."""
    return Transfer.objects.filter(
        kind=Transfer.Kind.TOP_UP, reference=order.payment_intent_id
    ).first()


def account_of(team: Team) -> CreditAccount | None:
    """Return the team's credit account."""
    return CreditAccount.objects.filter(team=team).first()


def latest_transfers(account: CreditAccount) -> list[Transfer]:
    """Return the account's newest transfers, those for usage left out."""
    found = Transfer.objects.filter(customer=account).exclude(kind=Transfer.Kind.USAGE)
    return list(found.order_by("-sequence")[:TRANSACTION_ROWS])

"""Helpers of tests of plans: subscribing, paying, and delivering the events."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from accounts.access import Actor
from accounts.models import Role, Team, User
from billing.models import CreditAccount, PlanOffer, Subscription, Transfer
from billing.payments import plans
from billing.payments.subscriptions import find_subscription
from tests.payments.conftest import PAGES, StripeStandIn

DOLLAR = 10**9
VISA = "pm_card_visa"
KEPT_THEN_DECLINED = "pm_card_chargeCustomerFail"
HEADERS = {"authorization": "Bearer sk_test"}


def owner(team: Team, user: User) -> Actor:
    """Return the user as an owner of the team."""
    return Actor(team=team, user=user, role=Role.OWNER)


def begin(team: Team, user: User, offer: PlanOffer) -> str:
    """Return the address of the Checkout where the team subscribes."""
    return plans.open_checkout(team, user, offer, **PAGES)


def paid(
    stand_in: StripeStandIn, team: Team, user: User, offer: PlanOffer, card: str = VISA
) -> Subscription:
    """Subscribe and pay without delivering events. Return the row."""
    assert stand_in.pay(begin(team, user, offer), card).status_code < 400
    return Subscription.objects.get(team=team, stripe_id=None, ended_at=None)


def subscribed(
    stand_in: StripeStandIn, team: Team, user: User, offer: PlanOffer, card: str = VISA
) -> Subscription:
    """Subscribe, pay and deliver every event. Return the row."""
    row = paid(stand_in, team, user, offer, card)
    deliver_subscription_events(stand_in)
    return again(row)


def choose_card(stand_in: StripeStandIn, row: Subscription, card: str) -> None:
    """Give the subscription another card, as its owner would in Stripe's portal."""
    customer = stand_in.get(f"subscriptions/{row.stripe_id}")["customer"]
    method = stand_in.web.post(
        f"{stand_in.url}/v1/payment_methods/{card}/attach",
        data={"customer": customer},
        headers=HEADERS,
    ).raise_for_status()
    stand_in.web.post(
        f"{stand_in.url}/v1/subscriptions/{row.stripe_id}",
        data={"default_payment_method": method.json()["id"]},
        headers=HEADERS,
    ).raise_for_status()


def switch_to_declined_card(stand_in: StripeStandIn, row: Subscription) -> None:
    """Give the subscription a card that is declined."""
    choose_card(stand_in, row, KEPT_THEN_DECLINED)


def again(row: Subscription) -> Subscription:
    """Return the row as it is now."""
    found = find_subscription(str(row.pk))
    assert found is not None
    return found


def plan_of(team: Team) -> str:
    """Return the name of the team's plan as it is now."""
    return Team.objects.select_related("plan").get(pk=team.pk).plan.name


def granted(team: Team) -> list[float]:
    """Return the dollars that the team's plans have granted, one amount a payment."""
    found = Transfer.objects.filter(
        kind="grant", customer__team=team, reference__startswith="subscription:"
    )
    return [transfer.amount_nanos / DOLLAR for transfer in found.order_by("pk")]


def earned() -> list[float]:
    """Return the dollars that subscriptions have earned, one amount an invoice."""
    found = Transfer.objects.filter(kind="subscription").order_by("pk")
    return [transfer.amount_nanos / DOLLAR for transfer in found]


def lots_of(team: Team) -> Any:
    """Return the team's lots."""
    return CreditAccount.objects.get(team=team).lots.order_by("pk")


SUBSCRIPTION_EVENTS = (
    "checkout.session.",
    "customer.subscription.",
    "invoice.paid",
    "invoice.payment_failed",
)


def subscription_events(stand_in: StripeStandIn, since: int = 0) -> list[dict[str, Any]]:
    """Return the events of subscriptions, without the first `since` of all events."""
    return [
        event
        for event in stand_in.events()[since:]
        if event["type"].startswith(SUBSCRIPTION_EVENTS)
    ]


def deliver_subscription_events(stand_in: StripeStandIn) -> None:
    """Deliver all events of subscriptions, in the order in which they happened."""
    stand_in.deliver(*subscription_events(stand_in))


@contextmanager
def rolled_back() -> Iterator[None]:
    """Roll back what is written inside, so that one start can be replayed in every order."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)

"""Subscriptions: our row and the team's plan follow Stripe's, in any order of events."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Plan, Team, User
from billing.models import LedgerAlert, PlanOffer, Subscription, SubscriptionPayment
from billing.payments import plans, subscriptions
from billing.payments.subscriptions import live_subscription
from billing.payments.tasks import check_subscriptions
from billing.payments.webhooks import HANDLERS
from billing.stripe_api import subscriptions as at_stripe
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import (
    again,
    begin,
    deliver_subscription_events,
    earned,
    granted,
    owner,
    paid,
    plan_of,
    rolled_back,
    subscribed,
    subscription_events,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_paid_subscription_gives_the_plan_and_its_credits(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    assert (row.status, row.ended_at, row.price.plan.name) == ("active", None, "plus")
    assert row.current_period_end > timezone.now() + timedelta(days=27)
    assert plan_of(alices_team) == "plus"
    assert granted(alices_team) == [25]
    assert earned() == [20]
    (payment,) = SubscriptionPayment.objects.all()
    assert (payment.amount_cents, payment.subscription) == (2000, row)
    intent = stand_in.get(f"payment_intents/{payment.payment_intent_id}")
    assert payment.charge_id == intent["latest_charge"]


def test_nothing_is_given_before_it_is_paid(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    url = begin(alices_team, alice, plus)
    assert stand_in.pay(url, "pm_card_chargeDeclined").status_code == 402
    deliver_subscription_events(stand_in)
    assert check_subscriptions() == 0
    assert live_subscription(alices_team) is None
    assert (plan_of(alices_team), granted(alices_team), earned()) == ("default", [], [])


def test_every_order_of_the_events_of_a_start_ends_the_same(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    paid(stand_in, alices_team, alice, plus)
    events = subscription_events(stand_in)
    assert len(events) >= 3
    for order in itertools.permutations(events):
        with rolled_back():
            assert {event.state for event in stand_in.deliver(*order)} == {"handled"}
            outcome = (plan_of(alices_team), granted(alices_team), earned())
            assert outcome == ("plus", [25], [20]), [event["type"] for event in order]


def test_every_order_of_a_start_a_renewal_and_an_end_ends_the_same(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    paid(stand_in, alices_team, alice, plus)
    (number,) = [each["id"] for each in stand_in.get("subscriptions")["data"]]
    stand_in.control("renew", subscription=number)
    at_stripe.cancel_now(at_stripe.get_subscription(number))
    types = ("customer.subscription.created", "invoice.paid", "customer.subscription.deleted")
    chosen = stand_in.events(*types)
    assert len(chosen) == 4
    for order in itertools.permutations(chosen):
        with rolled_back():
            stand_in.deliver(*order)
            (row,) = Subscription.objects.all()
            assert (row.status, row.ended_at is None) == ("canceled", False)
            assert (plan_of(alices_team), granted(alices_team)) == ("default", [25, 25])
            assert earned() == [20, 20]


def test_a_downgrade_in_two_months_of_shuffled_events_ends_with_the_cheaper_plan(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, pro)
    before = len(stand_in.events())
    plans.change(owner(alices_team, alice), row, plus, at=timezone.now(), attempt="one")
    stand_in.control("renew", subscription=row.stripe_id)
    events = subscription_events(stand_in, before)
    for order in itertools.permutations(events):
        with rolled_back():
            stand_in.deliver(*order)
            assert again(row).price.plan.name == "plus"
            assert (plan_of(alices_team), granted(alices_team)) == ("plus", [130, 25])


def test_a_plan_ends_with_its_subscription(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    at_stripe.cancel_now(at_stripe.get_subscription(str(row.stripe_id)))
    deliver_subscription_events(stand_in)
    row = again(row)
    assert (row.status, row.ended_at is None) == ("canceled", False)
    assert plan_of(alices_team) == "default"
    assert live_subscription(alices_team) is None
    assert granted(alices_team) == [25], "what was paid for stays until it expires"


def test_a_plan_that_staff_gave_outlives_renewals_and_the_end(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    give_by_hand(alices_team, requests_per_minute=6000)
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert (again(row).status, plan_of(alices_team)) == ("active", "by-hand")
    at_stripe.cancel_now(at_stripe.get_subscription(str(row.stripe_id)))
    deliver_subscription_events(stand_in)
    assert plan_of(alices_team) == "by-hand"


def test_buying_a_plan_never_lowers_what_staff_gave(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    give_by_hand(alices_team, requests_per_minute=6000)
    subscribed(stand_in, alices_team, alice, plus)
    assert (plan_of(alices_team), granted(alices_team)) == ("by-hand", [25])


def test_buying_a_plan_raises_a_team_from_an_old_default(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    give_by_hand(alices_team, requests_per_minute=10)
    subscribed(stand_in, alices_team, alice, plus)
    assert plan_of(alices_team) == "plus"


def test_lost_webhooks_are_found_by_the_hourly_check(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = paid(stand_in, alices_team, alice, plus)
    assert check_subscriptions() == 0, "it has only just begun"
    age(row)
    assert check_subscriptions() == 1
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [25])

    stand_in.control("renew", subscription=again(row).stripe_id)
    Subscription.objects.update(current_period_end=timezone.now() - timedelta(minutes=1))
    assert check_subscriptions() == 1
    assert (granted(alices_team), earned()) == ([25, 25], [20, 20])
    assert check_subscriptions() == 0


def test_a_lost_invoice_is_found_though_the_subscriptions_events_came(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    paid(stand_in, alices_team, alice, plus)
    stand_in.deliver(*stand_in.events("customer.subscription.created"))
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [])
    check_subscriptions()
    assert granted(alices_team) == [25]


def test_a_checkout_that_was_left_ends_with_its_page(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    begin(alices_team, alice, plus)
    (row,) = Subscription.objects.all()
    stand_in.control("expire", session=row.session_id)
    age(row)
    check_subscriptions()
    row = again(row)
    assert (row.status, row.ended_at is None) == ("incomplete_expired", False)
    assert plan_of(alices_team) == "default"


def test_a_row_that_never_reached_stripe_ends_after_a_day(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    begin(alices_team, alice, plus)
    Subscription.objects.update(session_id=None)
    (row,) = Subscription.objects.all()
    age(row)
    check_subscriptions()
    assert again(row).ended_at is None
    age(row, days=2)
    check_subscriptions()
    assert again(row).ended_at is not None


def test_a_subscription_of_others_is_ignored(stand_in: StripeStandIn) -> None:
    customer = stand_in.web.post(
        f"{stand_in.url}/v1/customers",
        data={"email": "someone@example.com"},
        headers={"authorization": "Bearer sk_test"},
    ).json()["id"]
    price = at_stripe.create_price(plan="other", title="Other", amount_cents=500)
    stand_in.web.post(
        f"{stand_in.url}/v1/subscriptions",
        data={
            "customer": customer,
            "items[0][price]": price,
            "metadata[row]": "nonsense",
        },
        headers={"authorization": "Bearer sk_test"},
    ).raise_for_status()
    events = stand_in.deliver(*subscription_events(stand_in))
    assert events
    assert {event.state for event in events} == {"ignored"}
    assert earned() == []


def test_a_second_subscription_is_cancelled_at_once_and_raises_an_alert(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    first = paid(stand_in, alices_team, alice, plus)
    # As if the first row had been lost sight of: nothing else lets a team have two pages.
    Subscription.objects.update(ended_at=timezone.now())
    second = paid(stand_in, alices_team, alice, plus)
    deliver_subscription_events(stand_in)
    rows = [again(first), again(second)]
    assert sorted(row.is_duplicate for row in rows) == [False, True]
    assert live_subscription(alices_team) in rows
    statuses = sorted(
        each["status"] for each in stand_in.get("subscriptions", status="all")["data"]
    )
    assert statuses == ["active", "canceled"]
    assert LedgerAlert.objects.filter(kind="subscription_duplicate").count() == 1
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [25])
    assert earned() == [20, 20], "the money came, and stays in the books until it is given back"


def test_an_unknown_price_raises_an_alert_and_changes_no_plan(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    foreign = at_stripe.create_price(plan="x", title="X", amount_cents=999)
    found = at_stripe.get_subscription(str(row.stripe_id))
    at_stripe.renew_at_price(found, foreign)
    deliver_subscription_events(stand_in)
    assert (again(row).price.plan.name, plan_of(alices_team)) == ("plus", "plus")
    assert LedgerAlert.objects.filter(kind="subscription_price").count() == 1


def test_stale_data_does_not_overwrite_newer_data(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A state fetched before another process stored a newer one is fetched again."""
    row = subscribed(stand_in, alices_team, alice, plus)
    number = str(row.stripe_id)
    real = at_stripe.get_subscription
    old = real(number)
    answers = [old]

    def slow(stripe_id: str) -> Any:
        if answers:
            answers.pop()
            at_stripe.cancel_now(old)
            subscriptions.sync(stripe_id)  # somebody else, who is faster
            return old
        return real(stripe_id)

    monkeypatch.setattr(subscriptions.subscriptions, "get_subscription", slow)
    subscriptions.sync(number)
    assert (again(row).status, plan_of(alices_team)) == ("canceled", "default")


@pytest.mark.django_db(transaction=True)
def test_a_hundred_copies_of_the_events_at_once_give_one_plan_and_its_credits_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    paid(stand_in, alices_team, alice, plus)
    events = subscription_events(stand_in)
    (number,) = [each["id"] for each in stand_in.get("subscriptions")["data"]]
    (invoice,) = [each["data"]["object"]["id"] for each in events if each["type"] == "invoice.paid"]

    def handle(turn: int) -> str:
        try:
            if turn % 2:
                return HANDLERS["invoice.paid"](invoice)
            return HANDLERS["customer.subscription.updated"](number)
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        assert len(list(threads.map(handle, range(100)))) == 100
    assert (plan_of(alices_team), granted(alices_team), earned()) == ("plus", [25], [20])
    assert SubscriptionPayment.objects.count() == 1


def give_by_hand(team: Team, **limits: int) -> None:
    """Put a team on a plan that nobody sells."""
    plan = Plan.objects.create(name="by-hand", title="By hand", **limits)
    Team.objects.filter(pk=team.pk).update(plan=plan)


def age(row: Subscription, **span: int) -> None:
    """Make a row as old as the check wants it, or as a span says."""
    created_at = timezone.now() - timedelta(**(span or {"minutes": 10}))
    Subscription.objects.filter(pk=row.pk).update(created_at=created_at)

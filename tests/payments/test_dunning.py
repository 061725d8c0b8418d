"""Dunning: after a failed payment the plan stays for a while, with a notice, and then ends.

Letters: tests/portal/test_plan_notices.py.
"""

import pytest

from accounts.models import Team, User
from billing.models import PlanOffer, SubscriptionPayment
from billing.payments import plans
from billing.payments.plans import PlanError
from billing.payments.subscriptions import live_subscription
from billing.payments.tasks import check_subscriptions
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import (
    VISA,
    again,
    choose_card,
    deliver_subscription_events,
    earned,
    granted,
    owner,
    plan_of,
    subscribed,
    switch_to_declined_card,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


@pytest.fixture
def late(stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer) -> str:
    """Stripe's id of a subscription whose second month could not be charged, without events."""
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    stand_in.control("renew", subscription=row.stripe_id)
    return str(row.stripe_id)


def test_a_late_payment_keeps_the_plan_and_grants_nothing(
    stand_in: StripeStandIn, late: str, alices_team: Team
) -> None:
    events = stand_in.deliver(*stand_in.events("invoice.payment_failed"))
    assert [event.state for event in events] == ["handled"]
    row = live_subscription(alices_team)
    assert row is not None
    assert (row.stripe_id, row.status, plan_of(alices_team)) == (late, "past_due", "plus")
    assert (granted(alices_team), earned()) == ([25], [20])


def test_a_late_payment_is_booked_once_it_succeeds(
    stand_in: StripeStandIn, late: str, alices_team: Team
) -> None:
    deliver_subscription_events(stand_in)
    row = live_subscription(alices_team)
    assert row is not None
    choose_card(stand_in, row, VISA)
    stand_in.control("retry_invoice", invoice=row.latest_invoice_id)
    deliver_subscription_events(stand_in)
    assert (again(row).status, plan_of(alices_team)) == ("active", "plus")
    assert (granted(alices_team), earned()) == ([25, 25], [20, 20])


@pytest.mark.parametrize("outcome", ["canceled", "unpaid"])
def test_an_invoice_that_is_never_paid_ends_the_plan(
    stand_in: StripeStandIn, late: str, alices_team: Team, outcome: str
) -> None:
    stand_in.control("give_up", subscription=late, outcome=outcome)
    deliver_subscription_events(stand_in)
    assert plan_of(alices_team) == "default"
    assert (live_subscription(alices_team) is None) == (outcome == "canceled")
    assert SubscriptionPayment.objects.count() == 1


def test_an_unpaid_plan_comes_back_with_its_payment(
    stand_in: StripeStandIn, late: str, alices_team: Team
) -> None:
    stand_in.control("give_up", subscription=late, outcome="unpaid")
    deliver_subscription_events(stand_in)
    row = live_subscription(alices_team)
    assert row is not None
    choose_card(stand_in, row, VISA)
    stand_in.control("retry_invoice", invoice=row.latest_invoice_id)
    deliver_subscription_events(stand_in)
    assert (again(row).status, plan_of(alices_team)) == ("active", "plus")
    assert granted(alices_team) == [25, 25]


def test_dunning_is_noticed_though_all_webhooks_were_lost(
    stand_in: StripeStandIn, late: str, alices_team: Team
) -> None:
    row = live_subscription(alices_team)
    assert row is not None
    row.current_period_end = row.created_at
    row.save()
    check_subscriptions()
    assert again(row).status == "past_due"
    stand_in.control("give_up", subscription=late, outcome="canceled")
    check_subscriptions()
    assert (again(row).status, plan_of(alices_team)) == ("canceled", "default")


def test_a_plan_that_is_not_paid_can_be_ended_at_once_but_not_changed(
    stand_in: StripeStandIn, late: str, alice: User, alices_team: Team, pro: PlanOffer
) -> None:
    deliver_subscription_events(stand_in)
    row = live_subscription(alices_team)
    assert row is not None
    with pytest.raises(PlanError, match="Pay the open invoice first"):
        plans.quote(row, pro)
    with pytest.raises(PlanError, match="unpaid"):
        plans.resume(owner(alices_team, alice), row)
    row = plans.cancel(owner(alices_team, alice), row)
    assert (row.status, plan_of(alices_team)) == ("canceled", "default")

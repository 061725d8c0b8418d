"""What a team does about its plan: subscribe, upgrade, downgrade, cancel, resume."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, Team, User
from billing.errors import CardDeclinedError, StripeError
from billing.models import PlanOffer, PlanPrice, Subscription
from billing.payments import plans
from billing.payments.plans import PlanError
from tests.payments.conftest import PAGES, StripeStandIn
from tests.payments.plan_helpers import (
    again,
    begin,
    deliver_subscription_events,
    earned,
    granted,
    owner,
    paid,
    plan_of,
    subscribed,
    switch_to_declined_card,
)
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

HALF_A_MONTH = 15 * 24 * 3600


def half_way(stand_in: StripeStandIn, row: Subscription) -> Subscription:
    """Let half of the subscription's month pass."""
    stand_in.control("age", id=row.stripe_id, seconds=HALF_A_MONTH)
    Subscription.objects.filter(pk=row.pk).update(
        current_period_end=row.current_period_end - timedelta(seconds=HALF_A_MONTH)
    )
    return again(row)


def change(user: User, row: Subscription, offer: PlanOffer, attempt: str = "one") -> Subscription:
    """Change the plan immediately."""
    return plans.change(owner(row.team, user), row, offer, at=timezone.now(), attempt=attempt)


def test_offers_come_in_their_order_and_only_those_that_are_offered(
    plus: PlanOffer, pro: PlanOffer
) -> None:
    assert plans.offers() == [plus, pro]
    PlanOffer.objects.filter(pk=plus.pk).update(is_offered=False)
    assert plans.offers() == [pro]


def test_the_same_page_comes_back_while_it_is_open(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    assert begin(alices_team, alice, plus) == begin(alices_team, alice, plus)
    assert Subscription.objects.count() == 1


def test_a_page_for_another_plan_ends_the_first(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    first = begin(alices_team, alice, plus)
    second = begin(alices_team, alice, pro)
    assert stand_in.pay(first).status_code >= 400
    assert stand_in.pay(second).status_code < 400
    deliver_subscription_events(stand_in)
    assert (plan_of(alices_team), granted(alices_team)) == ("pro", [130])
    assert Subscription.objects.filter(ended_at=None).count() == 1


def test_a_paid_page_whose_events_were_lost_makes_no_second_plan(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    paid(stand_in, alices_team, alice, plus)
    with pytest.raises(PlanError, match="just subscribed"):
        begin(alices_team, alice, pro)
    assert plan_of(alices_team) == "plus"
    with pytest.raises(PlanError, match="already on Plus"):
        begin(alices_team, alice, pro)


def test_after_a_page_has_expired_a_new_one_is_opened(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    first = begin(alices_team, alice, plus)
    stand_in.control("expire", session=Subscription.objects.get().session_id)
    second = begin(alices_team, alice, plus)
    assert first != second
    assert stand_in.pay(second).status_code < 400


def test_a_checkout_that_stripe_failed_to_open_starts_over(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    """Stripe keeps the failure as the key's answer for good, so the key is another."""
    stand_in.control("fault", call="POST /v1/checkout", next=["error_kept"])
    with pytest.raises(StripeError):
        begin(alices_team, alice, plus)
    assert stand_in.pay(begin(alices_team, alice, plus)).status_code < 400
    deliver_subscription_events(stand_in)
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [25])


@pytest.mark.django_db(transaction=True)
def test_ten_who_subscribe_at_once_get_one_page_or_plan(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    def subscribe(turn: int) -> str:
        try:
            return begin(alices_team, alice, plus if turn % 2 else pro)
        except (PlanError, StripeError):
            return ""
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        urls = {url for url in threads.map(subscribe, range(10)) if url}
    paid_pages = [url for url in urls if stand_in.pay(url).status_code < 400]
    assert len(paid_pages) == 1
    assert len(stand_in.get("subscriptions")["data"]) == 1


def test_an_upgrade_is_charged_and_granted_for_the_rest_of_the_month(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = half_way(stand_in, subscribed(stand_in, alices_team, alice, plus))
    quote = plans.quote(row, pro)
    assert (quote.is_upgrade, quote.charge_cents) == (True, 4000)
    assert quote.credit_nanos == pytest.approx(52.5e9, rel=1e-4)
    period_end = row.current_period_end
    row = plans.change(owner(alices_team, alice), row, pro, at=quote.at, attempt="one")
    assert (row.price.plan.name, row.next_price, row.status) == ("pro", None, "active")
    assert plan_of(alices_team) == "pro"
    assert row.current_period_end == period_end
    deliver_subscription_events(stand_in)
    assert earned() == [20, 40]
    assert granted(alices_team) == [25, quote.credit_nanos / 1e9]
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert granted(alices_team)[2:] == [130]
    assert earned()[2:] == [100]
    entry = AuditEntry.objects.get(action="plan.upgraded")
    assert (entry.actor, entry.team, entry.detail["to"]) == (alice, alices_team, "Pro")


def test_a_declined_card_changes_nothing(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    with pytest.raises(CardDeclinedError):
        change(alice, row, pro)
    deliver_subscription_events(stand_in)
    row = again(row)
    assert (row.price.plan.name, row.status, plan_of(alices_team)) == ("plus", "active", "plus")
    assert (granted(alices_team), earned()) == ([25], [20])
    assert not AuditEntry.objects.filter(action="plan.upgraded").exists()


@pytest.mark.parametrize("fault", ["error_before", "error_kept", "hang_before", "hang_after"])
def test_an_upgrade_that_stripe_failed_to_answer_is_charged_once(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
    settings: Any,
    fault: str,
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    settings.STRIPE_TIMEOUT_SECONDS = 0.5
    stand_in.control("fault", call="POST /v1/subscriptions", next=[fault] * 2, hang_seconds=1.5)
    with contextlib.suppress(StripeError):  # the SDK's own second try heals some of them
        change(alice, row, pro, attempt="one")
    stand_in.control("fault")
    settings.STRIPE_TIMEOUT_SECONDS = 10
    eventually(lambda: change_is_done(alice, row, pro))
    deliver_subscription_events(stand_in)
    assert (plan_of(alices_team), granted(alices_team), earned()) == ("pro", [25, 105], [20, 80])


def change_is_done(user: User, row: Subscription, offer: PlanOffer) -> bool:
    """Send the form again, as it was and then anew, as people do."""
    for attempt in ("one", "two"):
        with contextlib.suppress(PlanError, StripeError):
            change(user, again(row), offer, attempt=attempt)
    return again(row).price.plan == offer.plan


@pytest.mark.django_db(transaction=True)
def test_upgrades_at_once_are_charged_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)

    def upgrade(turn: int) -> None:
        with contextlib.suppress(PlanError, StripeError), contextlib.closing(connection):
            change(alice, row, pro, attempt=f"attempt {turn // 2}")

    # Fewer at a time than the pool has connections: each waits for the one before it.
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(upgrade, range(10)))
    deliver_subscription_events(stand_in)
    assert plan_of(alices_team) == "pro"
    assert (sum(granted(alices_team)), sum(earned())) == (130, 100)


def test_a_downgrade_begins_with_the_next_period_and_gives_nothing_back(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, pro)
    quote = plans.quote(row, plus)
    assert (quote.is_upgrade, quote.charge_cents, quote.at) == (False, 0, row.current_period_end)
    row = change(alice, row, plus)
    deliver_subscription_events(stand_in)
    assert (row.price.plan.name, row.next_price.plan.name) == ("pro", "plus")
    assert (plan_of(alices_team), granted(alices_team), earned()) == ("pro", [130], [100])
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    row = again(row)
    assert (row.price.plan.name, row.next_price) == ("plus", None)
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [130, 25])
    assert earned() == [100, 20]


def test_a_downgrade_can_be_undone_and_must_be_before_an_upgrade(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = change(alice, subscribed(stand_in, alices_team, alice, pro), plus)
    with pytest.raises(PlanError, match="Keep Pro first"):
        plans.quote(row, plus)
    with pytest.raises(PlanError, match="Keep Pro first"):
        change(alice, row, plus)
    row = plans.resume(owner(alices_team, alice), row)
    assert row.next_price is None
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert (plan_of(alices_team), granted(alices_team)) == ("pro", [130, 130])


def test_a_cancelled_plan_lasts_until_its_period_ends(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = plans.cancel(owner(alices_team, alice), subscribed(stand_in, alices_team, alice, plus))
    assert (row.cancel_at_period_end, row.status) == (True, "active")
    deliver_subscription_events(stand_in)
    assert plan_of(alices_team) == "plus"
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert (again(row).status, plan_of(alices_team)) == ("canceled", "default")
    assert (granted(alices_team), earned()) == ([25], [20])
    assert AuditEntry.objects.filter(action="plan.cancelled", actor=alice).count() == 1


def test_a_cancelled_plan_can_be_resumed_until_then(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    actor = owner(alices_team, alice)
    row = plans.cancel(actor, subscribed(stand_in, alices_team, alice, plus))
    row = plans.resume(actor, row)
    assert not row.cancel_at_period_end
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert (again(row).status, granted(alices_team)) == ("active", [25, 25])
    row = plans.cancel(actor, again(row))
    stand_in.control("renew", subscription=row.stripe_id)
    with pytest.raises(PlanError, match="can't be resumed"):
        plans.resume(actor, row)


def test_after_its_end_a_team_may_subscribe_again(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = plans.cancel(owner(alices_team, alice), subscribed(stand_in, alices_team, alice, plus))
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    subscribed(stand_in, alices_team, alice, pro)
    assert (plan_of(alices_team), granted(alices_team)) == ("pro", [25, 130])


def test_a_new_price_is_for_new_subscribers_only(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    charlie: User,
    charlies_team: Team,
    plus: PlanOffer,
) -> None:
    old = subscribed(stand_in, alices_team, alice, plus)
    plus.price_cents, plus.credit_nanos = 3000, 40 * 10**9
    plus.save()
    new = subscribed(stand_in, charlies_team, charlie, plus)
    for row in (old, new):
        stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert (granted(alices_team), granted(charlies_team)) == ([25, 25], [40, 40])
    assert sorted(earned()) == [20, 20, 30, 30]
    assert plan_of(alices_team) == plan_of(charlies_team) == "plus"
    assert PlanPrice.objects.count() == 2


def test_a_withdrawn_offer_is_neither_sold_nor_changed_to(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    pro.is_offered = False
    with pytest.raises(PlanError, match="no longer offered"):
        plans.open_checkout(alices_team, alice, pro, **PAGES)
    with pytest.raises(PlanError, match="no longer offered"):
        change(alice, row, pro)
    with pytest.raises(PlanError, match="already on Plus"):
        change(alice, row, plus)

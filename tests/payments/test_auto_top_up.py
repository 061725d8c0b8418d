"""Auto top-up: when it buys, how much a month, never two at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Plan, Team, User
from billing.ledger import postings
from billing.models import CreditAccount, Order
from billing.payments import auto_top_up, orders, tasks
from tests.billing.ledger_calls import admit, make_customer, settle
from tests.payments.auto_top_up_helpers import (
    DOLLAR,
    MINUTE,
    available,
    charged_cents,
    enable_auto_top_up,
    keep_card,
    pass_time,
    run_round,
    settings_of,
    spend_all,
)
from tests.payments.conftest import StripeStandIn, checkout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


# When


def test_below_the_threshold_the_amount_is_bought_once(low: Team, stand_in: StripeStandIn) -> None:
    order = run_round(low)
    assert order is not None
    assert (order.state, order.origin, order.amount_cents) == ("paid", "auto_top_up", 1000)
    assert available(low) == 13 * DOLLAR
    assert charged_cents(stand_in) == [1000]
    assert run_round(low) is None
    assert auto_top_up.top_up(low.pk) is None
    assert charged_cents(stand_in) == [1000]


def test_at_the_threshold_nothing_is_bought(low: Team, alices_account: CreditAccount) -> None:
    postings.grant(alices_account, 2 * DOLLAR, reference="two more")
    assert run_round(low) is None
    postings.adjust(alices_account, -1, reference="a nano-dollar", memo="spent")
    assert run_round(low) is not None


def test_what_open_requests_hold_is_not_available(stand_in: StripeStandIn, alice: User) -> None:
    customer = make_customer(6 * DOLLAR)
    Membership.objects.create(user=alice, team=customer.team, role="owner")
    keep_card(stand_in, customer.team, alice)
    enable_auto_top_up(customer.team)
    assert auto_top_up.due_teams() == []
    request = customer.admitted(amount_nanos=2 * DOLLAR)
    assert auto_top_up.due_teams() == [customer.team.pk]
    settle(customer.end(request, output_nanos=2 * DOLLAR, outcome="completed"))
    assert run_round(customer.team) is not None
    assert available(customer.team) == 14 * DOLLAR


@pytest.mark.parametrize("reason", ["off", "suspended", "nobody", "waits"])
def test_who_may_not_buy_is_not_charged(
    reason: str, low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    if reason == "off":
        enable_auto_top_up(low, is_enabled=False)
    elif reason == "suspended":
        Team.objects.filter(pk=low.pk).update(suspended_at=timezone.now())
    elif reason == "nobody":
        Membership.objects.filter(team=low).delete()
    else:
        enable_auto_top_up(low, next_attempt_at=timezone.now() + MINUTE)
    assert auto_top_up.due_teams() == []
    assert auto_top_up.top_up(low.pk) is None
    assert charged_cents(stand_in) == []


def test_looking_for_due_teams_takes_two_queries_however_many_there_are(low: Team) -> None:
    plan = Plan.objects.get(is_default=True)
    for number in range(30):
        team = Team.objects.create(name=f"{number}", slug=f"full-{number}", plan=plan)
        enable_auto_top_up(team)
        postings.grant(postings.open_account(team), 20 * DOLLAR, reference=f"full {number}")
    with CaptureQueriesContext(connection) as captured:
        assert auto_top_up.due_teams() == [low.pk]
    assert len(captured) == 2


# Twice at once


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_buy_once(low: Team, stand_in: StripeStandIn) -> None:
    def attempt(_: int) -> Order | None:
        try:
            return auto_top_up.top_up(low.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        found = [order for order in threads.map(attempt, range(20)) if order is not None]
    assert [order.state for order in found] == ["paid"]
    assert charged_cents(stand_in) == [1000]
    assert available(low) == 13 * DOLLAR


def test_the_database_itself_refuses_a_second_open_order(low: Team) -> None:
    fields = {"team": low, "origin": "auto_top_up", "amount_cents": 1000, "is_live": False}
    Order.objects.create(credit_nanos=1, **fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.create(credit_nanos=1, **fields)


# The month's limit


def test_the_months_limit_is_exact(
    low: Team, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    enable_auto_top_up(low, monthly_limit_cents=3000)
    for _ in range(3):
        assert run_round(low) is not None
        spend_all(alices_account)
    assert run_round(low) is None
    row = settings_of(low)
    assert (row.problem, row.is_enabled) == ("monthly_limit", True)
    assert row.next_attempt_at is not None
    assert (row.next_attempt_at.day, row.next_attempt_at.hour) == (1, 0)
    assert row.next_attempt_at > timezone.now()
    assert charged_cents(stand_in) == [1000] * 3
    assert run_round(low) is None

    pass_time(low, timedelta(days=32))
    assert run_round(low) is not None
    assert settings_of(low).problem == ""


def test_orders_that_failed_or_that_a_person_placed_count_for_nothing(
    low: Team, alice: User, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    order, url = checkout(low, alice, 5000)
    stand_in.pay(url)
    order.refresh_from_db()
    assert orders.confirm(order).state == "paid"
    spend_all(alices_account)
    fields = {"origin": "auto_top_up", "amount_cents": 5000, "credit_nanos": 1, "is_live": False}
    Order.objects.create(team=low, state="failed", **fields)
    assert auto_top_up.bought_this_month_cents(low, timezone.now()) == 0
    assert run_round(low) is not None
    assert auto_top_up.bought_this_month_cents(low, timezone.now()) == 1000


# Through the API's own gate


@pytest.mark.django_db(transaction=True)
def test_a_request_that_brings_the_balance_low_has_credits_bought(
    stand_in: StripeStandIn, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = make_customer(6 * DOLLAR)
    Membership.objects.create(user=alice, team=customer.team, role="owner")
    keep_card(stand_in, customer.team, alice)
    enable_auto_top_up(customer.team)
    monkeypatch.setattr(
        tasks.top_up_team, "apply_async", lambda args, **_: tasks.top_up_team(*args)
    )
    assert tasks.top_up_low_balances() == 0
    ask = customer.ask(amount_nanos=2 * DOLLAR)
    assert admit(ask)[0].code == "admitted"
    settle(customer.end(ask, output_nanos=2 * DOLLAR))
    assert tasks.top_up_low_balances() == 1
    assert available(customer.team) == 14 * DOLLAR
    assert tasks.top_up_low_balances() == 0


def test_without_payments_nothing_is_looked_for(low: Team, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert tasks.top_up_low_balances() == 0

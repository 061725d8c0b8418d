"""Budgets of keys, which billing_admit holds and billing_settle spends."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from tests.billing.ledger_calls import (
    admit,
    make_customer,
    settle,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_hold_is_lowered_to_what_the_budget_leaves():
    customer = make_customer(1000, budget_total_nanos=60)

    (admission,) = admit(customer.ask(amount_nanos=100, minimum_nanos=1))

    assert (admission.code, admission.amount_nanos) == ("admitted", 60)
    assert customer.spend.held_nanos == 60


@pytest.mark.parametrize("budget", ["day", "month", "total"])
def test_a_budget_is_held_and_spent_to_the_nano(budget):
    customer = make_customer(10_000, **{f"budget_{budget}_nanos": 250})
    first, second = customer.ask(), customer.ask()

    assert [admission.code for admission in admit(first, second)] == ["admitted"] * 2
    assert customer.code() == "budget_exceeded"
    settle(customer.end(first, output_nanos=40))
    assert customer.code(amount_nanos=111) == "budget_exceeded"
    assert customer.code(amount_nanos=110) == "admitted"
    assert customer.code(amount_nanos=1) == "budget_exceeded"


def test_the_least_of_the_budgets_counts():
    customer = make_customer(
        10_000, budget_day_nanos=500, budget_month_nanos=90, budget_total_nanos=800
    )

    assert customer.code(amount_nanos=91) == "budget_exceeded"
    assert customer.code(amount_nanos=90) == "admitted"


@pytest.mark.parametrize(
    ("budget", "left"),
    [("day", (40, 100, 100)), ("month", (40, 40, 100)), ("total", (40, 40, 40))],
)
@pytest.mark.parametrize("ago", [0, 1, 2], ids=["today", "this month", "last month"])
def test_budgets_of_days_and_months_begin_anew_at_midnight_utc(budget, left, ago):
    customer = make_customer(10_000, **{f"budget_{budget}_nanos": 100})
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=60))
    today = timezone.now().date()
    other_day_this_month = today.replace(day=2 if today.day == 1 else 1)
    last_month = today.replace(day=1) - timedelta(days=1)
    customer.move_spend((today, other_day_this_month, last_month)[ago])

    assert customer.code(amount_nanos=left[ago] + 1) == "budget_exceeded"
    assert customer.code(amount_nanos=left[ago]) == "admitted"


def test_a_hold_from_before_midnight_still_counts_after_it():
    customer = make_customer(10_000, budget_day_nanos=100)
    assert customer.code(amount_nanos=70) == "admitted"
    customer.move_spend(date(2020, 1, 1))

    assert customer.code(amount_nanos=31) == "budget_exceeded"
    assert customer.code(amount_nanos=30) == "admitted"


def test_a_budget_below_what_is_spent_refuses_all_but_what_is_free():
    customer = make_customer(10_000)
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=60))
    customer.change_key(budget_total_nanos=50)

    assert customer.code(amount_nanos=1) == "budget_exceeded"
    assert customer.code(amount_nanos=0) == "admitted"
    assert customer.balances == (9940, 0)


def test_a_budget_larger_than_the_balance_is_no_credit():
    customer = make_customer(50, budget_total_nanos=1000)

    assert customer.code() == "insufficient_quota"


def test_spend_counts_in_the_day_and_month_of_the_settlement():
    customer = make_customer(1000)
    ask, other = customer.admitted(), customer.admitted()
    settle(customer.end(ask, output_nanos=60))
    customer.move_spend(date(2020, 1, 1))

    settle(customer.end(other, output_nanos=7))

    spend = customer.spend
    today = timezone.now().date()
    assert (spend.day, spend.month) == (today, today.replace(day=1))
    assert (spend.day_nanos, spend.month_nanos, spend.total_nanos) == (7, 7, 67)


def test_keys_of_one_account_are_charged_in_one_batch_each_to_its_own_budget():
    customer = make_customer(1000)
    other = customer.another_key()
    asks = [who.admitted() for who in (customer, other, customer)]

    settle(
        customer.end(asks[0], output_nanos=10),
        other.end(asks[1], output_nanos=20),
        customer.end(asks[2], output_nanos=40),
    )

    assert (customer.spend.total_nanos, other.spend.total_nanos) == (50, 20)
    assert customer.balances == (930, 0)
    assert [transfer.sequence for transfer in customer.transfers] == [1, 2, 3, 4]
    assert customer.transfers[-1].balance_nanos == 930

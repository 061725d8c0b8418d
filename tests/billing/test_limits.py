"""Limits of requests and tokens per minute, which billing_admit counts."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import CatalogueVersion, RateWindow, Reservation
from tests.billing.ledger_calls import (
    admit,
    make_customer,
    settle,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_requests_above_the_minutes_limit_are_refused_until_it_ends():
    customer = make_customer(10_000, requests_per_minute=3)

    admissions = [admit(customer.ask())[0] for _ in range(5)]

    assert [admission.code for admission in admissions] == ["admitted"] * 3 + [
        "rate_limited_requests"
    ] * 2
    assert [admission.requests_remaining for admission in admissions] == [2, 1, 0, 0, 0]
    assert {admission.requests_limit for admission in admissions} == {3}
    assert [admission.retry_after_seconds for admission in admissions] == [0, 0, 0, 60, 60]

    customer.age_minute(seconds=59)
    (refused,) = admit(customer.ask())
    assert (refused.code, refused.retry_after_seconds) == ("rate_limited_requests", 1)
    customer.age_minute(seconds=1)
    (fresh,) = admit(customer.ask())
    assert (fresh.code, fresh.requests_remaining) == ("admitted", 2)


def test_tokens_above_the_minutes_limit_are_refused():
    customer = make_customer(10_000, tokens_per_minute=100)

    first, second, third = (admit(customer.ask(tokens=n))[0] for n in (60, 41, 40))

    assert (first.code, first.tokens_remaining, first.tokens_limit) == ("admitted", 40, 100)
    assert (second.code, second.tokens_remaining) == ("rate_limited_tokens", 40)
    assert (second.retry_after_seconds, second.amount_nanos) == (60, 0)
    assert (third.code, third.tokens_remaining) == ("admitted", 0)


def test_a_request_larger_than_the_minutes_limit_is_never_admitted():
    customer = make_customer(10_000, tokens_per_minute=100)

    assert customer.code(tokens=101) == "rate_limited_tokens"
    assert customer.code(tokens=100) == "admitted"


def test_the_reset_is_the_end_of_the_minute_that_the_first_request_began():
    customer = make_customer(10_000)

    (first,) = admit(customer.ask())
    customer.age_minute(seconds=20)
    (second,) = admit(customer.ask())

    assert first.reset_at == pytest.approx(time.time() + 60, abs=3)
    assert second.reset_at == first.reset_at - 20


def test_limits_that_the_key_leaves_open_are_the_plans():
    customer = make_customer(10_000, requests_per_minute=None, tokens_per_minute=None)
    customer.team.plan.requests_per_minute = 2
    customer.team.plan.tokens_per_minute = 77
    customer.team.plan.save()
    customer.catalogue_version = CatalogueVersion.objects.get(pk=1).version  # plans are part of it

    (admission,) = admit(customer.ask())

    assert (admission.requests_limit, admission.tokens_limit) == (2, 77)
    assert (admission.requests_remaining, admission.tokens_remaining) == (1, 67)


def test_keys_of_one_account_share_its_balance_but_not_their_minutes():
    customer = make_customer(250, requests_per_minute=1)
    other = customer.another_key(requests_per_minute=5)

    admissions = admit(customer.ask(), customer.ask(), other.ask(), other.ask())

    codes = [admission.code for admission in admissions]
    assert sorted(codes[:2]) == ["admitted", "rate_limited_requests"]
    assert sorted(codes[2:]) == ["admitted", "insufficient_quota"]
    assert customer.balances == (250, 200)


def test_settlement_corrects_the_tokens_that_were_counted():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=90)

    settle(customer.end(ask, input_tokens=5, output_tokens=7, output_nanos=1))

    assert RateWindow.objects.get(key=customer.key).tokens == 12
    assert admit(customer.ask(tokens=88))[0].tokens_remaining == 0


def test_more_tokens_than_were_counted_are_counted_too():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=10)

    settle(customer.end(ask, input_tokens=100, output_tokens=50, output_nanos=1))

    (admission,) = admit(customer.ask(tokens=0))
    assert (admission.code, admission.tokens_remaining) == ("rate_limited_tokens", 0)


def test_tokens_of_an_earlier_minute_are_not_corrected_in_this_one():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=90)
    earlier = timezone.now() - timedelta(seconds=61)
    RateWindow.objects.filter(key=customer.key).update(started_at=earlier)
    Reservation.objects.filter(pk=ask.request_id).update(window_started_at=earlier)
    customer.admitted(tokens=30)

    settle(customer.end(ask, input_tokens=1, output_nanos=1))

    assert RateWindow.objects.get(key=customer.key).tokens == 30


def test_a_lost_minute_is_no_obstacle():
    """The table is UNLOGGED: a crash of the server empties it."""
    customer = make_customer(1000)
    ask = customer.admitted()
    RateWindow.objects.filter(key=customer.key).delete()

    (receipt,) = settle(customer.end(ask, output_nanos=5))

    assert receipt.code == "settled"
    assert not RateWindow.objects.filter(key=customer.key).exists()

"""billing_count_growth: answers that grow use up the minutes that they last."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import RateWindow, Reservation
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import (
    Admission,
    Customer,
    admit,
    call,
    connect,
    make_customer,
    repeat_on_ten_connections,
    run,
    settle,
)
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def grow(customer: Customer, ask: Admission, *tokens: int, on: Any = None) -> None:
    """Count a request's tokens so far, as one statement."""
    row = {"request_id": ask.request_id, "account_id": customer.account.pk}
    call("count_growth", [row | {"tokens": count} for count in tokens], dict[str, Any], on)


def counted(customer: Customer) -> int:
    """Return what the key's minute has counted."""
    return RateWindow.objects.get(key=customer.key).tokens


def pass_a_minute(customer: Customer) -> None:
    """Let the key's minute, and what was counted in it, be over."""
    earlier = timezone.now() - timedelta(seconds=61)
    RateWindow.objects.filter(key=customer.key).update(started_at=earlier)
    Reservation.objects.filter(key=customer.key).update(window_started_at=earlier)


def test_what_an_answer_has_beyond_what_was_counted_counts_once():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=50)
    grow(customer, ask, 30)
    assert counted(customer) == 50
    grow(customer, ask, 70, 80, 60)
    grow(customer, ask, 80)
    assert counted(customer) == 80
    assert customer.code(tokens=21) == "rate_limited_tokens"
    settle(customer.end(ask, output_tokens=90, output_nanos=1))
    assert counted(customer) == 90


def test_growth_counts_in_the_minute_in_which_it_comes():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=50)
    pass_a_minute(customer)

    grow(customer, ask, 95)
    assert counted(customer) == 45
    assert customer.code(tokens=56) == "rate_limited_tokens"
    assert customer.code(tokens=50) == "admitted"
    settle(customer.end(ask, output_tokens=97, output_nanos=1))
    assert counted(customer) == 45 + 50 + 2


def test_what_only_the_settlement_knows_counts_in_its_minute():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=10)
    pass_a_minute(customer)
    customer.admitted(tokens=20)
    settle(customer.end(ask, output_tokens=90, output_nanos=1))
    assert counted(customer) == 100
    assert customer.code(tokens=1) == "rate_limited_tokens"


def test_a_request_that_has_ended_grows_no_more():
    customer = make_customer(1000)
    ask = customer.admitted(tokens=50)
    settle(customer.end(ask, output_tokens=60, output_nanos=1))
    grow(customer, ask, 500)
    assert counted(customer) == 60


def test_another_accounts_request_does_not_grow():
    customer, other = make_customer(1000), make_customer(1000)
    ask = customer.admitted(tokens=50)
    grow(other, ask, 500)
    assert counted(customer) == 50


def test_an_open_ended_request_is_granted_what_the_minute_has_left():
    customer = make_customer(1000, tokens_per_minute=100)
    asks = [customer.ask(tokens=70, minimum_tokens=20) for _ in range(3)]

    results = admit(*asks)

    assert sorted((result.code, result.tokens_remaining) for result in results) == [
        ("admitted", 0),
        ("admitted", 30),
        ("rate_limited_tokens", 0),
    ]
    held = Reservation.objects.filter(account=customer.account)
    assert sorted(held.values_list("tokens_counted", flat=True)) == [30, 70]


@pytest.mark.django_db(transaction=True)
def test_a_hundred_reports_and_admissions_at_once_count_everything_once():
    customer = make_customer(1_000_000)
    ask = customer.admitted(tokens=10)

    def work(on: Any) -> None:
        grow(customer, ask, 500, on=on)
        admit(customer.ask(tokens=3), on=on)

    repeat_on_ten_connections(work)

    assert counted(customer) == 500 + 100 * 3
    assert customer.reservation(ask).tokens_counted == 500


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_folder")
def test_the_gate_counts_growth_without_being_waited_for():
    customer = make_customer(1000)
    ask = customer.ask(tokens=10)

    def tokens() -> int:
        with connect() as own:
            query = "SELECT tokens FROM billing_ratewindow WHERE key_id = %s"
            return int(own.execute(query, [customer.key.pk]).fetchone()[0])

    async def work() -> None:
        async with open_gate() as gate:
            await gate.admit(ask)
            gate.count_growth(ask.request_id, customer.account.pk, 4_000)
            await eventually_async(lambda: tokens() == 4_000)

    run(work())

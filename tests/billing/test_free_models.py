"""The limits of free models: by team and by the client's address, whatever the keys."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import FreeWindow
from tests.billing.ledger_calls import (
    Admission,
    Customer,
    admit,
    connect,
    make_customer,
    repeat_on_ten_connections,
    sweep,
    wait_until_blocked,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

ADDRESS = "192.0.2.1"


def free(customer: Customer, address: str = ADDRESS, **changes: Any) -> Admission:
    """Return a free request; the minute has three requests and a hundred tokens."""
    limits = {"free_requests_per_minute": 3, "free_tokens_per_minute": 100}
    return customer.ask(amount_nanos=0, free_address=address, **(limits | changes))


def codes(*asks: Admission) -> list[str]:
    """Return the codes of requests, one after the other."""
    return [admit(ask)[0].code for ask in asks]


def test_a_team_has_a_limit_over_all_of_its_keys_and_addresses():
    customer = make_customer()
    other = customer.another_key()
    asks = [
        free(key, f"198.51.100.{n}") for n, key in enumerate([customer, other, other, customer])
    ]
    assert codes(*asks) == ["admitted"] * 3 + ["rate_limited_free"]


def test_an_address_has_a_limit_over_all_of_its_teams():
    customers = [make_customer() for _ in range(4)]
    assert codes(*[free(customer) for customer in customers]) == ["admitted"] * 3 + [
        "rate_limited_free"
    ]
    assert codes(free(customers[3], "198.51.100.9")) == ["admitted"]


def test_a_limit_is_exact_within_a_batch_and_a_refused_request_counts_nothing():
    customers = [make_customer() for _ in range(5)]
    results = admit(*[free(customer) for customer in customers])
    assert sorted(result.code for result in results) == ["admitted"] * 3 + ["rate_limited_free"] * 2
    refused = next(result for result in results if result.code == "rate_limited_free")
    assert refused.retry_after_seconds == 60
    assert FreeWindow.objects.get(pk=f"address {ADDRESS}").requests == 3


def test_tokens_count_as_they_are_granted():
    customer = make_customer()
    assert codes(
        free(customer, tokens=90), free(customer, tokens=11), free(customer, tokens=10)
    ) == ["admitted", "rate_limited_free", "admitted"]


def test_a_hundred_and_twenty_eight_answers_without_a_limit_do_not_pass_often():
    customer = make_customer(tokens_per_minute=120_000)
    ask = {"tokens": 128 * 4096 + 20, "minimum_tokens": 128 * 16 + 20}
    limits = {"free_requests_per_minute": 300, "free_tokens_per_minute": 120_000}
    keys = [customer, *[customer.another_key(tokens_per_minute=120_000) for _ in range(24)]]
    assert (
        codes(*[free(key, **ask, **limits) for key in keys])
        == ["admitted"] + ["rate_limited_free"] * 24
    )


def test_the_next_minute_begins_anew_and_old_ones_are_forgotten():
    customer = make_customer()
    codes(*[free(customer) for _ in range(3)])
    FreeWindow.objects.update(started_at=timezone.now() - timedelta(seconds=61))
    assert codes(free(customer)) == ["admitted"]
    FreeWindow.objects.update(started_at=timezone.now() - timedelta(hours=2))
    sweep()
    assert not FreeWindow.objects.exists()


def test_what_is_paid_for_is_not_counted():
    customer = make_customer(1000)
    customer.admitted()
    assert not FreeWindow.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_a_hundred_requests_at_once_of_ten_teams_at_one_address_thirty_pass():
    address = "203.0.113.7"
    teams = [make_customer() for _ in range(10)]
    limits = {"free_requests_per_minute": 30, "free_tokens_per_minute": 10**9}
    count = iter(range(100))

    def work(on: Any) -> list[str]:
        asks = [free(teams[next(count) % 10], address, **limits)]
        return [result.code for result in admit(*asks, on=on)]

    results = repeat_on_ten_connections(work)

    assert sum(codes == ["admitted"] for codes in results) == 30
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT requests FROM billing_freewindow WHERE subject = %s", [f"address {address}"]
        )
        assert cursor.fetchone() == (30,)


@pytest.mark.django_db(transaction=True)
def test_a_sweep_and_a_free_request_of_one_account_do_not_deadlock():
    """The sweep locks accounts before minutes, as admission does."""
    customer = make_customer(1000)
    customer.admitted(hold_seconds=-1)
    assert codes(free(customer)) == ["admitted"]
    FreeWindow.objects.update(started_at=timezone.now() - timedelta(hours=2))
    with connect(autocommit=False) as holder, connect() as own, ThreadPoolExecutor(1) as thread:
        holder.execute(
            "SELECT FROM billing_creditaccount WHERE id = %s FOR NO KEY UPDATE",
            [customer.account.pk],
        )
        sweeping = thread.submit(sweep, own)
        wait_until_blocked(own.info.backend_pid)
        (result,) = admit(free(customer), on=holder)
        holder.commit()
        assert sweeping.result(timeout=60) == 1

    assert result.code == "admitted"
    assert FreeWindow.objects.get(pk=f"address {ADDRESS}").requests == 1

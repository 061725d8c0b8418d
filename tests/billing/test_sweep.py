"""billing_sweep: the end of reservations whose process died."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.ledger import expiry
from billing.models import Reservation
from tests.billing.ledger_calls import admit, connect, make_customer, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_the_sweep_releases_what_has_expired_and_says_why():
    customer = make_customer(1000)
    ask = customer.ask(hold_seconds=-1)
    admit(ask)

    assert sweep() == 1

    assert customer.balances == (1000, 0)
    assert customer.spend.held_nanos == 0
    reservation = customer.reservation(ask)
    assert reservation.state == Reservation.State.EXPIRED
    assert reservation.ended_at is not None
    record = customer.record(ask)
    assert (record.outcome, record.source, record.cost_nanos) == ("expired", "none", 0)
    assert record.reserved_nanos == 100
    assert (record.model, record.surface, record.key) == ("small", "openai", customer.key)
    assert "before it could settle" in record.error
    assert len(customer.transfers) == 1


def test_the_sweep_leaves_what_has_not_expired():
    customer = make_customer(1000)
    ask = customer.ask(hold_seconds=5)
    admit(ask)

    assert sweep() == 0
    assert customer.reservation(ask).state == Reservation.State.OPEN


def test_a_second_sweep_changes_nothing():
    customer = make_customer(1000)
    admit(customer.ask(hold_seconds=-1))
    sweep()

    assert sweep() == 0
    assert customer.balances == (1000, 0)


def test_the_sweep_ends_at_most_so_many_the_oldest_first():
    customer = make_customer(1000)
    asks = [customer.ask(hold_seconds=-seconds) for seconds in (1, 9, 5)]
    admit(*asks)

    assert expiry.sweep(2) == 2
    assert [customer.reservation(ask).state for ask in asks] == ["open", "expired", "expired"]
    assert expiry.sweep(2) == 1


def test_a_sweep_serves_many_accounts_and_keys():
    one, two = make_customer(1000), make_customer(1000)
    other = one.another_key()
    admit(
        one.ask(hold_seconds=-1),
        two.ask(hold_seconds=-1),
        other.ask(hold_seconds=-1),
        one.ask(hold_seconds=60),
    )

    assert sweep() == 3
    assert (one.balances, two.balances) == ((1000, 100), (1000, 0))
    assert (one.spend.held_nanos, other.spend.held_nanos) == (100, 0)


def test_a_reservation_older_than_a_month_is_ended_too():
    """As after a long outage: its age in milliseconds is more than the column holds."""
    customer = make_customer(1000)
    ask = customer.ask(hold_seconds=-1)
    admit(ask)
    Reservation.objects.filter(pk=ask.request_id).update(
        created_at=timezone.now() - timedelta(days=30)
    )

    assert sweep() == 1
    assert customer.record(ask).latency_ms == 2**31 - 1


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_release_a_hold_once():
    customers = [make_customer(10_000) for _ in range(5)]
    admit(*[customer.ask(hold_seconds=-1) for customer in customers for _ in range(40)])

    def sweep_some(_: int) -> int:
        with connect() as own:
            return sum(own.execute("SELECT billing_sweep(15)").fetchone()[0] for _ in range(20))

    with ThreadPoolExecutor(4) as threads:
        ended = sum(threads.map(sweep_some, range(4)))

    assert ended == 200
    assert {customer.balances for customer in customers} == {(10_000, 0)}

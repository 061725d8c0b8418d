"""The leases of processes: a dead one's holds end soon, a stopped one's stay."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import pytest

from billing import tasks
from billing.ledger import expiry, spool
from billing.models import ProcessLease, Reservation
from tests.billing.faulty_link import FaultyLink
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import connect, make_customer, run, settle
from tests.support.waiting import eventually, eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]

SECONDS = 10


@contextmanager
def process() -> Iterator[int]:
    """Give the lease of a process that lives as long as the block."""
    with connect() as session:
        yield session.execute("SELECT billing_begin_lease('test 1')").fetchone()[0]
    eventually(lambda: not is_locked())


def is_locked() -> bool:
    """Return whether any session holds the lock of a lease."""
    with connect() as own:
        (count,) = own.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND classid = billing_lease_lock()::oid"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    return bool(count)


def renewed_at(lease: int) -> datetime:
    """Return when the lease was renewed last."""
    with connect() as own:
        query = "SELECT renewed_at FROM billing_processlease WHERE id = %s"
        return own.execute(query, [lease]).fetchone()[0]


def age(lease: int, seconds: float = SECONDS + 1) -> None:
    """Let the lease's last renewal, and the suspicion of it, be longer ago."""
    with connect() as own:
        own.execute(
            "UPDATE billing_processlease SET renewed_at = renewed_at - %(s)s * interval '1 second',"
            " suspected_at = suspected_at - %(s)s * interval '1 second' WHERE id = %(lease)s",
            {"s": seconds, "lease": lease},
        )


def end_dead_leases(lease: int) -> list[int]:
    """Look for dead processes twice, as long apart as it takes; return how many there were."""
    age(lease)
    first = expiry.end_dead_leases(SECONDS)
    age(lease)
    return [first, expiry.end_dead_leases(SECONDS)]


def test_what_a_dead_process_holds_is_released_within_a_minute_and_the_record_says_why():
    customer = make_customer(1000)
    with process() as lease:
        ask = customer.admitted(lease_id=lease, hold_seconds=1000)
    other = customer.admitted(hold_seconds=1000)

    assert end_dead_leases(lease) == [0, 1]
    assert expiry.sweep() == 1

    assert customer.balances == (1000, 100)
    assert customer.spend.held_nanos == 100
    assert customer.reservation(ask).state == Reservation.State.EXPIRED
    assert customer.reservation(other).state == Reservation.State.OPEN
    record = customer.record(ask)
    assert (record.outcome, record.charged_nanos) == ("expired", 0)
    assert "died before it could settle" in record.error


def test_what_a_stopped_process_holds_stays_and_is_settled_as_ever():
    customer = make_customer(1000)
    with process() as lease:
        ask = customer.admitted(lease_id=lease)
        assert end_dead_leases(lease) == [0, 0]
        assert expiry.sweep() == 0

        assert settle(customer.end(ask, output_nanos=30))[0].code == "settled"
    assert customer.balances == (970, 0)


def test_a_settlement_of_a_process_that_was_given_up_is_late_and_charged():
    customer = make_customer(1000)
    with process() as lease:
        ask = customer.admitted(lease_id=lease)
    end_dead_leases(lease)
    expiry.sweep()

    assert settle(customer.end(ask, output_nanos=30))[0].code == "late"
    assert customer.balances == (970, 0)
    assert customer.record(ask).is_late


def test_a_process_that_has_lost_its_session_is_suspected_before_it_is_given_up():
    with process() as lease:
        pass
    age(lease)
    assert expiry.end_dead_leases(SECONDS) == 0
    assert ProcessLease.objects.get(pk=lease).suspected_at is not None
    with connect() as session:
        renewed = session.execute("SELECT * FROM billing_renew_lease(%s, true)", [lease]).fetchone()
        assert renewed == (True, True)
        assert end_dead_leases(lease) == [0, 0]
    row = ProcessLease.objects.get(pk=lease)
    assert row.ended_at is None


def test_the_lock_is_taken_over_from_a_session_that_the_server_keeps():
    with process() as lease, connect() as session:
        renew = "SELECT * FROM billing_renew_lease(%s, true)"
        assert session.execute(renew, [lease]).fetchone() == (True, False)


def test_a_lease_that_has_ended_is_not_renewed():
    with process() as lease:
        pass
    end_dead_leases(lease)
    with connect() as session:
        renew = "SELECT * FROM billing_renew_lease(%s, true)"
        assert session.execute(renew, [lease]).fetchone() == (False, False)
    assert not is_locked()


def test_what_is_admitted_under_a_lease_that_has_ended_expires_in_its_time():
    customer = make_customer(1000)
    with process() as lease:
        pass
    end_dead_leases(lease)

    ask = customer.admitted(lease_id=lease)

    assert expiry.sweep() == 0
    assert customer.reservation(ask).state == Reservation.State.OPEN


def test_a_job_outlives_its_process():
    customer = make_customer(1000)

    async def work() -> int | None:
        async with open_gate() as gate:
            job = customer.ask(is_job=True)
            assert (await gate.admit(job)).code == "admitted"
            assert (await gate.admit(customer.ask())).code == "admitted"
            return gate.lease_id

    lease = run(work())
    assert sorted(
        Reservation.objects.filter(account=customer.account).values_list("is_call", "lease_id")
    ) == [(False, None), (True, lease)]
    end_dead_leases(lease)
    assert expiry.sweep() == 1
    assert customer.balances == (1000, 100)


def test_processes_that_renew_while_others_are_given_up_keep_their_holds():
    """As after an outage, when all leases are old and all processes renew at once."""
    customer = make_customer(100_000)
    with connect() as own:
        leases = [
            own.execute("SELECT billing_begin_lease('test')").fetchone()[0] for _ in range(100)
        ]
    for lease in leases:
        customer.admitted(lease_id=lease)
    with connect() as own:
        own.execute(
            "UPDATE billing_processlease SET renewed_at = now() - interval '1 hour',"
            " suspected_at = now() - interval '1 hour' WHERE id = ANY (%s)",
            [leases],
        )
    living = leases[::2]

    def renew(part: list[int]) -> None:
        with connect() as session:
            for lease in part:
                session.execute("SELECT * FROM billing_renew_lease(%s, true)", [lease])

    def give_up(_: Any) -> int:
        with connect() as session:
            return session.execute("SELECT billing_end_dead_leases(%s)", [SECONDS]).fetchone()[0]

    with ThreadPoolExecutor(8) as threads:
        given_up = list(threads.map(give_up, range(4)))
        list(threads.map(renew, [living[n::4] for n in range(4)]))
        given_up += list(threads.map(give_up, range(4)))
    ended = set(
        ProcessLease.objects.filter(pk__in=leases, ended_at__isnull=False).values_list(
            "pk", flat=True
        )
    )
    assert sum(given_up) == len(ended) >= 50
    expiry.sweep(1000)
    open_ones = Reservation.objects.filter(account=customer.account, state="open")
    assert {row.lease_id for row in open_ones} == set(leases) - ended
    assert customer.balances[1] == 100 * (100 - len(ended))


def test_a_gate_renews_its_lease_and_keeps_it_when_its_session_is_cut(settings):
    settings.LEASE_SECONDS = 0.4

    async def work() -> None:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            lease = gate.lease_id
            before = renewed_at(lease)
            await link.close()
            await asyncio.sleep(0.2)
            await link.open()
            await eventually_async(lambda: renewed_at(lease) > before and is_locked())
            assert gate.lease_id == lease
        assert not is_locked()

    run(work())


def test_a_gate_whose_lease_was_lost_begins_another(settings):
    settings.LEASE_SECONDS = 0.4

    async def work() -> None:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            lease = gate.lease_id
            await link.close()
            with connect() as own:
                own.execute("UPDATE billing_processlease SET ended_at = now()")
            await link.open()
            await eventually_async(lambda: gate.lease_id not in {None, lease})

    run(work())


def test_the_sweep_settles_the_spool_before_it_releases_a_dead_processs_holds(settings):
    settings.LEASE_SECONDS = SECONDS
    customer = make_customer(100)
    with process() as lease:
        ask = customer.admitted(lease_id=lease)
    spool.write([msgspec.json.encode(customer.end(ask, output_nanos=30))])
    end_dead_leases(lease)

    assert tasks.sweep_expired_reservations() == 0

    assert customer.record(ask).outcome == "completed"
    assert not customer.record(ask).is_late
    assert customer.balances == (70, 0)

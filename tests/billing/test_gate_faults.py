"""The gate when callers go, connections die and the database hangs."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from billing.ledger import gate as gate_module
from billing.ledger import group_commit
from billing.ledger.gate import AdmissionResult, LedgerUnavailableError
from billing.models import Reservation
from tests.billing.faulty_link import FaultyLink
from tests.billing.gates import LockedAccount, admit_all, as_coroutine, codes_of, open_gate
from tests.billing.ledger_calls import connect, make_customer, run
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


def test_a_caller_that_goes_while_it_is_admitted_leaves_no_hold():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> None:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                caller = asyncio.create_task(gate.admit(ask))
                await eventually_async(account.waiting)
                caller.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await caller
                account.unlock()
            assert (await gate.admit(customer.ask(amount_nanos=0))).code == "admitted"

    run(work())

    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)
    record = customer.record(ask)
    assert (record.outcome, record.status, record.charged_nanos) == ("client_closed", 499, 0)


def test_a_caller_that_goes_before_its_statement_leaves_no_hold():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(20)]

    async def work() -> None:
        async with open_gate() as gate:
            callers = [asyncio.create_task(gate.admit(ask)) for ask in asks]
            await asyncio.sleep(0)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await gate.admit(customer.ask(amount_nanos=0))

    run(work())

    assert customer.balances == (1000, 0)
    assert not Reservation.objects.filter(
        pk__in=[a.request_id for a in asks], state="open"
    ).exists()


def test_neighbours_of_a_caller_that_goes_are_served():
    customer = make_customer(1000)

    async def work() -> list[Any]:
        async with open_gate() as gate:
            callers = [asyncio.create_task(gate.admit(customer.ask())) for _ in range(5)]
            await asyncio.sleep(0)
            callers[2].cancel()
            return await asyncio.gather(*callers, return_exceptions=True)

    results = run(work())

    assert [getattr(result, "code", "") for result in results] == [
        "admitted", "admitted", "", "admitted", "admitted",
    ]  # fmt: skip
    assert customer.balances == (1000, 400)


def test_an_admission_that_was_killed_before_its_commit_is_made_once():
    customer = make_customer(1000)

    async def work() -> AdmissionResult:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                caller = asyncio.create_task(gate.admit(customer.ask()))
                await eventually_async(account.waiting)
                account.kill_waiting()
                account.unlock()
                return await caller

    assert run(work()).code == "admitted"
    assert customer.balances == (1000, 100)


def test_an_admission_whose_answer_was_lost_after_its_commit_is_made_once():
    customer = make_customer(100, requests_per_minute=2)
    first, second = customer.ask(amount_nanos=0), customer.ask()

    async def work() -> AdmissionResult:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(first)
            link.lose_next_answer()
            return await gate.admit(second)

    admission = run(work())

    assert (admission.code, admission.amount_nanos, admission.requests_remaining) == (
        "admitted",
        100,
        0,
    )
    assert customer.balances == (100, 100)


def test_a_settlement_that_was_killed_before_its_commit_is_made_once():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> str:
        async with open_gate() as gate:
            await gate.admit(ask)
            with LockedAccount(customer) as account:
                receipt = gate.settle(customer.end(ask, output_nanos=40))
                await eventually_async(account.waiting)
                account.kill_waiting()
                account.unlock()
                return (await receipt).code

    assert run(work()) == "settled"
    assert customer.balances == (960, 0)


def test_a_settlement_whose_answer_was_lost_after_its_commit_is_made_once():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]
    lines = [["output", 4, 10_000_000, 1_000_000, 40]]

    async def work() -> list[str]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await admit_all([gate], asks)
            await gate.settle(customer.end(asks[0], output_nanos=40))
            link.lose_next_answer()
            ends = [
                gate.settle(customer.end(ask, output_nanos=40, lines=lines)) for ask in asks[1:]
            ]
            return [receipt.code for receipt in await asyncio.gather(*ends)]

    assert run(work()) == ["already_ended", "already_ended"]
    assert customer.balances == (1000 - 3 * 40, 0)
    assert [customer.record(ask).lines for ask in asks] == [[], lines, lines]


def test_a_killed_server_connection_costs_no_request():
    customer = make_customer(1_000_000)

    async def work() -> list[Any]:
        async with open_gate() as gate:
            killer = asyncio.create_task(kill_now_and_then())
            results = []
            for _ in range(80):
                asks = [customer.ask() for _ in range(5)]
                results += await admit_all([gate], asks)
                ends = [gate.settle(customer.end(ask, output_nanos=1)) for ask in asks]
                results += await asyncio.gather(*ends)
            assert await killer > 0
            return results

    async def kill_now_and_then() -> int:
        killed = 0
        with connect() as own:
            for _ in range(3):
                await asyncio.sleep(0.1)
                killed += own.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%%json_agg(answer)%%'"
                    " AND pid <> pg_backend_pid()"
                ).rowcount
        return killed

    codes = codes_of(run(work()))

    assert set(codes) <= {"admitted", "settled", "already_ended"}
    assert len(codes) == 800
    assert customer.balances == (1_000_000 - 400, 0)


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    """Return a result or exception, and how long it took."""
    began_at = time.monotonic()
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result, time.monotonic() - began_at


@pytest.fixture
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gate_module, "ADMIT_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(group_commit, "STATEMENT_TIMEOUT_SECONDS", 1.5)
    return


@pytest.mark.parametrize("fault", ["close", "hold"])
@pytest.mark.usefixtures("_little_patience")
def test_a_database_that_is_away_or_hangs_is_told_within_the_patience(fault):
    customer = make_customer(1000)

    async def work() -> tuple[list[Any], Any]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(customer.ask())
            await gate.identify("00" * 16, customer.ask().digests)
            await (link.close() if fault == "close" else as_coroutine(link.hold))
            told = [
                await timed(gate.admit(customer.ask(amount_nanos=10))),
                await timed(gate.admit(customer.ask(amount_nanos=10))),
                await timed(gate.identify("00" * 16, customer.ask().digests)),
            ]
            await (link.open() if fault == "close" else as_coroutine(link.release))
            async with asyncio.timeout(10):
                while True:
                    try:
                        return told, await gate.admit(customer.ask())
                    except LedgerUnavailableError:
                        continue

    told, admission = run(work())

    for result, seconds in told:
        assert isinstance(result, LedgerUnavailableError)
        assert seconds < 15
    assert admission.code == "admitted"


@pytest.mark.usefixtures("_little_patience")
def test_what_was_admitted_after_its_caller_lost_patience_is_released():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> None:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                with pytest.raises(LedgerUnavailableError):
                    await gate.admit(ask)
                account.unlock()
            await gate.admit(customer.ask(amount_nanos=0))

    run(work())

    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)


def test_settlements_wait_for_a_database_that_is_away():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> str:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(ask)
            await link.close()
            receipt = gate.settle(customer.end(ask, output_nanos=40))
            await asyncio.wait([receipt], timeout=0.5)
            assert not receipt.done()
            await link.open()
            return (await receipt).code

    assert run(work()) == "settled"
    assert customer.balances == (960, 0)

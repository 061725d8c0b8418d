"""Closing the gate: nobody waits for ever, and no settlement is lost."""

import asyncio
import time
from typing import Any

import msgspec
import psycopg
import pytest

from billing.ledger.gate import Gate, LedgerUnavailableError, Settlement
from billing.models import UsageRecord
from tests.billing.faulty_link import FaultyLink
from tests.billing.gates import admit_all, as_coroutine, open_gate
from tests.billing.ledger_calls import database, make_customer, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


def test_closing_settles_what_is_queued():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(5)]

    async def work() -> list[str]:
        async with open_gate() as gate:
            await admit_all([gate], asks)
            receipts = [gate.settle(customer.end(ask, output_nanos=1)) for ask in asks]
            await gate.close(5)
            return [receipt.result().code for receipt in receipts]

    assert run(work()) == ["settled"] * 5
    assert UsageRecord.objects.filter(account=customer.account).count() == 5


@pytest.mark.parametrize("fault", ["close", "hold"])
def test_closing_spools_what_the_database_does_not_take(fault, spool_folder):
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]
    ends = [customer.end(ask, output_nanos=1) for ask in asks]

    async def work() -> tuple[list[str], float]:
        async with FaultyLink() as link:
            gate = Gate(link.address)
            await gate.open()
            await admit_all([gate], asks)
            await gate.settle(customer.end(customer.ask()))
            await (link.close() if fault == "close" else as_coroutine(link.hold))
            receipts = [gate.settle(end) for end in ends]
            await asyncio.sleep(0.1)
            began_at = time.monotonic()
            await gate.close(0.3)
            seconds = time.monotonic() - began_at
            link.release()
            return [receipt.code for receipt in await asyncio.gather(*receipts)], seconds

    codes, seconds = run(work())

    assert codes == ["spooled"] * 3
    assert seconds < 15
    (file,) = spool_folder.glob("*.jsonl")
    rows = [msgspec.json.decode(row, type=Settlement) for row in file.read_bytes().splitlines()]
    assert rows == ends


def test_closing_tells_who_waits_for_an_admission():
    customer = make_customer(1000)

    async def work() -> list[Any]:
        async with FaultyLink() as link:
            gate = Gate(link.address)
            await gate.open()
            await gate.admit(customer.ask())
            link.hold()
            callers = [asyncio.create_task(gate.admit(customer.ask())) for _ in range(3)]
            await asyncio.sleep(0.1)
            await gate.close(0)
            late = asyncio.create_task(gate.admit(customer.ask()))
            return await asyncio.gather(*callers, late, return_exceptions=True)

    assert {type(result) for result in run(work())} == {LedgerUnavailableError}


def test_a_settlement_after_the_gate_was_closed_is_spooled(spool_folder):
    """A request that is cut off last of all must not be free by accident."""
    customer = make_customer(1000)
    ask = customer.ask()
    end = customer.end(ask, output_nanos=40)

    async def work() -> str:
        async with open_gate() as gate:
            await gate.admit(ask)
            await gate.close(1)
            return (await gate.settle(end)).code

    assert run(work()) == "spooled"
    (file,) = spool_folder.glob("*.jsonl")
    assert msgspec.json.decode(file.read_bytes(), type=Settlement) == end


def test_the_gates_own_connections_do_not_outlive_it():
    async def work() -> None:
        async with open_gate() as gate:
            await gate.identify("00" * 16, ["00" * 32])

    run(work())
    with psycopg.connect(database()) as own:
        (count,) = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%%FROM billing_identify%%' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert count == 0

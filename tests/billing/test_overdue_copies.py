"""Settlements that wait too long for the ledger: they have a copy in the spool from then on."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from billing.ledger import spool
from billing.ledger.gate import Gate, Settlement
from billing.models import LedgerAlert
from tests.billing.faulty_link import FaultyLink
from tests.billing.gates import admit_all, as_coroutine, open_gate
from tests.billing.ledger_calls import make_customer, run
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


@pytest.fixture(autouse=True)
def _little_patience(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SETTLE_WAIT_SECONDS = 0.3
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.3)


def rows_in(folder: Path) -> list[Settlement]:
    """Return the settlements in the spool's files."""
    return [
        msgspec.json.decode(row, type=Settlement)
        for path in folder.glob("*.jsonl")
        for row in path.read_bytes().splitlines()
    ]


@pytest.mark.parametrize("fault", ["close", "hold"])
def test_a_settlement_that_waits_too_long_is_in_the_spool_until_the_ledger_has_it(
    fault, spool_folder
):
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]
    ends = [customer.end(ask, output_nanos=10) for ask in asks]

    async def work() -> list[str]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await admit_all([gate], asks)
            await gate.settle(customer.end(customer.ask()))
            await (link.close() if fault == "close" else as_coroutine(link.hold))
            answers = [gate.settle(end) for end in ends]
            await asyncio.sleep(0.3)
            await eventually_async(lambda: len(rows_in(spool_folder)) == 3)
            assert not any(answer.done() for answer in answers)
            await (link.open() if fault == "close" else as_coroutine(link.release))
            codes = [answer.code for answer in await asyncio.gather(*answers)]
            await eventually_async(lambda: not list(spool_folder.iterdir()))
            return codes

    # Where the answer alone was held back, the ledger had them already.
    assert set(run(work())) <= {"settled", "already_ended"}
    assert customer.balances == (970, 0)


def test_a_copy_is_not_written_again_when_the_gate_is_closed(spool_folder):
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(2)]
    ends = [customer.end(ask, output_nanos=10) for ask in asks]

    async def work() -> None:
        async with FaultyLink() as link:
            gate = Gate(link.address)
            await gate.open()
            await admit_all([gate], asks)
            await link.close()
            first = gate.settle(ends[0])
            await eventually_async(lambda: rows_in(spool_folder) == ends[:1])
            second = gate.settle(ends[1])
            await gate.close(0.01)
            assert [(await first).code, (await second).code] == ["spooled", "spooled"]

    run(work())
    assert len(list(spool_folder.iterdir())) == 2
    assert sorted(row.request_id for row in rows_in(spool_folder)) == sorted(
        end.request_id for end in ends
    )
    assert spool.replay() == 2
    assert customer.balances == (980, 0)


def test_a_replay_while_the_process_still_tries_charges_once(spool_folder):
    customer = make_customer(10_000)
    asks = [customer.ask() for _ in range(20)]

    async def work() -> set[str]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await admit_all([gate], asks)
            await link.close()
            answers = [gate.settle(customer.end(ask, output_nanos=10)) for ask in asks]
            await eventually_async(lambda: len(rows_in(spool_folder)) == 20)
            replay = asyncio.create_task(asyncio.to_thread(spool.replay))
            await link.open()
            codes = {answer.code for answer in await asyncio.gather(*answers)}
            assert await replay <= 20
            return codes

    assert run(work()) <= {"settled", "already_ended"}
    assert customer.balances == (9800, 0)


def test_a_settlement_that_no_folder_takes_is_in_the_log_and_in_an_alert(
    settings, tmp_path, caplog
):
    (tmp_path / "file").touch()
    settings.SPOOL_DIR = tmp_path / "file" / "spool"
    customer = make_customer(1000)
    ask = customer.ask()
    end = customer.end(ask, output_nanos=10)

    async def work() -> str:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(ask)
            await link.close()
            answer = gate.settle(end)
            await eventually_async(lambda: "settlement_not_spooled" in caplog.text)
            await link.open()
            code = (await answer).code
            await asyncio.sleep(0.1)
            await eventually_async(lambda: not spool._failures)
            return code

    assert run(work()) == "settled"
    record, *_ = [  # and more of them, the slower the link comes back
        record for record in caplog.records if "'settlement_not_spooled'" in record.getMessage()
    ]
    assert record.levelname == "ERROR"
    assert end.request_id in record.getMessage()
    alert = LedgerAlert.objects.get(kind="spool_failed")
    assert str(settings.SPOOL_DIR) in alert.detail

"""The spool: settlements in files, until the ledger has them."""

import asyncio
import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from billing.ledger import spool
from billing.ledger.gate import Settlement
from billing.models import LedgerAlert
from tests.billing.ledger_calls import make_customer, settle, sweep
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


def row(settlement: Settlement) -> bytes:
    """Return a settlement as the gate spools it."""
    return msgspec.json.encode(settlement)


def names(folder: Path) -> list[str]:
    """Return the kinds of the files in the spool."""
    return sorted(path.suffix for path in folder.iterdir())


def test_a_file_holds_a_settlement_a_line_and_is_its_owners_only(spool_folder):
    path = spool.write([b'{"a":1}', b'{"b":2}'])

    assert path.parent == spool_folder
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'
    assert stat.S_IMODE(spool_folder.stat().st_mode) == 0o700
    assert names(spool_folder) == [".jsonl"]


def test_a_file_is_on_the_disk_with_its_name_before_write_returns(monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)

    spool.write([b"{}"])

    assert synced == [False, True]


def test_a_file_that_can_not_be_written_whole_does_not_appear(monkeypatch, spool_folder):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space"):
        spool.write([b"{}"])

    assert list(spool_folder.iterdir()) == []
    assert spool.replay() == 0


def test_a_disk_without_room_for_a_byte_leaves_nothing_behind(spool_folder):
    """The limit of a file's size stands for a full disk: nothing at all can be written."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, usual[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            spool.write([b"{}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    assert list(spool_folder.iterdir()) == []


def test_another_folder_takes_what_the_first_does_not(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.SPOOL_DIR = tmp_path / "file" / "spool"
    settings.SPOOL_FALLBACK_DIR = tmp_path / "spare"
    customer = make_customer(1000)

    path = spool.write([row(customer.end(customer.admitted(), output_nanos=10))])

    assert path.parent == settings.SPOOL_FALLBACK_DIR
    assert spool.replay() == 1
    assert customer.balances == (990, 0)
    alert = LedgerAlert.objects.get(kind="spool_failed")
    assert str(settings.SPOOL_DIR) in alert.detail


def test_a_settlement_due_after_a_failed_attempt_is_in_the_log_at_once(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.SPOOL_DIR = tmp_path / "file" / "spool"
    settings.SETTLE_WAIT_SECONDS = 0.01

    async def fall_due() -> None:
        copies = spool.OverdueCopies()
        copies.open()
        for count, row in enumerate([b"first", b"second"], start=1):
            waiting = asyncio.get_running_loop().create_future()
            copies.watched.append(spool.Watched(row, waiting, 0))
            await eventually_async(lambda count=count: len(logged()) == count)
        await copies.close()

    def logged() -> list[str]:
        return [each["row"] for each in logs if each["event"] == "settlement_not_spooled"]

    with capture_logs() as logs:
        asyncio.run(fall_due())

    assert logged() == ["first", "second"]
    spool._failures.clear()


def test_a_row_that_can_not_be_kept_for_a_person_stays_in_its_file(monkeypatch, spool_folder):
    path = spool.write([b"{}"])

    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_write", full)

    assert spool.replay() == 0
    assert list(spool_folder.iterdir()) == [path]


def test_a_replay_settles_what_the_files_say_and_deletes_them(spool_folder):
    customer = make_customer(1000)
    asks = [customer.admitted() for _ in range(3)]
    spool.write([row(customer.end(ask, output_nanos=10)) for ask in asks[:2]])
    spool.write([row(customer.end(asks[2], output_nanos=20))])

    assert spool.replay() == 3

    assert customer.balances == (960, 0)
    assert names(spool_folder) == []


def test_a_replay_keeps_the_lines_of_a_charge_once(spool_folder):
    customer = make_customer(1000)
    ask = customer.admitted()
    lines = [["output", 5, 2_000_000, 1_000_000, 10]]
    rows = [row(customer.end(ask, output_nanos=10, lines=lines))]
    spool.write(rows)
    spool.write(rows)

    assert spool.replay() == 2

    assert customer.record(ask).lines == lines
    assert customer.balances == (990, 0)


def test_an_empty_spool_is_nothing_to_replay():
    assert spool.replay() == 0


def test_a_second_replay_of_the_same_rows_changes_nothing(spool_folder):
    """As when a process is killed after it settled and before it deleted the file."""
    customer = make_customer(1000)
    rows = [row(customer.end(customer.admitted(), output_nanos=10))]
    spool.write(rows)
    spool.replay()
    spool.write(rows)

    assert spool.replay() == 1

    assert customer.balances == (990, 0)
    assert len(customer.transfers) == 2
    assert names(spool_folder) == []


def test_a_replay_of_what_was_settled_after_all_changes_nothing():
    customer = make_customer(1000)
    end = customer.end(customer.admitted(), output_nanos=10)
    spool.write([row(end)])
    settle(end)

    spool.replay()

    assert customer.balances == (990, 0)


def test_a_replay_after_the_sweep_charges_late():
    customer = make_customer(1000)
    ask = customer.admitted(hold_seconds=-1)
    spool.write([row(customer.end(ask, output_nanos=10))])
    sweep()

    spool.replay()

    assert customer.balances == (990, 0)
    assert customer.record(ask).is_late


@pytest.mark.parametrize(
    "bad_row",
    [
        pytest.param(lambda c, ask: row(c.end(ask, status=70_000)), id="a value no column holds"),
        pytest.param(lambda c, ask: row(c.end(c.ask(), output_nanos=1)), id="of no reservation"),
        pytest.param(lambda c, ask: b"{}", id="of no account"),
        pytest.param(lambda c, ask: b"{", id="no JSON"),
        pytest.param(lambda c, ask: b"\xff\xfe", id="no UTF-8"),
        pytest.param(lambda c, ask: b'"text"', id="no object"),
    ],
)
def test_a_refused_row_is_kept_and_the_others_are_settled(bad_row, spool_folder):
    customer = make_customer(1000)
    asks = [customer.admitted() for _ in range(2)]
    bad = bad_row(customer, asks[0])
    spool.write([bad, row(customer.end(asks[1], output_nanos=10))])

    spool.replay()

    (kept,) = spool_folder.iterdir()
    assert (kept.suffix, kept.read_bytes()) == (".refused", bad + b"\n")
    assert customer.record(asks[1]).charged_nanos == 10
    assert spool.replay() == 0
    assert kept.exists()


def test_nul_in_a_row_is_no_reason_to_refuse_it(spool_folder):
    customer = make_customer(1000)
    ask = customer.admitted()
    spool.write([row(customer.end(ask, output_nanos=10, error="a\0b"))])

    spool.replay()

    assert customer.record(ask).error == "a\ufffdb"
    assert names(spool_folder) == []


def test_a_row_that_the_schema_is_not_ready_for_is_kept_and_replayed_later(spool_folder):
    """As while an upgrade is under way. The other files go on."""
    customer = make_customer(1000)
    asks = [customer.admitted() for _ in range(3)]
    early, late = "00.jsonl", "11.jsonl"
    lines = [row(customer.end(ask, output_nanos=10)) for ask in asks]
    no_outcome = json.dumps(json.loads(lines[0]) | {"outcome": None}).encode()
    spool.write([lines[1], no_outcome]).rename(spool_folder / early)
    spool.write([lines[2]]).rename(spool_folder / late)

    assert spool.replay() == 2

    assert customer.balances == (980, 100)
    assert [path.name for path in spool_folder.iterdir()] == [early]
    (spool_folder / early).write_bytes(lines[0])
    assert spool.replay() == 1
    assert customer.balances == (970, 0)
    assert names(spool_folder) == []


def test_the_files_stay_while_the_database_is_away(monkeypatch, spool_folder):
    customer = make_customer(1000)
    spool.write([row(customer.end(customer.admitted(), output_nanos=10))])

    def away(_: bytes) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(spool, "_settle", away)
        with pytest.raises(OperationalError):
            spool.replay()

    assert names(spool_folder) == [".jsonl"]
    assert spool.replay() == 1
    assert customer.balances == (990, 0)


def test_two_replays_at_once_do_no_harm(monkeypatch, spool_folder):
    """The other worker is done with the files while this one reads or settles them."""
    customer = make_customer(1000)
    for _ in range(2):
        spool.write([row(customer.end(customer.admitted(), output_nanos=10))])
    settle_row = spool._settle
    others: list[int] = []

    def settle_after_the_other(text: bytes) -> bool:
        if not others:
            others.append(0)
            others.append(spool.replay())
        return settle_row(text)

    monkeypatch.setattr(spool, "_settle", settle_after_the_other)

    spool.replay()

    assert others == [0, 2]
    assert customer.balances == (980, 0)
    assert names(spool_folder) == []

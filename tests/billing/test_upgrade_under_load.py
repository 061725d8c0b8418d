"""An upgrade from the last release while requests are served: nothing fails, waits long or is late.

The writers are gates, as processes of both releases have them: what they send is the same.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from billing.ledger import gate
from billing.ledger.gate import Gate
from billing.models import Reservation, Transfer, UsageRecord
from tests.billing.conftest import broken_invariants
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import Customer, connect, make_customer, new_id, run
from tests.billing.upgrades import copy_of, last_release_database, migrate

pytestmark = pytest.mark.django_db(transaction=True)

# Without a lock timeout the reader would set the pace.
READER_SECONDS = 12
SLOWEST_SECONDS = 8
TAKE_BACK = "SELECT code FROM billing_take_back('clawback', %s, %s, 5, 'x', true, '')"


@pytest.fixture
def last_release(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the last release, in the place of the tests' own."""
    with django_db_blocker.unblock(), last_release_database() as name, copy_of(name):
        yield


async def serve(own: Gate, customer: Customer, is_over: threading.Event) -> list[float]:
    """Admit and settle one request after the other; return the seconds that each took."""
    seconds = []
    while not is_over.is_set():
        began_at = time.monotonic()
        ask = customer.ask()
        admission = await own.admit(ask)
        assert admission.code == "admitted", admission
        receipt = await own.settle(customer.end(ask, output_nanos=30))
        assert receipt.code == "settled", receipt
        seconds.append(time.monotonic() - began_at)
    return seconds


def dispute(customer: Customer, is_over: threading.Event) -> int:
    """Take credits back as a process of the last release does, again and again."""
    taken = 0
    with connect() as own:
        while not is_over.is_set():
            row = [new_id(), customer.account.pk]
            assert own.execute(TAKE_BACK, row).fetchone() == ("posted",)
            taken += 1
            time.sleep(0.01)
    return taken


def read_for_a_while(has_begun: threading.Event) -> None:
    """Hold the transfers' table as a report does, so that the migration has to give way."""
    with connect(autocommit=False) as own:
        own.execute("SELECT count(*) FROM billing_transfer")
        has_begun.set()
        time.sleep(READER_SECONDS)


def upgrade(has_begun: threading.Event, is_over: threading.Event) -> None:
    """Migrate, once the reader has begun, and let the writers go on for a moment after it."""
    try:
        assert has_begun.wait(60)
        migrate()
        time.sleep(0.5)
    finally:
        is_over.set()
        connection.close()


async def everything(customers: list[Customer], owing: Customer) -> tuple[list[float], int]:
    """Upgrade under load; return each request's seconds, and how many disputes were booked."""
    has_begun, is_over = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(3) as threads:
        async with open_gate() as one, open_gate() as other:
            work = [
                loop.run_in_executor(threads, read_for_a_while, has_begun),
                loop.run_in_executor(threads, upgrade, has_begun, is_over),
                loop.run_in_executor(threads, dispute, owing, is_over),
            ]
            writers = [
                serve(each, customer, is_over) for customer in customers for each in (one, other)
            ]
            seconds = await asyncio.gather(*writers)
            *_, disputes = await asyncio.gather(*work)
    return [each for writer in seconds for each in writer], disputes


def test_nothing_fails_or_is_late_while_the_database_is_upgraded(
    last_release: None, spool_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine an admission may take longer than callers wait for it.
    monkeypatch.setattr(gate, "ADMIT_PATIENCE_SECONDS", SLOWEST_SECONDS)
    customers = [make_customer(10**12) for _ in range(4)]
    owing = make_customer()

    seconds, disputes = run(everything(customers, owing))

    assert len(seconds) > 100
    assert max(seconds) < SLOWEST_SECONDS
    assert UsageRecord.objects.filter(outcome="completed", is_late=False).count() == len(seconds)
    assert not Reservation.objects.filter(state="open").exists()
    assert not spool_folder.exists()
    owners = Transfer.objects.filter(kind="receivable").values_list("owner", flat=True)
    assert list(owners) == [owing.account.pk] * disputes
    assert broken_invariants() == {}

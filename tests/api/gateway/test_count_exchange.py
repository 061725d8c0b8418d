"""Limits of refusals and cancellations hold for all processes together, through Valkey."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec import structs

from api import errors
from api.gateway import count_exchange
from api.gateway.breaker import FAILURES_IN_A_ROW, Breakers
from api.gateway.cancellations import Cancellations
from api.gateway.count_exchange import CountExchange
from api.gateway.key_rates import KeyRates
from api.gateway.refusals import RefusalLimit, TooManyRefusalsError
from local.valkey import Valkey
from tests.api.gateway.routes import new_route
from tests.api.gateway.world import in_loop
from tests.support.waiting import eventually_async

ADDRESS, DIGEST = "192.0.2.1", "d" * 64


class Process:
    """What one process counts, and its part in the exchange."""

    def __init__(self, url: str) -> None:
        self.refusals = RefusalLimit(per_key=10, per_address=600)
        self.cancellations = Cancellations(limit=4, window_seconds=600)
        self.breakers = Breakers()
        self.rates = KeyRates()
        self.exchange = CountExchange(
            url, self.refusals, self.cancellations, self.breakers, self.rates
        )

    def refuse(self, times: int) -> None:
        for _ in range(times):
            self.refusals.count(errors.InvalidJsonError(), DIGEST, ADDRESS, 0)

    @property
    def is_refusing(self) -> bool:
        try:
            self.refusals.check(DIGEST, ADDRESS)
        except TooManyRefusalsError:
            return True
        return False


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that tests may stop and start."""
    folder: Path = tmp_path_factory.mktemp("valkey")
    server = Valkey(folder)
    server.start()
    yield server
    server.stop()


async def subscribed(valkey: Valkey, count: int) -> None:
    """Wait until so many processes listen: what is published before is lost to them."""
    client = redis.Redis.from_url(valkey.url)
    await eventually_async(lambda: client.pubsub_numsub(count_exchange.CHANNEL)[0][1] == count)
    client.close()


async def opened(valkey: Valkey, *processes: Process) -> None:
    """Open the processes' exchanges."""
    for each in processes:
        each.exchange.open()
    await subscribed(valkey, len(processes))


@in_loop
async def test_processes_add_up_and_none_is_counted_twice(valkey: Valkey) -> None:
    first, second = Process(valkey.url), Process(valkey.url)
    await opened(valkey, first, second)
    first.refuse(4)
    second.refuse(4)
    for _ in range(2):
        first.cancellations.note(7)
        second.cancellations.note(7)
    await eventually_async(lambda: first.cancellations.over == second.cancellations.over == {7})
    assert not first.is_refusing, "8 of 10"
    assert not second.is_refusing
    first.refuse(2)
    assert first.is_refusing
    await eventually_async(lambda: second.is_refusing)
    first.refusals.forgive(DIGEST, ADDRESS)
    await eventually_async(lambda: not second.is_refusing)
    for each in (first, second):
        await each.exchange.close()


@in_loop
async def test_a_keys_minute_is_all_processes_together(valkey: Valkey) -> None:
    first, second = Process(valkey.url), Process(valkey.url)
    await opened(valkey, first, second)
    # Ten requests, of a minute of ten: the next one can go six seconds later.
    key = structs.replace(new_route(1).upstream, key_id=7, requests_per_minute=10)
    first.rates.count(key, 10, 0)
    await eventually_async(lambda: second.rates.wait_seconds(key) > 0)
    assert second.rates.take_changes() == {}, "what others counted is not published again"
    for each in (first, second):
        await each.exchange.close()


@in_loop
async def test_without_valkey_each_counts_alone_and_later_together_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count_exchange, "RETRY_SECONDS", 0.1)
    first, second = Process(valkey.url), Process(valkey.url)
    await opened(valkey, first, second)
    valkey.stop()
    first.refuse(10)
    await asyncio.sleep(1)
    assert first.is_refusing
    assert not second.is_refusing
    valkey.start()
    await subscribed(valkey, 2)
    # What was counted meanwhile is not shared; what comes after is.
    second.cancellations.note(7)
    await asyncio.sleep(1)
    assert not second.is_refusing
    first.cancellations.note(8)
    for _ in range(4):
        first.cancellations.note(8)
    await eventually_async(lambda: second.cancellations.over == {8})
    for each in (first, second):
        await each.exchange.close()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        b"{}",
        b'["x", [["other", "a", 1]], []]',
        b'["x", [["key", "a", "1"]], []]',
        b'["x", [], [["7", 1]]]',
        b'["x", [["key", "\xff", 1]], []]',
        b'["x", [], [], [[1, 1]]]',
        b'["x", [], [], [[1, 1, "long"]]]',
    ],
)
def test_what_is_no_message_changes_nothing(data: bytes) -> None:
    process = Process("redis://127.0.0.1:1/0")
    process.exchange.merge(data)
    assert not process.refusals.filled
    assert not process.cancellations.over
    assert process.breakers.state(1) == "closed"


def test_a_message_of_the_release_before_is_understood() -> None:
    process = Process("redis://127.0.0.1:1/0")
    process.exchange.merge(b'["x", [], [[7, 3]]]')
    process.exchange.merge(b'["x", [], [], [[1, 1, 5.0]]]')
    assert process.breakers.state(1) == "open"


@in_loop
async def test_a_route_is_ejected_in_all_processes_within_a_second(valkey: Valkey) -> None:
    first, second = Process(valkey.url), Process(valkey.url)
    await opened(valkey, first, second)
    route, other = new_route(1), new_route(2)
    for _ in range(FAILURES_IN_A_ROW):
        first.breakers.note_failure(route, (route, other), first.breakers.now(), "connect")
    await eventually_async(lambda: second.breakers.state(route.id) == "open")
    first.breakers.note_success(route.id, first.breakers.now())
    await eventually_async(lambda: second.breakers.state(route.id) == "closed")
    assert second.breakers.state(other.id) == "closed"
    for each in (first, second):
        await each.exchange.close()


def test_what_is_published_is_bounded_and_has_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_exchange, "MOST_PUBLISHED", 2)
    process, sent = Process("redis://127.0.0.1:1/0"), []
    monkeypatch.setattr(
        process.exchange._client, "publish", lambda _, data: _noted(sent, json.loads(data))
    )
    for number, times in enumerate([1, 3, 2]):
        for _ in range(times):
            process.refusals.count(errors.InvalidJsonError(), "", f"192.0.2.{number}", 0)
    asyncio.run(process.exchange.publish())
    asyncio.run(process.exchange.publish())
    ((_, refusals, cancellations, routes, _),) = sent
    assert [(name, round(amount)) for _, name, amount in refusals] == [
        ("192.0.2.1", 3),
        ("192.0.2.2", 2),
    ]
    assert cancellations == routes == []


async def _noted(sent: list[Any], data: Any) -> None:
    sent.append(data)


@in_loop
async def test_a_process_ends_its_exchange_though_a_cancellation_is_taken_for_a_timeout(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()
    process = Process(valkey.url)

    async def taking_one_for_a_timeout(_channel: object) -> None:
        first = not began.is_set()
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if first:
                raise TimeoutError from None
            raise

    monkeypatch.setattr(process.exchange, "_exchange", taking_one_for_a_timeout)
    monkeypatch.setattr(count_exchange, "TIMEOUT_SECONDS", 0.1)
    process.exchange.open()
    await began.wait()
    await process.exchange.close()

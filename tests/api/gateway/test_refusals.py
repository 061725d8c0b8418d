"""Refused requests have a limit of their own, and large bodies are not read in vain."""

import asyncio
import json
from typing import Any

import pytest

from accounts import keys
from api import errors
from api.gateway import refusals
from api.gateway.refusals import RefusalLimit, TooManyRefusalsError
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop

GOOD = answer(completion())
FEW: dict[str, Any] = {"refusals_per_minute": 3, "address_refusals_per_minute": 6}
LARGE = json.dumps(body("x" * 3_000_000)).encode()


def key() -> dict[str, str]:
    return {"authorization": f"Bearer {keys.new_key('sk-tg-')}"}


@in_loop
async def test_a_key_with_too_many_refusals_gets_a_429_in_its_dialect() -> None:
    async with World(GOOD, limits=FEW) as world:
        assert [(await world.post(b"{")).status for _ in range(3)] == [400] * 3
        refused = await world.chat()
        message = await world.post(b"{}", "/v1/messages")
        another = await world.post(body(), headers=key())
        health = await world.post(b"", "/health", method="GET")
    assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert message.json["error"]["type"] == "rate_limit_error"
    assert (another.status, health.status) == (200, 200)


@in_loop
async def test_an_address_with_many_keys_has_a_limit_too() -> None:
    async with World(GOOD, limits=FEW) as world:
        assert [(await world.post(b"{", headers=key())).status for _ in range(6)] == [400] * 6
        assert (await world.post(body(), headers=key())).status == 429
        assert (await world.post(b"", headers={"authorization": ""})).status == 429


@in_loop
async def test_a_large_body_counts_by_its_size() -> None:
    async with World(GOOD, limits=FEW) as world:
        world.gate.code = "insufficient_quota"
        assert (await world.post(LARGE)).status == 402
        assert (await world.post(LARGE)).status == 429
    assert world.gate.identified == 1


@in_loop
async def test_a_success_takes_a_refusal_back() -> None:
    async with World(*[GOOD] * 9, limits=FEW) as world:
        for _ in range(9):
            assert (await world.post(b"{")).status == 400
            assert (await world.chat()).status == 200


@in_loop
async def test_the_ledgers_own_429_does_not_count() -> None:
    async with World(GOOD, limits=FEW) as world:
        world.gate.code = "rate_limited_requests"
        for _ in range(9):
            assert (await world.chat()).headers["retry-after"] == "7"


def test_time_empties_the_bucket_and_old_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(refusals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(refusals, "MOST_COUNTED", 4)
    limit = RefusalLimit(per_key=60, per_address=60)
    for _ in range(60):
        limit.count(errors.InvalidJsonError(), "", "192.0.2.1", 0)
    with pytest.raises(TooManyRefusalsError):
        limit.check("", "192.0.2.1")
    now[0] += 1.5
    limit.check("", "192.0.2.1")
    for number in range(9):
        limit.count(errors.InvalidJsonError(), "", f"192.0.2.{number + 10}", 0)
    assert len(limit.filled) == 4


def test_an_ipv6_customer_is_a_network() -> None:
    limit = RefusalLimit(per_key=2, per_address=2)
    for number in range(2):
        limit.count(errors.InvalidJsonError(), "", f"2001:db8:1:2::{number}", 0)
    with pytest.raises(TooManyRefusalsError):
        limit.check("", "2001:db8:1:2:ffff::1")
    limit.check("", "2001:db8:1:3::1")


def test_our_own_failures_count_nothing() -> None:
    limit = RefusalLimit(per_key=2, per_address=2)
    limit.count(errors.ServiceUnavailableError(), "digest", "192.0.2.1", 10_000_000)
    assert not limit.filled


@pytest.mark.parametrize("headers", [{}, {"content-length": "", "transfer-encoding": "chunked"}])
@in_loop
async def test_a_large_body_is_not_read_for_a_team_without_credit(headers: dict[str, str]) -> None:
    async with World(GOOD) as world:
        world.gate.available_nanos = 0
        reply = await world.post(LARGE, headers=headers)
    assert (reply.status, reply.json["error"]["code"]) == (402, "insufficient_quota")
    assert "credit" in reply.json["error"]["message"]
    assert not world.gate.admissions


@in_loop
async def test_a_body_of_half_a_megabyte_is_read_without_credit() -> None:
    async with World(GOOD) as world:
        world.gate.available_nanos = 0
        assert (await world.chat("x" * 500_000)).status == 200


@in_loop
async def test_the_loop_goes_on_while_a_large_body_is_read() -> None:
    messages = [{"role": "user", "content": "hello there"}] * 100_000
    content = json.dumps({"model": "public-model", "messages": messages}).encode()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    async with World(GOOD) as world:
        world.gate.code = "insufficient_quota"
        ticker = asyncio.create_task(tick())
        assert (await world.post(content)).status == 402
        ticker.cancel()
    # In the loop itself: at most one, between the key's look-up and the answer.
    assert ticks > 4

"""Pictures: what is planned, sent, charged and handed on."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import Costs, Prices
from tests.api.gateway.upstream import answer
from tests.api.gateway.world import Reply, World, in_loop

PATH = "/v1/images/generations"
PRICES = Prices(
    version_id=5,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    image_nanos=15_000_000,
    request_nanos=1,
)
COSTS = Costs(version_id=9, effective_from=datetime(2020, 1, 1, tzinfo=UTC), image_nanos=7)
URL = {"url": "https://pictures.invalid/1.png", "revised_prompt": "A sunset"}


def painter(*scripts: Any, **model: Any) -> World:
    return World(*scripts, **({"kind": "image", "prices": (PRICES,), "costs": (COSTS,)} | model))


def pictures(*data: Any, **fields: Any) -> Any:
    return answer({"created": 7, "data": list(data), **fields})


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "public-model", "prompt": "A sunset", **fields}


@in_loop
async def test_pictures_are_handed_on_and_charged_by_how_many_came() -> None:
    async with painter(pictures(URL, {"b64_json": "aGk="}, id="theirs")) as world:
        reply = await world.post(ask(n=3, style="vivid"), PATH)

    assert reply.json == {"created": 7, "data": [URL, {"b64_json": "aGk="}]}
    assert world.upstream.calls == [
        {"model": "upstream-model", "prompt": "A sunset", "n": 3, "style": "vivid"}
    ]
    assert world.gate.admissions[0].amount_nanos == 3 * 15_000_000 + 1
    assert world.gate.admissions[0].tokens == 0
    settled = world.gate.only
    assert (settled.images, settled.units_nanos) == (2, 30_000_001)
    assert settled.upstream_cost_nanos == 14
    assert (settled.endpoint, settled.outcome) == ("images_generations", "completed")
    assert reply.headers["x-request-cost"] == "0.030000001"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"created":7,"data":[]}',
        b'{"created":7,"data":[{"url":""}]}',
        b'{"created":7,"data":[{"url":5}]}',
        b'{"created":7}',
        b'{"created":"soon","data":[{"url":"https://p.invalid/1"}]}',
        b'{"data":"none"}',
        b"[]",
        b"<html>",
        b"\xff",
        b"",
    ],
)
def test_an_answer_without_pictures_is_502_and_free(raw: bytes) -> None:
    @in_loop
    async def run() -> None:
        async with painter(answer(raw)) as world:
            reply = await world.post(ask(), PATH)
        assert reply.status == 502
        settled = world.gate.only
        assert (settled.images, settled.units_nanos, settled.source) == (0, 0, "none")

    run()


@in_loop
async def test_a_client_who_leaves_before_the_pictures_pays_nothing() -> None:
    began = asyncio.Event()

    async def paint_for_ever(writer: asyncio.StreamWriter) -> None:
        began.set()
        await asyncio.sleep(60)

    async with painter(paint_for_ever) as world:
        task = asyncio.create_task(world.send(ask(), Reply(), PATH))
        await began.wait()
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)

    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.units_nanos) == ("client_closed", "none", 0)


@in_loop
async def test_a_full_upstream_is_429_before_the_ledger_is_asked_for_credits() -> None:
    async with painter(pictures(URL), upstream={"max_concurrency": 0}) as world:
        reply = await world.post(ask(), PATH)

    assert reply.status == 429
    assert reply.headers["retry-after"] == "1"
    assert reply.json["error"]["code"] == "rate_limit_exceeded"
    assert (world.gate.admissions, world.gate.settlements) == ([], [])
    assert world.gate.identified == 1

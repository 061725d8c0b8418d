"""Requests whose client disconnects: whose answers are read on for, and what is free."""

import asyncio
import json
import socket

import pytest

from tests.api.gateway.early import (
    COSTS,
    IMAGE_COSTS,
    IMAGE_PRICES,
    INPUT,
    OUTPUT,
    PRICES,
    Json,
    cancelled,
    closed_early,
)
from tests.api.gateway.upstream import (
    GOOD_STREAM,
    STREAM_HEAD,
    Script,
    answer,
    chunk,
    completion,
    head,
    raw,
    stream,
)
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"
DRAINS = {"drains_on_disconnect": True}


@pytest.mark.parametrize(
    ("path", "content", "script", "charged_nanos"),
    [
        (CHAT, body(), answer(completion()), 500 * INPUT + 1_000 * OUTPUT),
        (CHAT, body(stream=True), stream(*GOOD_STREAM), 500 * INPUT + 1_000 * OUTPUT),
        (CHAT, body(stream=True), stream(chunk("x" * 400)), 5 * INPUT + 100 * OUTPUT),
        (CHAT, body(), answer(b"{}", 500), 0),
        (CHAT, body(stream=True), answer(b"{}", 500), 0),
        (CHAT, body(), answer(b"<html>"), 0),
    ],
)
@in_loop
async def test_a_cancelled_call_is_read_on_for_where_the_upstream_bills_it(
    path: str, content: Json, script: Script, charged_nanos: int
) -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await script(writer)

    async with World(late, upstream=DRAINS, prices=(PRICES,), costs=(COSTS,)) as world:
        await cancelled(world, content, path)
        assert world.gate.settlements == []
        await eventually_async(lambda: world.gate.settlements)
        (limiter,) = world.gateway.upstreams.limits._limiters.values()
        await eventually_async(lambda: limiter.in_flight == 0)
    settled = world.gate.only
    assert settled.outcome == "client_closed"
    assert settled.input_nanos + settled.output_nanos == charged_nanos
    assert settled.upstream_cost_nanos == charged_nanos // 2


IMAGE = {"created": 1, "data": [{"url": "https://x/1"}, {"url": "https://x/2"}]}


@pytest.mark.parametrize(("drains", "count"), [(False, 0), (True, 2)])
@in_loop
async def test_cancelled_images_cost_what_the_upstream_billed(drains: bool, count: int) -> None:
    content = {"model": "public-model", "prompt": "A cat", "n": 2}
    script = raw(0.2, head(content_length=str(len(json.dumps(IMAGE)))), json.dumps(IMAGE).encode())
    async with World(
        script,
        upstream={"drains_on_disconnect": drains},
        kind="image",
        prices=(IMAGE_PRICES,),
        costs=(IMAGE_COSTS,),
    ) as world:
        await cancelled(world, content, IMAGES)
        await eventually_async(lambda: world.gate.settlements)
    settled = world.gate.only
    assert (settled.images, settled.units_nanos) == (count, count * 40_000_000)
    assert settled.upstream_cost_nanos == count * 20_000_000


@in_loop
async def test_reading_on_has_an_end() -> None:
    async with World(
        stream(chunk("x" * 400), 5.0),
        upstream=DRAINS,
        prices=(PRICES,),
        costs=(COSTS,),
        limits={"drain_seconds": 0.2},
    ) as world:
        await closed_early(world, body(stream=True))
        await eventually_async(lambda: world.gate.settlements)
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    assert world.gate.only.output_tokens == 100


@in_loop
async def test_a_deadline_ends_a_call_that_would_be_read_on_for() -> None:
    upstream = {**DRAINS, "total_timeout_seconds": 0.3}
    async with World(raw(5.0), upstream=upstream, prices=(PRICES,), costs=(COSTS,)) as world:
        reply = await world.chat()
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    assert reply.status == 504
    assert world.gate.only.source == "none"


@in_loop
async def test_a_key_that_cancels_often_pays_what_is_billed() -> None:
    script = raw(STREAM_HEAD, chunk("x" * 40), 0.2, *GOOD_STREAM)
    limits = {"max_cancellations": 2, "cancellation_window_seconds": 600}
    async with World(script, prices=(PRICES,), costs=(COSTS,), limits=limits) as world:
        for number in range(3):
            await closed_early(world, body(stream=True))
            await eventually_async(lambda: len(world.gate.settlements) == number + 1)  # noqa: B023
    sources = [settled.source for settled in world.gate.settlements]
    assert sources == ["estimated", "estimated", "upstream"]
    assert world.gate.settlements[-1].output_nanos == 1_000 * OUTPUT


@in_loop
async def test_plain_calls_count_as_cancelled_and_are_read_on_for() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await answer(completion())(writer)

    async with World(
        late, prices=(PRICES,), costs=(COSTS,), limits={"max_cancellations": 1}
    ) as world:
        for number in range(2):
            await cancelled(world, body())
            await eventually_async(lambda: len(world.gate.settlements) == number + 1)  # noqa: B023
    assert [settled.output_tokens for settled in world.gate.settlements] == [0, 1_000]


@in_loop
async def test_a_call_that_never_reached_the_upstream_is_free() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # The queue of a listener that accepts nobody is full now: connecting takes for ever.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        upstream = {"base_url": f"http://127.0.0.1:{port}/v1", "connect_timeout_seconds": 5.0}
        async with World(raw(), upstream=upstream, prices=(PRICES,), costs=(COSTS,)) as world:
            task, _ = world.begin(body("x" * 4_000))
            await eventually_async(lambda: world.gate.admissions)
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.wait([task])
        for filler in fillers:
            filler.close()
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "none")
    assert settled.upstream_cost_nanos == 0


@in_loop
async def test_a_client_who_leaves_between_attempts_pays_for_nothing() -> None:
    async with World(raw(), raw(5.0), prices=(PRICES,), costs=(COSTS,)) as world:
        task, _ = world.begin(body("x" * 4_000))
        await eventually_async(lambda: world.upstream.calls)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
    assert len(world.upstream.calls) == 1
    assert (world.gate.only.outcome, world.gate.only.source) == ("client_closed", "none")


@in_loop
async def test_figures_that_are_rejected_while_reading_on_are_kept() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        usage = {"prompt_tokens": 50, "completion_tokens": 10**9, "total_tokens": 10**9 + 50}
        await answer(completion(usage=usage))(writer)

    async with World(late, upstream=DRAINS, prices=(PRICES,), costs=(COSTS,)) as world:
        await cancelled(world, body())
        await eventually_async(lambda: world.gate.settlements)
    assert world.gate.only.attempts[-1]["rejected_usage"] == [
        "completion_tokens=1000000000",
        "total_tokens=1000000050",
    ]

"""Streamed chat completions."""

import asyncio
from typing import Any

import pytest

from tests.api.gateway.upstream import (
    DONE,
    GOOD_STREAM,
    STREAM_HEAD,
    USAGE,
    Upstream,
    answer,
    chunk,
    head,
    raw,
    stream,
)
from tests.api.gateway.world import Reply, World, body, in_loop
from tests.support.waiting import eventually_async

OPTIONS = {"include_usage": True}
ALWAYS_CHARGED = {"charges_broken_streams": "always"}


@in_loop
async def test_chunks_pass_and_the_usage_stays_with_us() -> None:
    async with World(stream(*GOOD_STREAM)) as world:
        reply = await world.chat(stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text == "Hello"
    assert reply.events[-1] == "[DONE]"
    assert all("usage" not in event for event in reply.events[:-1])
    assert {event["model"] for event in reply.events[:-1]} == {"public-model"}
    settled = world.gate.only
    assert (settled.input_nanos, settled.output_nanos) == (350_000, 2_500_000)
    assert (settled.source, settled.outcome, settled.streamed) == ("upstream", "completed", True)
    assert settled.first_token_ms is not None
    assert world.upstream.calls[0]["stream_options"] == {"include_usage": True}


@in_loop
async def test_usage_goes_to_the_client_who_asked_with_its_cost() -> None:
    async with World(stream(*GOOD_STREAM)) as world:
        reply = await world.chat(stream=True, stream_options=OPTIONS)
    last = reply.events[-2]
    assert last["choices"] == []
    assert last["usage"] == {**USAGE, "cost": 0.00285}
    assert b'"cost":0.00285}' in reply.body
    assert (last["id"], last["model"]) == ("chatcmpl-1", "public-model")


@in_loop
async def test_a_client_who_asked_gets_an_estimate_where_the_upstream_says_nothing() -> None:
    async with World(stream(chunk("x" * 40), chunk(finish="stop"), DONE)) as world:
        reply = await world.chat("y" * 80, stream=True, stream_options=OPTIONS)
    usage = reply.events[-2]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (24, 10)
    assert (world.gate.only.source, world.gate.only.outcome) == ("estimated", "completed")


@pytest.mark.parametrize(
    "events",
    [
        (chunk("a", "stop", usage=USAGE), DONE),
        (chunk(choices=[], usage=USAGE), chunk("a", "stop"), DONE),
        (
            chunk("a", usage={"prompt_tokens": 1, "completion_tokens": 1}),
            chunk(finish="stop", usage=USAGE),
            DONE,
        ),
        (chunk("a", "stop"), chunk(choices=[], usage=USAGE), chunk(choices=[], usage=USAGE), DONE),
        (chunk("a", usage=None), chunk("b", "stop", usage=None), chunk(usage=USAGE), DONE),
        (chunk("a", "stop"), chunk(choices=[], usage=USAGE)),
        (chunk("a"), chunk(choices=[], usage=USAGE), DONE),
    ],
)
@in_loop
async def test_usage_is_found_wherever_it_stands(events: tuple[bytes, ...]) -> None:
    async with World(stream(*events)) as world:
        reply = await world.chat(stream=True)
    assert reply.events[-1] == "[DONE]"
    assert (world.gate.only.input_tokens, world.gate.only.output_tokens) == (500, 1000)
    assert not any(event.get("usage") for event in reply.events[:-1])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@in_loop
async def test_events_are_whole_however_they_are_cut(size: int, line_end: bytes) -> None:
    joined = b": comment\n\n".join(GOOD_STREAM).replace(b"\n", line_end)
    pieces = [joined[start : start + size] for start in range(0, len(joined), size)]
    async with World(stream(*pieces)) as world:
        reply = await world.chat(stream=True)
    assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")
    assert world.gate.only.output_tokens == 1000


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ((chunk("Hello"),), "upstream_incomplete"),
        ((chunk("Hello"), b"data: {broken\n\n", DONE), "upstream_error"),
        ((chunk("Hello"), b"data: nonsense\n\n"), "upstream_error"),
        ((chunk("Hello"), b'data: {"error": {"message": "secret"}}\n\n', DONE), "upstream_error"),
        ((chunk("Hello"), b"x" * 5_000_000), "upstream_error"),
        ((chunk("Hello"), b"data: {\xff}\n\n"), "upstream_error"),
    ],
)
@in_loop
async def test_a_stream_that_fails_says_so_and_is_paid_in_part(
    parts: tuple[bytes, ...], outcome: str
) -> None:
    async with World(stream(*parts), route=ALWAYS_CHARGED) as world:
        reply = await world.chat("x" * 40, stream=True)
    assert reply.status == 200
    assert reply.is_complete
    assert reply.text == "Hello"
    assert reply.events[-1]["error"]["code"] == "upstream_error"
    assert b"secret" not in reply.body
    settled = world.gate.only
    assert (settled.outcome, settled.source) == (outcome, "estimated")
    assert (settled.input_tokens, settled.output_tokens) == (14, 2)
    assert len(world.upstream.calls) == 1


@pytest.mark.parametrize(
    "script",
    [
        stream(),
        stream(b"<html>garbage"),
        stream(b"data: {}{}\n\n"),
        stream(b'data: {"error":{}}\n\n'),
        stream(DONE),
        answer(b"<html>"),
        answer(b"{}", 500),
        raw(),
    ],
)
@in_loop
async def test_a_stream_that_never_began_is_a_plain_error_and_free(script: Any) -> None:
    async with World(script) as world:
        reply = await world.chat(stream=True)
    assert reply.status == 502
    assert reply.headers["content-type"] == "application/json"
    assert world.gate.only.source == "none"


@in_loop
async def test_a_cut_connection_is_no_end() -> None:
    cut = raw(head(content_type="text/event-stream", transfer_encoding="chunked"))

    async def script(writer: asyncio.StreamWriter) -> None:
        event = chunk("Hello")
        writer.write(head(content_type="text/event-stream", transfer_encoding="chunked"))
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async with World(script, cut, route=ALWAYS_CHARGED) as world:
        reply = await world.chat(stream=True)
    assert reply.events[-1]["error"]["code"] == "upstream_error"
    assert world.gate.only.source == "estimated"
    assert len(world.upstream.calls) == 1


@in_loop
async def test_another_route_answers_before_the_first_byte_and_never_after() -> None:
    first, second = Upstream(answer(b"{}", 500)), Upstream(stream(*GOOD_STREAM))
    async with World(upstreams=[first, second]) as world:
        reply = await world.chat(stream=True)
    assert reply.text == "Hello"
    tried = [attempt["upstream"] for attempt in world.gate.only.attempts]
    assert tried == ["upstream-0", "upstream-1"]
    assert world.gate.only.upstream == "upstream-1"


@in_loop
async def test_a_silent_route_is_given_up_for_another_once() -> None:
    silent = [Upstream(stream(b": still thinking\n\n", 5.0)) for _ in range(2)]
    timeouts = {"first_token_timeout_seconds": 0.2}
    async with World(upstreams=[silent[0], Upstream(stream(*GOOD_STREAM))], upstream=timeouts) as w:
        assert (await w.chat(stream=True)).text == "Hello"
    third = Upstream(stream(*GOOD_STREAM))
    async with World(upstreams=[*silent, third], upstream=timeouts) as w:
        assert (await w.chat(stream=True)).status == 504
    assert third.calls == []


@in_loop
async def test_silence_after_the_first_token_ends_the_stream() -> None:
    timeouts = {"idle_timeout_seconds": 0.2}
    script = stream(chunk("Hello"), 5.0)
    async with World(script, upstream=timeouts, route=ALWAYS_CHARGED) as world:
        reply = await world.chat(stream=True)
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    assert reply.events[-1]["error"]["code"] == "upstream_timeout"
    assert (world.gate.only.outcome, world.gate.only.source) == ("upstream_timeout", "estimated")


@in_loop
async def test_comments_do_not_count_as_signs_of_life() -> None:
    drip = [part for _ in range(40) for part in (b": ping\n\n", 0.05)]
    timeouts = {"idle_timeout_seconds": 0.3}
    async with World(stream(chunk("Hello"), *drip), upstream=timeouts) as world:
        reply = await world.chat(stream=True)
    assert reply.events[-1]["error"]["code"] == "upstream_timeout"
    assert b"ping" not in reply.body


@in_loop
async def test_silence_is_filled_with_comments_even_before_the_first_token() -> None:
    script = raw(0.5, STREAM_HEAD, *GOOD_STREAM[:2], 0.5, *GOOD_STREAM[2:])
    async with World(script, limits={"keepalive_seconds": 0.15}) as world:
        reply = await world.chat(stream=True)
    assert reply.body.startswith(b": keepalive\n\n")
    assert reply.body.count(b": keepalive\n\n") >= 4
    assert b"\n\n: keepalive" in reply.body.partition(b"lo")[2]
    assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")


@in_loop
async def test_after_a_keepalive_a_failure_is_an_error_event() -> None:
    script = raw(0.3, head(500, content_length="2"), b"{}")
    async with World(script, limits={"keepalive_seconds": 0.1}) as world:
        reply = await world.chat(stream=True)
    assert reply.status == 200
    assert reply.events[-1]["error"]["code"] == "upstream_error"
    assert world.gate.only.status == 502
    assert world.gate.only.source == "none"


@in_loop
async def test_a_client_who_leaves_stops_the_upstream_and_pays_for_what_it_got() -> None:
    async with World(stream(chunk("x" * 40), 5.0)) as world:
        task, reply = world.begin(body("y" * 400, stream=True))
        await eventually_async(lambda: reply.text)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    assert task.cancelled()
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "estimated")
    assert (settled.input_tokens, settled.output_tokens) == (104, 10)


@in_loop
async def test_a_client_who_leaves_after_the_last_event_ends_the_call_as_well() -> None:
    async with World(stream(*GOOD_STREAM, 5.0)) as world:
        task, _ = world.begin(body(stream=True))
        await eventually_async(lambda: world.gate.settlements)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
        (limiter,) = world.gateway.upstreams.limits._limiters.values()
    assert task.cancelled()
    assert limiter.in_flight == 0
    assert world.gate.only.outcome == "completed"


@in_loop
async def test_upstreams_that_bill_to_the_end_are_read_to_the_end() -> None:
    script = stream(chunk("x" * 40), 0.2, *GOOD_STREAM)
    async with World(script, upstream={"drains_on_disconnect": True}) as world:
        task, reply = world.begin(body(stream=True))
        await eventually_async(lambda: reply.text)
        task.cancel()
        await asyncio.wait([task])
        assert world.gate.settlements == []
        await eventually_async(lambda: world.gate.settlements)
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "upstream")
    assert settled.output_tokens == 1000


@in_loop
async def test_the_end_waits_for_the_settlement() -> None:
    async with World(stream(*GOOD_STREAM)) as world:
        world.gate.receipts_wait = asyncio.Event()
        task, reply = world.begin(body(stream=True))
        await eventually_async(lambda: world.gate.settlements)
        await asyncio.sleep(0.1)
        assert reply.text == "Hello"
        assert "[DONE]" not in reply.events
        world.gate.receipts_wait.set()
        await task
    assert reply.events[-1] == "[DONE]"


@in_loop
async def test_a_client_who_does_not_read_is_left_and_pays() -> None:
    stalled = asyncio.Event()

    async def wait() -> None:
        await stalled.wait()

    async with World(stream(chunk("Hello"), 5.0), limits={"write_timeout_seconds": 0.2}) as world:
        reply = Reply()
        await world.send(body(stream=True), reply, before_write=wait)
    assert not reply.is_complete
    assert (world.gate.only.outcome, world.gate.only.source) == ("client_stalled", "estimated")


@in_loop
async def test_a_shutdown_ends_streams_with_an_event_and_a_bill() -> None:
    async with World(stream(chunk("Hello"), 5.0)) as world:
        task, reply = world.begin(body(stream=True))
        await eventually_async(lambda: reply.text)
        world.gateway.shut_down()
        await task
    assert reply.events[-1]["error"]["code"] == "server_shutting_down"
    settlement = world.gate.only
    assert (settlement.outcome, settlement.source) == ("server_shutting_down", "estimated")


@in_loop
async def test_the_connection_to_the_upstream_is_used_again() -> None:
    events = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in GOOD_STREAM)

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_type="text/event-stream", transfer_encoding="chunked"))
        writer.write(events)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with World(script) as world:
        for _ in range(3):
            assert (await world.chat(stream=True)).text == "Hello"
        assert world.upstream.connections == 1


@in_loop
async def test_tool_calls_and_reasoning_count_as_delivered() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"a": 1}'}}
    delta = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    thought = {"index": 0, "delta": {"reasoning_content": "hmm!"}, "finish_reason": None}
    parts = (chunk(choices=[thought]), chunk(choices=[delta]), chunk(finish="tool_calls"), DONE)
    async with World(stream(*parts)) as world:
        reply = await world.chat(stream=True)
    assert reply.events[1]["choices"][0]["delta"]["tool_calls"] == [call]
    assert (world.gate.only.output_tokens, world.gate.only.finish_reason) == (4, "tool_calls")


@in_loop
async def test_an_empty_stream_costs_nothing() -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 0}
    async with World(stream(chunk(finish="stop"), chunk(choices=[], usage=usage), DONE)) as world:
        reply = await world.chat(stream=True, stream_options=OPTIONS)
    assert (world.gate.only.outcome, world.gate.only.source) == ("empty", "none")
    assert reply.events[-2]["usage"]["cost"] == 0

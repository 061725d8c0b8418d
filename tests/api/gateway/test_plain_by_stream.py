"""Plain answers of routes that stream them: deadlines, failures, disconnections, charges."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.api.gateway.upstream import (
    GOOD_STREAM,
    STREAM_HEAD,
    Script,
    Upstream,
    answer,
    chunk,
    completion,
    raw,
    stream,
)
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

STREAMS = {"streams_plain_answers": True}
HALF = STREAM_HEAD + chunk("Hello " * 20)


def world(*scripts: Script, **fields: Any) -> World:
    """Return a relay whose route streams plain answers."""
    return World(*scripts, route=STREAMS, **fields)


@in_loop
async def test_the_stream_is_put_together_and_charged_as_a_plain_answer() -> None:
    async with world(stream(*GOOD_STREAM)) as relay, World(answer(completion("Hello"))) as plain:
        reply = await relay.chat()
        expected = await plain.chat()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    sent = relay.upstream.calls[0]
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in plain.upstream.calls[0]
    assert reply.json["choices"][0]["message"]["content"] == "Hello"
    assert reply.json["object"] == "chat.completion"
    assert reply.json["usage"] == expected.json["usage"]
    assert reply.headers["x-request-cost"] == expected.headers["x-request-cost"]
    settled = relay.gate.only
    assert (settled.outcome, settled.source, settled.streamed) == ("completed", "upstream", False)


@in_loop
async def test_a_client_that_streams_gets_its_stream() -> None:
    async with world(stream(*GOOD_STREAM)) as relay:
        reply = await relay.chat(stream=True)
    assert reply.text == "Hello"
    assert reply.events[-1] == "[DONE]"


@in_loop
async def test_an_endpoint_without_streams_is_asked_as_ever() -> None:
    vectors = {
        "object": "list",
        "model": "upstream-model",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    async with world(answer(vectors), kind="embedding") as relay:
        asked = {"model": "public-model", "input": "Hi"}
        reply = await relay.post(asked, "/v1/embeddings")
    assert reply.status == 200
    assert "stream" not in relay.upstream.calls[0]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (raw(HALF, b'data: {"error": {"message": "overheated"}}\n\n'), 502, "upstream_error"),
        (raw(HALF), 502, "upstream_error"),
        (raw(HALF, b"data: nonsense\n\n"), 502, "upstream_error"),
        (raw(STREAM_HEAD + b"data: [DONE]\n\n"), 502, "upstream_error"),
        (raw(HALF, 5.0), 504, "upstream_timeout"),
        (raw(STREAM_HEAD, 5.0), 504, "upstream_timeout"),
        (answer({"error": {"message": "slow down"}}, 429), 429, "rate_limit_exceeded"),
        (answer({"error": {"message": "bad field"}}, 400), 400, "invalid_request_error"),
    ],
    ids=["error", "cut off", "nonsense", "empty", "idle", "no first event", "429", "400"],
)
@in_loop
async def test_a_stream_that_fails_is_a_plain_error_and_free(
    script: Script, status: int, code: str
) -> None:
    # Only what is to time out: on a busy machine, any answer may take so long.
    seconds = 0.2 if status == 504 else 10.0
    timeouts = {"idle_timeout_seconds": seconds, "first_token_timeout_seconds": seconds}
    async with world(script, upstream=timeouts) as relay:
        reply = await relay.chat()
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert relay.gate.only.source == "none"
    assert b"Hello" not in reply.body


@pytest.mark.parametrize("failure", [raw(HALF, b'data: {"error": 1}\n\n'), raw(HALF, 5.0)])
@in_loop
async def test_the_next_route_is_tried_as_the_client_has_nothing_yet(failure: Script) -> None:
    upstreams = [Upstream(failure), Upstream(stream(*GOOD_STREAM))]
    timeouts = {"idle_timeout_seconds": 0.2}
    async with world(upstreams=upstreams, upstream=timeouts) as relay:
        reply = await relay.chat()
    assert reply.status == 200
    assert reply.json["choices"][0]["message"]["content"] == "Hello"
    assert [attempt["status"] for attempt in relay.gate.only.attempts] == [0, 200]
    assert len(relay.gate.settlements) == 1


@in_loop
async def test_a_long_answer_needs_only_go_on() -> None:
    """Longer than the first token and than any silence may take, and not than the whole."""
    events = [part for word in "abcdef" for part in (chunk(word), 0.12)]
    timeouts = {"idle_timeout_seconds": 0.3, "first_token_timeout_seconds": 0.3}
    script = raw(STREAM_HEAD, *events, GOOD_STREAM[-1])
    async with world(script, upstream=timeouts) as relay:
        reply = await relay.chat()
    assert reply.status == 200
    assert reply.json["choices"][0]["message"]["content"].startswith("abcdef")
    async with world(script, upstream={"total_timeout_seconds": 0.3}) as relay:
        assert (await relay.chat()).status == 504


@in_loop
async def test_a_route_asked_plainly_after_one_by_stream_may_take_its_time() -> None:
    """The deadline of the first token ends with the attempt that it was for."""
    upstreams = [Upstream(raw(STREAM_HEAD, 5.0)), Upstream(_late(0.5))]
    timeouts = {"first_token_timeout_seconds": 0.2}
    async with world(upstreams=upstreams, upstream=timeouts) as relay:
        first, second = relay.gateway.catalogue.current.ordered[0].routes
        second = replace(second, streams_plain_answers=False)
        relay.gateway.catalogue.current = relay.snapshot(routes=(first, second))
        reply = await relay.chat()
    assert reply.status == 200


def _late(seconds: float) -> Script:
    """Answer after a while."""
    plain = answer(completion())

    async def script(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await plain(writer)

    return script


@in_loop
async def test_a_client_that_disconnects_pays_for_what_was_generated() -> None:
    async with world(raw(HALF, 5.0)) as relay:
        task, reply = relay.begin(body("x" * 400))
        await eventually_async(lambda: relay.upstream.calls)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(relay.upstream.closed.wait(), 10)
    assert reply.status == 0
    settled = relay.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "estimated")
    # 120 bytes at the model's four for a token.
    assert (settled.input_tokens, settled.output_tokens) == (104, 30)


@in_loop
async def test_an_upstream_that_drains_is_read_on_for_its_usage() -> None:
    script = raw(HALF, 0.3, *GOOD_STREAM)
    async with world(script, upstream={"drains_on_disconnect": True}) as relay:
        task, _ = relay.begin(body())
        await eventually_async(lambda: relay.upstream.calls)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        await eventually_async(lambda: relay.gate.settlements)
    settled = relay.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "upstream")
    assert (settled.input_tokens, settled.output_tokens) == (500, 1000)


@in_loop
async def test_a_shutdown_ends_it_free_of_charge() -> None:
    async with world(raw(HALF, 5.0)) as relay:
        task, reply = relay.begin(body())
        await eventually_async(lambda: relay.upstream.calls)
        relay.gateway.shut_down()
        await task
    assert (reply.status, reply.json["error"]["code"]) == (503, "server_shutting_down")
    assert relay.gate.only.source == "none"


def _error(**members: Any) -> bytes:
    return b"data: " + json.dumps({"error": {"message": "no", **members}}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (_error(code="context_length_exceeded"), 400, "context_length_exceeded"),
        (_error(type="invalid_request_error"), 400, "invalid_request_error"),
        (_error(code="rate_limit_exceeded"), 429, "rate_limit_exceeded"),
        (_error(code=429), 429, "rate_limit_exceeded"),
        (_error(type="overloaded_error"), 502, "upstream_error"),
        (_error(type="authentication_error", message="your key sk-live-12345678"), 502, None),
        (_error(code="insufficient_quota"), 502, "upstream_error"),
        (_error(code="odd"), 502, "upstream_error"),
    ],
)
@in_loop
async def test_an_error_in_the_stream_has_the_status_that_it_would_have_had_alone(
    event: bytes, status: int, code: str | None
) -> None:
    async with world(raw(HALF, event)) as relay:
        reply = await relay.chat()
    assert reply.status == status
    assert reply.json["error"]["code"] == (code or "upstream_error")
    assert b"sk-live" not in reply.body
    assert relay.gate.only.source == "none"

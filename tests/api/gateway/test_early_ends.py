"""What answers cost that end early: closed by the client, broken off by the upstream, empty."""

import asyncio
import json
from typing import Any

import pytest
import structlog

from tests.api.gateway.early import COSTS, INPUT, OUTPUT, PRICES, Json, closed_early
from tests.api.gateway.upstream import (
    DONE,
    Script,
    answer,
    chunk,
    completion,
    stream,
)
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
COMPLETIONS, IMAGES = "/v1/completions", "/v1/images/generations"
TOOL = {"description": "x" * 80_000, "parameters": {"type": "object"}}
ASKED: dict[str, Json] = {
    CHAT: {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f", **TOOL}}],
    },
    COMPLETIONS: {"prompt": "x" * 80_000},
    MESSAGES: {
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [
            {
                "name": "f",
                "description": TOOL["description"],
                "input_schema": TOOL["parameters"],
            }
        ],
    },
    RESPONSES: {"input": "Hi", "tools": [{"type": "function", "name": "f", **TOOL}]},
}


def asked(path: str, **fields: Any) -> Json:
    """Return a request with 80 kB that are no message, as far as its dialect has such."""
    return {"model": "public-model", "stream": True, **ASKED[path], **fields}


def anthropic(kind: str, **fields: Any) -> bytes:
    """Return an event of an upstream that speaks Messages."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(kind: str, **fields: Any) -> bytes:
    """Return an event of an upstream that speaks Responses."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message_start(**usage: int) -> bytes:
    """Return the events that begin a message of text."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 30_000, "output_tokens": 1, **usage},
    }
    block = {"type": "text", "text": ""}
    return anthropic("message_start", message=message) + anthropic(
        "content_block_start", index=0, content_block=block
    )


def text_delta(text: str) -> bytes:
    """Return an event with some text of a message."""
    return anthropic("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


TEXT_CHUNK = (
    b'data: {"id":"c","object":"text_completion","created":1,"model":"upstream-model",'
    b'"choices":[{"index":0,"text":"' + b"x" * 40 + b'","finish_reason":null}]}\n\n'
)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES, RESPONSES])
@in_loop
async def test_a_closed_stream_costs_all_that_was_sent(path: str) -> None:
    event = TEXT_CHUNK if path == COMPLETIONS else chunk("x" * 40)
    async with World(stream(event, 5.0), prices=(PRICES,), costs=(COSTS,)) as world:
        await closed_early(world, asked(path), path)
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "estimated")
    assert 20_000 <= settled.input_tokens <= 20_100
    assert settled.output_tokens == 10
    assert settled.input_nanos == settled.input_tokens * INPUT
    assert settled.upstream_cost_nanos == (settled.input_nanos + settled.output_nanos) // 2


@pytest.mark.parametrize("end", ["closed", "broken", "retried"])
@in_loop
async def test_figures_of_a_stream_without_its_end_are_kept_with_the_attempt(end: str) -> None:
    usage = {"prompt_tokens": 10**9, "completion_tokens": 1, "total_tokens": 10**9 + 1}
    text = "" if end == "retried" else "x" * 40
    event = chunk(text or None, usage=usage)
    scripts = [stream(event, 5.0)] if end == "closed" else [stream(event)]
    if end == "retried":
        scripts.append(stream(chunk("x" * 40, finish="stop"), DONE))
    async with World(*scripts, prices=(PRICES,)) as world:
        with structlog.testing.capture_logs() as logs:
            if end == "closed":
                await closed_early(world, asked(CHAT))
            else:
                await world.post(asked(CHAT), CHAT)
    settled = world.gate.only
    kept = ["prompt_tokens=1000000000", "total_tokens=1000000001"]
    assert settled.attempts[0]["rejected_usage"] == kept
    assert [each["figures"] for each in logs if each["event"] == "usage_rejected"] == [kept]
    assert settled.input_tokens <= 20_100


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@in_loop
async def test_a_closed_stream_costs_the_prompt_that_the_upstream_reported(path: str) -> None:
    script = stream(message_start(cache_read_input_tokens=1_000), text_delta("x" * 40), 5.0)
    upstream = {"dialect": "anthropic_messages"}
    async with World(script, upstream=upstream, prices=(PRICES,), costs=(COSTS,)) as world:
        await closed_early(world, asked(path), path)
    settled = world.gate.only
    assert (settled.input_tokens, settled.cached_tokens) == (31_000, 1_000)
    assert settled.output_tokens == 1 + 10
    assert settled.source == "estimated"


@in_loop
async def test_the_last_usage_of_a_closed_stream_is_what_is_charged() -> None:
    """Some upstreams report with every chunk: what came since is estimated."""
    usage = {"prompt_tokens": 9_000, "completion_tokens": 3, "total_tokens": 9_003}
    reported = chunk("x" * 40, usage=usage)
    async with World(stream(reported, 5.0), prices=(PRICES,), costs=(COSTS,)) as world:
        await closed_early(world, asked(CHAT))
    settled = world.gate.only
    assert (settled.input_tokens, settled.output_tokens) == (9_000, 3)
    assert settled.source == "upstream"
    async with World(
        stream(reported, chunk("y" * 80), 5.0), prices=(PRICES,), costs=(COSTS,)
    ) as world:
        task, reply = world.begin(asked(CHAT))
        await eventually_async(lambda: b"yyyy" in reply.body)
        task.cancel()
        await asyncio.wait([task])
    settled = world.gate.only
    assert (settled.input_tokens, settled.output_tokens) == (9_000, 3 + 20)
    assert settled.source == "estimated"


@in_loop
async def test_a_closed_stream_costs_no_more_output_than_was_held_for() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
    script = stream(chunk("x" * 40, usage=usage), chunk("x" * 4_000), 5.0)
    async with World(script, prices=(PRICES,), costs=(COSTS,)) as world:
        task, reply = world.begin(body(stream=True, max_tokens=10))
        await eventually_async(lambda: len(reply.body) > 4_000)
        task.cancel()
        await asyncio.wait([task])
    assert world.gate.only.output_tokens == 10


RULES = [
    ("reported", False, False),
    ("reported", True, True),
    ("always", False, True),
    ("always", True, True),
    ("never", False, False),
    ("never", True, False),
]


@pytest.mark.parametrize(("rule", "is_reported", "is_charged"), RULES)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@in_loop
async def test_a_broken_stream_says_what_it_cost_by_the_routes_rule(
    path: str, rule: str, is_reported: bool, is_charged: bool
) -> None:
    if is_reported:
        script, dialect = stream(message_start(), text_delta("x" * 40)), "anthropic_messages"
    else:
        script, dialect = stream(chunk("x" * 40)), "openai_chat"
    async with World(
        script,
        upstream={"dialect": dialect},
        route={"charges_broken_streams": rule},
        prices=(PRICES,),
        costs=(COSTS,),
    ) as world:
        reply = await world.post(asked(path), path)
    settled = world.gate.only
    event = reply.events[-1]
    error = event["response"]["error"] if path == RESPONSES else event["error"]
    usage = (
        event["response"]["usage"]
        if path == RESPONSES
        else event["usage"]
        if path == MESSAGES
        else error["usage"]
    )
    nanos = settled.input_nanos + settled.output_nanos
    assert settled.outcome == "upstream_incomplete"
    assert usage["cost"] == pytest.approx(nanos / 1e9)
    assert (usage.get("prompt_tokens", usage.get("input_tokens"))) == settled.input_tokens
    assert (usage.get("completion_tokens", usage.get("output_tokens"))) == settled.output_tokens
    if is_charged:
        assert settled.input_tokens >= 20_000
        assert settled.upstream_cost_nanos == nanos // 2
        amount = f"{usage['cost']:.9f}".rstrip("0")
        assert f"You were charged ${amount} for what was delivered" in error["message"]
    else:
        assert (nanos, settled.source) == (0, "none")
        assert "You were not charged" in error["message"]
        # What the upstream asks of us is known all the same.
        assert settled.upstream_cost_nanos >= 20_000 * INPUT // 2


@in_loop
async def test_a_response_that_failed_may_have_reported_its_usage() -> None:
    item = {"type": "message", "id": "m", "role": "assistant", "content": []}
    failed = {
        "id": "r",
        "object": "response",
        "status": "failed",
        "error": {"code": "server_error", "message": "secret"},
        "output": [],
        "usage": {"input_tokens": 900, "output_tokens": 70, "total_tokens": 970},
    }
    script = stream(
        response("response.created", response={"id": "r", "object": "response"}),
        response("response.output_item.added", output_index=0, item=item),
        response("response.output_text.delta", output_index=0, delta="x" * 40),
        response("response.failed", response=failed),
    )
    async with World(
        script, upstream={"dialect": "openai_responses"}, prices=(PRICES,), costs=(COSTS,)
    ) as world:
        reply = await world.post(asked(RESPONSES), RESPONSES)
    settled = world.gate.only
    assert (settled.input_tokens, settled.output_tokens) == (900, 70)
    assert reply.events[-1]["response"]["usage"]["input_tokens"] == 900
    assert b"secret" not in reply.body


@in_loop
async def test_a_stream_that_we_end_costs_what_was_delivered_whatever_the_rule() -> None:
    timeouts = {"total_timeout_seconds": 0.5}
    script = stream(chunk("x" * 40), 5.0)
    rule = {"charges_broken_streams": "never"}
    async with World(
        script, upstream=timeouts, route=rule, prices=(PRICES,), costs=(COSTS,)
    ) as world:
        reply = await world.chat(stream=True)
    assert world.gate.only.output_nanos == 10 * OUTPUT
    assert "You were charged $0.0000" in reply.events[-1]["error"]["message"]
    assert reply.events[-1]["error"]["usage"]["completion_tokens"] == 10


EMPTY = {"prompt_tokens": 500, "completion_tokens": 1, "total_tokens": 501}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("is_charged", [False, True])
@in_loop
async def test_an_empty_answer_costs_its_input_where_the_row_says_so(
    is_streamed: bool, is_charged: bool
) -> None:
    script: Script = answer(completion("", usage=EMPTY))
    if is_streamed:
        script = stream(chunk(finish="stop"), chunk(choices=[], usage=EMPTY), DONE)
    route = {"charges_empty_answers": is_charged}
    async with World(script, route=route, prices=(PRICES,), costs=(COSTS,)) as world:
        await world.chat(stream=is_streamed)
    settled = world.gate.only
    assert settled.outcome == "empty"
    assert settled.input_nanos == (500 * INPUT if is_charged else 0)
    assert settled.output_nanos == 0
    assert settled.source == ("upstream" if is_charged else "none")
    assert settled.upstream_cost_nanos == (500 * INPUT + OUTPUT) // 2


@pytest.mark.parametrize("is_streamed", [False, True])
@in_loop
async def test_a_hidden_token_that_the_limit_ended_is_no_emptiness(is_streamed: bool) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}}
    cut = completion(usage=EMPTY, choices=[{**choice, "finish_reason": "length"}])
    script: Script = answer(cut)
    if is_streamed:
        script = stream(chunk(finish="length"), chunk(choices=[], usage=EMPTY), DONE)
    async with World(script, prices=(PRICES,), costs=(COSTS,)) as world:
        await world.chat(stream=is_streamed, max_tokens=1)
    settled = world.gate.only
    assert settled.outcome == "completed"
    assert (settled.input_nanos, settled.output_nanos) == (500 * INPUT, OUTPUT)

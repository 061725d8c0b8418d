"""Holds that grow with their streams: what is passed on is never worth more than what is held."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import Prices
from tests.api.gateway.upstream import DONE, Script, answer, chunk, completion, raw, stream
from tests.api.gateway.world import Reply, World, body, cost_of, in_loop
from tests.support.waiting import eventually_async

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
AGENT = {"max_output_tokens": 128_000, "context_tokens": 200_000}
OUTPUT_NANOS = 2_500
# Of a hold: the tokens that end and divide an answer, which have no text.
UNSEEN = 16
SLICE = 1_024
PART = 100


def parts(count: int, usage: dict[str, Any] | None = None) -> Script:
    """Stream parts of 100 bytes, each in a packet of its own."""
    paced: list[bytes | float] = []
    for _ in range(count):
        paced += [chunk("x" * PART), 0.002]
    ending = [chunk(choices=[], usage=usage)] if usage else []
    return stream(*paced, chunk(finish="stop"), *ending, DONE)


def agents(path: str, **fields: Any) -> dict[str, Any]:
    """Return an agent's request for a long answer."""
    asked = {
        CHAT: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 128_000},
        MESSAGES: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 128_000},
        RESPONSES: {"input": "Hi", "max_output_tokens": 128_000},
    }
    return {"model": "public-model", "stream": True, **asked[path], **fields}


def text_bytes(reply: Reply) -> int:
    """Return how much text a client has, in whatever dialect."""
    # The last events of Responses repeat all of it.
    events = [line for line in reply.body.split(b"\n\n") if b".done" not in line]
    return sum(event.count(b"x" * PART) for event in events if b".completed" not in event) * PART


def first_hold(world: World) -> int:
    """Return what the admission held."""
    (admission,) = world.gate.admissions
    return admission.amount_nanos


def prompt_nanos(world: World) -> int:
    """Return the part of the first hold that is the prompt's."""
    return first_hold(world) - SLICE * OUTPUT_NANOS


@in_loop
async def test_a_model_whose_row_names_no_modalities_makes_text() -> None:
    async with World(parts(1), output_modalities=(), **AGENT) as world:
        await world.post(agents(CHAT))
    assert first_hold(world) < 2 * SLICE * OUTPUT_NANOS


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@in_loop
async def test_a_stream_holds_its_prompt_and_a_slice_and_asks_upstream_for_all(path: str) -> None:
    async with World(parts(1), **AGENT) as world:
        await world.post(agents(path), path)
    assert 0 < prompt_nanos(world) < 2_000 * 700
    assert world.upstream.calls[0]["max_tokens"] == 128_000
    (admission,) = world.gate.admissions
    assert admission.minimum_nanos < first_hold(world)
    assert SLICE < admission.tokens < SLICE + 100
    assert world.gate.extensions == []


@in_loop
async def test_slices_are_asked_for_ahead_and_double() -> None:
    async with World(parts(400), **AGENT) as world:
        reply = await world.post(agents(CHAT))
    assert text_bytes(reply) == 40_000
    holds = [
        (each.amount_nanos - prompt_nanos(world)) // OUTPUT_NANOS for each in world.gate.extensions
    ]
    assert holds == [SLICE * total for total in (2, 4, 8, 16, 32, 48)]
    # None was needed when it was asked for: each was satisfied with the hold that there was.
    before = [first_hold(world), *(each.amount_nanos for each in world.gate.extensions)]
    assert [each.minimum_nanos for each in world.gate.extensions] == before[:-1]
    # The tokens that the last slice may hold are counted, as far as they are likely.
    likely = 48 * SLICE // 4
    assert likely <= world.gate.extensions[-1].tokens < likely + 100
    assert world.gate.growth == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@in_loop
async def test_no_more_passes_than_is_held_until_the_extension_is_there(path: str) -> None:
    async with World(parts(60), **AGENT) as world:
        world.gate.extensions_wait = asyncio.Event()
        task, reply = world.begin(agents(path), path)
        most = (SLICE - UNSEEN) // PART * PART
        await eventually_async(lambda: text_bytes(reply) == most)
        await asyncio.sleep(0.1)
        assert text_bytes(reply) == most
        assert len(world.gate.extensions) == 1
        world.gate.extensions_wait.set()
        await task
    assert text_bytes(reply) == 6_000
    assert world.gate.only.outcome == "completed"


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("code", ["insufficient_quota", "budget_exceeded"])
@in_loop
async def test_an_answer_ends_where_its_hold_can_not_grow(path: str, code: str) -> None:
    async with World(parts(60), **AGENT) as world:
        world.gate.extension_code = code
        world.gate.most_held_nanos = 8_000_000
        reply = await world.post(agents(path), path)
        await asyncio.wait_for(world.upstream.closed.wait(), 5)
        held = (8_000_000 - prompt_nanos(world)) // OUTPUT_NANOS - UNSEEN
    delivered = text_bytes(reply)
    assert 0 <= held - delivered < PART
    end = reply.events[-1]
    error = end["error"] if path == MESSAGES else end.get("error") or end["response"]["error"]
    # Of Responses' own codes, one says that something must be paid for.
    assert error["code"] == ("insufficient_quota" if path == RESPONSES else code)
    settled = world.gate.only
    # A bill of what was delivered.
    assert (settled.outcome, settled.source) == (code, "estimated")
    assert settled.output_tokens == delivered // 4
    cost = settled.input_nanos + settled.output_nanos
    assert 0 < cost <= 8_000_000
    assert f"${cost / 10**9:f}".rstrip("0") in error["message"]
    assert settled.attempts[0]["error"].startswith("the hold was not extended")


@in_loop
async def test_an_answer_that_the_hold_never_paid_for_is_not_delivered_and_is_free() -> None:
    async with World(stream(chunk("x" * 50_000), chunk(finish="stop"), DONE), **AGENT) as world:
        world.gate.most_held_nanos = 5_000_000
        reply = await world.post(agents(CHAT))
    assert (reply.status, reply.json["error"]["code"]) == (402, "insufficient_quota")
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("insufficient_quota", "none")
    assert settled.input_nanos + settled.output_nanos == 0
    assert "charged" not in reply.json["error"]["message"]


@in_loop
async def test_reasoning_that_a_surface_withholds_is_held_for_as_it_comes() -> None:
    delta = {"reasoning_content": "x" * PART}
    part = chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
    thoughts = [each for _ in range(200) for each in (part, 0.002)]
    script = stream(*thoughts, chunk("y"), chunk(finish="stop"), DONE)
    async with World(script, **AGENT) as world:
        world.gate.most_held_nanos = 8_000_000
        reply = await world.post(agents(CHAT), "/ide/v1/chat/completions")
        await asyncio.wait_for(world.upstream.closed.wait(), 30)
    assert (reply.status, reply.json["error"]["code"]) == (402, "insufficient_quota")
    settled = world.gate.only
    assert 0 < settled.output_tokens * 4 <= (8_000_000 - prompt_nanos(world)) // OUTPUT_NANOS
    assert f"${cost_of(settled):f}".rstrip("0") in reply.json["error"]["message"]


@in_loop
async def test_what_is_there_at_last_is_held_and_passed_on() -> None:
    """The last slice is the rest of the balance; it is asked for more once that is used up."""
    async with World(parts(60), **AGENT) as world:
        world.gate.most_held_nanos = 8_000_000
        task, _ = world.begin(agents(CHAT))
        await eventually_async(lambda: len(world.gate.extensions) >= 1)
        world.gate.most_held_nanos = None  # a payment came
        await task
    assert world.gate.only.outcome == "completed"


@in_loop
async def test_an_answer_ends_if_the_ledger_is_away_for_long() -> None:
    async with World(parts(60), **AGENT) as world:
        task, reply = world.begin(agents(CHAT))
        await eventually_async(lambda: reply.body != b"")
        world.gate.is_away = True
        await task
    assert reply.events[-1]["error"]["code"] == "service_unavailable"
    assert world.gate.only.outcome == "service_unavailable"
    assert world.gate.only.output_tokens == text_bytes(reply) // 4


@in_loop
async def test_an_answer_ends_if_its_hold_has_expired() -> None:
    async with World(parts(60), **AGENT) as world:
        world.gate.extension_code, world.gate.most_held_nanos = "ended", 0
        reply = await world.post(agents(CHAT))
    assert reply.events[-1]["error"]["code"] == "service_unavailable"


@in_loop
async def test_a_client_that_disconnects_while_its_hold_grows_pays_for_what_it_has() -> None:
    async with World(parts(60), **AGENT) as world:
        world.gate.extensions_wait = asyncio.Event()
        task, reply = world.begin(agents(CHAT))
        await eventually_async(lambda: text_bytes(reply) >= 900)
        task.cancel()
        await asyncio.wait([task])
        world.gate.extensions_wait.set()
    settled = world.gate.only
    assert settled.outcome == "client_closed"
    assert text_bytes(reply) // 4 <= settled.output_tokens <= SLICE
    assert settled.input_nanos + settled.output_nanos <= first_hold(world)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("fields", "world_fields"),
    [
        ({}, {"limits": {"hold_slice_tokens": 0}}),
        ({}, {"hides_reasoning": True}),
        ({}, {"upstream": {"drains_on_disconnect": True}}),
        ({}, {"output_modalities": ("text", "image")}),
        ({"max_tokens": SLICE}, {}),
    ],
    ids=["setting", "hidden reasoning", "drains", "images", "short"],
)
@in_loop
async def test_some_streams_and_all_plain_answers_hold_for_all_of_their_output(
    fields: dict[str, Any], world_fields: dict[str, Any], streamed: bool
) -> None:
    script = parts(1) if streamed else answer(completion())
    async with World(script, **(AGENT | world_fields)) as world:
        await world.post(agents(CHAT, stream=streamed, **fields))
    output = fields.get("max_tokens", 128_000)
    assert output * OUTPUT_NANOS < first_hold(world) < output * OUTPUT_NANOS + 500_000


@in_loop
async def test_a_message_whose_thinking_an_upstream_keeps_holds_for_all_of_its_output() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2_000, "display": "omitted"}
    for dialect, most in (("anthropic_messages", 128_000), ("openai_chat", SLICE)):
        async with World(parts(1), upstream={"dialect": dialect}, **AGENT) as world:
            await world.post(agents(MESSAGES, thinking=thinking), MESSAGES)
        assert most * OUTPUT_NANOS < first_hold(world) < most * OUTPUT_NANOS + 500_000


@in_loop
async def test_a_model_that_is_billed_for_more_than_its_text_holds_for_all_from_then_on() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 600, "total_tokens": 620}
    async with World(parts(5, usage), **AGENT) as world:
        for _ in range(2):
            await world.post(agents(CHAT))
        first, second = world.gate.admissions
    assert first.amount_nanos < 5_000_000
    assert second.amount_nanos > 128_000 * OUTPUT_NANOS


@in_loop
async def test_a_stream_without_a_limit_gets_one_that_the_whole_balance_pays_for() -> None:
    async with World(parts(1), **AGENT) as world:
        world.gate.available_nanos = 10_000_000
        await world.post(body(stream=True))
    left = world.gate.available_nanos + SLICE * OUTPUT_NANOS
    assert world.upstream.calls[0]["max_tokens"] == left // OUTPUT_NANOS


@pytest.mark.parametrize(("available", "is_lowered"), [(10_000_000, True), (50_000_000, False)])
@in_loop
async def test_a_messages_limit_is_lowered_only_where_the_balance_pays_for_little(
    available: int, is_lowered: bool
) -> None:
    async with World(parts(1), **AGENT) as world:
        world.gate.available_nanos = available
        await world.post(agents(MESSAGES), MESSAGES)
    assert (world.upstream.calls[0]["max_tokens"] < 128_000) == is_lowered


@in_loop
async def test_a_request_that_costs_nothing_has_no_hold_that_grows() -> None:
    free = (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC)),)
    async with World(parts(30), prices=free, **AGENT) as world:
        reply = await world.post(agents(CHAT))
    assert text_bytes(reply) == 3_000
    assert (first_hold(world), world.gate.extensions) == (0, [])


@in_loop
async def test_a_whole_answer_in_place_of_a_stream_is_held_for_before_it_is_passed_on() -> None:
    text = json.dumps(completion("x" * 5_000)).encode()
    whole = raw(
        b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: "
        + str(len(text)).encode()
        + b"\r\n\r\n"
        + text
    )
    async with World(whole, **AGENT) as world:
        reply = await world.post(agents(CHAT))
    assert text_bytes(reply) == 5_000
    (extension,) = world.gate.extensions
    assert extension.minimum_nanos == prompt_nanos(world) + (5_000 + UNSEEN) * OUTPUT_NANOS


@in_loop
async def test_a_drained_answer_is_read_as_far_as_its_hold_pays() -> None:
    async with World(parts(200), limits={"max_cancellations": 1}, **AGENT) as world:
        for _ in range(2):
            task, reply = world.begin(agents(CHAT))
            await eventually_async(lambda reply=reply: text_bytes(reply) >= 300)
            task.cancel()
            await asyncio.wait([task])
        await eventually_async(lambda: len(world.gate.settlements) == 2)
    settled = world.gate.settlements[-1]
    assert settled.outcome == "client_closed"
    assert settled.output_tokens > 300 // 4
    assert settled.input_nanos + settled.output_nanos <= world.gate.admissions[-1].amount_nanos

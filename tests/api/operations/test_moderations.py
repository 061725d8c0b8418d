"""Moderations: what is asked, what is held and charged, and what of an answer passes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import Prices
from tests.api.gateway.upstream import answer, raw
from tests.api.gateway.world import Reply, World, cost_of, in_loop
from tests.support.waiting import eventually_async

Json = dict[str, Any]

REQUEST_NANOS = 1_000_000
TOKEN_NANOS = 20
PICTURE = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}


def prices(**rates: Any) -> tuple[Prices]:
    return (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC), **rates),)


FREE = {"kind": "moderation", "prices": prices()}
BY_REQUEST = {"kind": "moderation", "prices": prices(request_nanos=REQUEST_NANOS)}
BY_TOKEN = {"kind": "moderation", "prices": prices(input_nanos_per_million=TOKEN_NANOS * 10**6)}


def verdicts(count: int = 1, **fields: Any) -> Json:
    """Return an answer as an upstream gives it."""
    result = {
        "flagged": True,
        "categories": {"violence": True},
        "category_scores": {"violence": 0.9},
        "category_applied_input_types": {"violence": ["text"]},
    }
    return {"id": "modr-1", "model": "upstream-model", "results": [result] * count, **fields}


async def check(world: World, given: Any = "Hi", **fields: Any) -> Reply:
    body = {"model": "public-model", "input": given, **fields}
    return await world.post(body, "/v1/moderations")


@pytest.mark.parametrize(
    ("given", "results"),
    [
        ("Hi", 1),
        (["a", "b", ""], 3),
        ([{"type": "text", "text": "a"}, PICTURE], 1),
    ],
)
@in_loop
async def test_the_results_pass_as_they_come(given: Any, results: int) -> None:
    takes = {"input_modalities": ("text", "image")}
    async with World(answer(verdicts(results)), **BY_REQUEST, **takes) as world:
        reply = await check(world, given)
    assert reply.json == {**verdicts(results), "model": "public-model"}
    assert reply.headers["x-request-cost"] == "0.001000000"
    assert world.upstream.calls == [{"model": "upstream-model", "input": given}]
    assert world.upstream.heads[0].startswith("POST /v1/moderations ")
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "moderations",
        "completed",
        "upstream",
    )
    assert settled.units_nanos == world.gate.admissions[0].amount_nanos == REQUEST_NANOS


@in_loop
async def test_a_model_may_be_free_and_need_not_be_named() -> None:
    async with World(answer(verdicts()), **FREE) as world:
        reply = await check(world, model=None)
    assert (reply.status, reply.json["model"]) == (200, "public-model")
    assert reply.headers["x-request-cost"] == "0.000000000"
    assert world.gate.only.model == "public-model"
    assert world.upstream.calls[0]["model"] == "upstream-model"


@in_loop
async def test_without_a_model_for_it_one_must_be_named() -> None:
    async with World(answer(verdicts())) as world:
        reply = await check(world, model=None)
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["param"]) == (
        400,
        "missing_required_parameter",
        "model",
    )


@pytest.mark.parametrize(
    ("usage", "source", "tokens"),
    [
        ({"prompt_tokens": 25, "total_tokens": 25}, "upstream", 25),
        ({"input_tokens": 25}, "upstream", 25),
        ({"prompt_tokens": 10**9}, "estimated", 20),
        ({"prompt_tokens": 89}, "estimated", 88),
        ({"prompt_tokens": -1}, "estimated", 20),
        ({"prompt_tokens": "25"}, "estimated", 20),
        ([], "estimated", 20),
        (None, "estimated", 20),
    ],
)
@in_loop
async def test_tokens_are_charged_where_they_can_be_true(
    usage: Any, source: str, tokens: int
) -> None:
    async with World(answer(verdicts(2, usage=usage)), **BY_TOKEN) as world:
        reply = await check(world, ["x" * 40, "y" * 40])
    settled = world.gate.only
    shown = {"prompt_tokens": tokens, "total_tokens": tokens}
    assert reply.json["usage"] == {**shown, "cost": cost_of(settled)}
    assert (settled.source, settled.input_nanos) == (source, tokens * TOKEN_NANOS)
    named = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    kept = [f"input={named!r}"] if source == "estimated" and named else None
    assert settled.attempts[-1].get("rejected_usage") == kept
    assert world.gate.admissions[0].amount_nanos == (80 + 2 * 4) * TOKEN_NANOS


@in_loop
async def test_a_picture_is_held_for_at_its_most() -> None:
    takes = {"input_modalities": ("text", "image"), "tokens_per_image": 500}
    async with World(answer(verdicts()), **BY_TOKEN, **takes) as world:
        await check(world, [PICTURE])
    assert world.gate.admissions[0].amount_nanos == 504 * TOKEN_NANOS


@pytest.mark.parametrize(
    "made",
    [
        verdicts(0),
        verdicts(2),
        verdicts(results=[{"categories": {}}]),
        verdicts(results=[{"flagged": "no"}]),
        {"error": {"message": "no"}},
        b"nonsense",
    ],
)
@in_loop
async def test_an_answer_without_a_result_for_each_input_is_none_and_free(made: Any) -> None:
    async with World(answer(made), **BY_REQUEST) as world:
        reply = await check(world)
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("none", 0)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"given": None}, "invalid_type", "input"),
        ({"given": []}, "invalid_value", "input"),
        ({"given": [5]}, "invalid_type", "input[0]"),
        ({"given": ["a", {"type": "text", "text": "b"}]}, "invalid_type", "input[1]"),
        ({"given": [{"type": "sound"}]}, "invalid_value", "input[0].type"),
        ({"given": [PICTURE]}, "unsupported_parameter", "input[0]"),
        ({"given": ["a"] * 2_049}, "invalid_value", "input"),
        ({"stream": True}, "unsupported_parameter", "stream"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(fields: Json, code: str, param: str) -> None:
    async with World(answer(verdicts()), **BY_REQUEST) as world:
        reply = await check(world, **fields)
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_client_that_disconnects_pays_for_what_it_sent_and_stops_the_upstream() -> None:
    async with World(raw(5.0), **BY_TOKEN) as world:
        body = {"model": "public-model", "input": "x" * 400}
        task = asyncio.get_running_loop().create_task(world.send(body, Reply(), "/v1/moderations"))
        await eventually_async(lambda: world.upstream.calls)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.input_tokens) == (
        "client_closed",
        "estimated",
        100,
    )

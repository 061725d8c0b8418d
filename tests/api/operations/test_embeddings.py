"""Embeddings: what is asked, what is held and charged, and what of an answer passes."""

import asyncio
import base64
import struct
from typing import Any

import pytest
import structlog

from tests.api.gateway.upstream import answer, raw
from tests.api.gateway.world import Reply, World, cost_of, in_loop
from tests.support.waiting import eventually_async

Json = dict[str, Any]

MODEL = {"kind": "embedding", "context_tokens": 8_191, "max_output_tokens": 0}
VECTOR = [0.5, -0.25, 0.125]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


def embeddings(*vectors: Any, **fields: Any) -> Json:
    """Return an answer as an upstream gives it."""
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 500, "total_tokens": 500}
    return {"object": "list", "data": data, "model": "upstream-model", "usage": usage, **fields}


def without_input(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if name != "input"}


async def embed(world: World, given: Any = "Hi", **fields: Any) -> Reply:
    body = {"model": "public-model", "input": given, **fields}
    return await world.post(body, "/v1/embeddings")


@pytest.mark.parametrize("vector", [VECTOR, PACKED])
@in_loop
async def test_vectors_pass_as_they_come_and_only_input_is_charged(vector: Any) -> None:
    async with World(answer(embeddings(vector)), **MODEL) as world:
        reply = await embed(world, "x" * 2_000, encoding_format="float", novelty=1)
        sent = world.upstream.calls[0]
    assert reply.json == {
        **embeddings(vector),
        "model": "public-model",
        "usage": {"prompt_tokens": 500, "total_tokens": 500, "cost": 0.00035},
    }
    assert reply.headers["x-request-cost"] == "0.000350000"
    assert sent == {
        "model": "upstream-model",
        "input": "x" * 2_000,
        "encoding_format": "float",
    }
    assert world.upstream.heads[0].startswith("POST /v1/embeddings ")
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "embeddings",
        "completed",
        "upstream",
    )
    assert (settled.input_tokens, settled.output_tokens) == (500, 0)
    assert (settled.input_nanos, settled.output_nanos) == (500 * 700, 0)


@pytest.mark.parametrize(
    ("given", "inputs", "likely"),
    [
        ("x" * 80, 1, 20),
        (["x" * 80, "y" * 40], 2, 30),
        ([1, 2, 3], 1, 3),
        ([[1, 2, 3], [4]], 2, 4),
    ],
)
@in_loop
async def test_every_form_of_input_is_counted_and_held(
    given: Any, inputs: int, likely: int
) -> None:
    sent = answer(embeddings(*[VECTOR] * inputs, usage=None))
    async with World(sent, **MODEL) as world:
        reply = await embed(world, given)
    admission, settled = world.gate.admissions[0], world.gate.only
    assert reply.status == 200
    assert admission.tokens == likely
    assert admission.minimum_nanos == admission.amount_nanos >= likely * 700
    assert (settled.source, settled.input_tokens, settled.input_nanos) == (
        "estimated",
        likely,
        likely * 700,
    )
    tokens = {"prompt_tokens": likely, "total_tokens": likely}
    assert reply.json["usage"] == {**tokens, "cost": cost_of(settled)}


@pytest.mark.parametrize(
    "usage",
    [
        {},
        [],
        {"prompt_tokens": -1},
        {"prompt_tokens": "5"},
        {"prompt_tokens": 0},
        {"prompt_tokens": 10**9},
    ],
)
@in_loop
async def test_usage_that_can_not_be_true_is_estimated(usage: Any) -> None:
    async with World(answer(embeddings(VECTOR, usage=usage)), **MODEL) as world:
        await embed(world, "x" * 80)
    assert (world.gate.only.source, world.gate.only.input_tokens) == ("estimated", 20)


@pytest.mark.parametrize(("beyond", "charged"), [(0, "upstream"), (1, "estimated")])
@in_loop
async def test_a_prompt_above_what_was_sent_is_charged_at_its_bound_and_kept(
    beyond: int, charged: str
) -> None:
    async with World(answer(embeddings(VECTOR)), **MODEL) as world:
        await embed(world, "x" * 80)
        held = world.gate.admissions[0].amount_nanos // 700
    # What was held for, and what upstreams add by themselves.
    reported = held + 1_024 + beyond
    usage = {"prompt_tokens": reported, "total_tokens": reported}
    async with World(answer(embeddings(VECTOR, usage=usage)), **MODEL) as world:
        with structlog.testing.capture_logs() as logs:
            reply = await embed(world, "x" * 80)
    settled = world.gate.only
    assert (settled.source, settled.input_tokens) == (charged, held + 1_024)
    assert reply.json["usage"]["prompt_tokens"] == held + 1_024
    kept = [f"prompt_tokens={reported}", f"total_tokens={reported}"] if beyond else None
    assert settled.attempts[-1].get("rejected_usage") == kept
    assert [each["event"] for each in logs].count("usage_rejected") == beyond


@pytest.mark.parametrize(
    "made",
    [
        embeddings(),
        embeddings(VECTOR),
        embeddings(VECTOR, VECTOR, VECTOR),
        embeddings(VECTOR, None),
        embeddings(VECTOR, []),
        embeddings(VECTOR, ""),
        embeddings(VECTOR, {"a": 1}),
        embeddings(VECTOR, ["a"]),
        {**embeddings(VECTOR, VECTOR), "data": embeddings(VECTOR, VECTOR)["data"][::-1]},
        {"error": {"message": "no"}},
        b"nonsense",
    ],
)
@in_loop
async def test_an_answer_without_a_vector_for_each_input_in_order_is_none(made: Any) -> None:
    async with World(answer(made), **MODEL) as world:
        reply = await embed(world, ["a", "b"])
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert (world.gate.only.outcome, world.gate.only.source) == ("upstream_error", "none")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": None}, "invalid_type", "input"),
        ({"input": ""}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": ["a", ""]}, "invalid_value", "input[1]"),
        ({"input": ["a", 5]}, "invalid_type", "input[1]"),
        ({"input": [1, "a"]}, "invalid_type", "input[1]"),
        ({"input": [-1]}, "invalid_value", "input[0]"),
        ({"input": [[1], []]}, "invalid_value", "input[1]"),
        ({"input": [True]}, "invalid_type", "input[0]"),
        ({"input": ["a"] * 2_049}, "invalid_value", "input"),
        ({"input": [[1] * 8_192]}, "context_length_exceeded", "input"),
        ({"dimensions": 0}, "invalid_value", "dimensions"),
        ({"encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"stream": True}, "unsupported_parameter", "stream"),
        ({"dimensions": 5}, "unsupported_parameter", "dimensions"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(fields: Json, code: str, param: str) -> None:
    refused = {"refused_parameters": ("dimensions",)}
    async with World(answer(embeddings(VECTOR)), **MODEL, **refused) as world:
        reply = await embed(world, **{"given": fields.get("input", "Hi"), **without_input(fields)})
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_model_of_another_kind_makes_no_embeddings_and_the_reverse() -> None:
    async with World(answer(embeddings(VECTOR))) as world:
        refused = await embed(world)
    async with World(answer(embeddings(VECTOR)), **MODEL) as world:
        chat = await world.chat()
    for reply in (refused, chat):
        assert (reply.status, reply.json["error"]["param"]) == (400, "model")


@in_loop
async def test_a_client_that_disconnects_pays_for_the_prompt_and_stops_the_upstream() -> None:
    async with World(raw(5.0), **MODEL) as world:
        reply = Reply()
        body = {"model": "public-model", "input": "x" * 400}
        task = asyncio.get_running_loop().create_task(world.send(body, reply, "/v1/embeddings"))
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


@in_loop
async def test_a_bad_moment_is_tried_again_and_charged_once() -> None:
    async with World(answer(b"{}", 503), answer(embeddings(VECTOR)), **MODEL) as world:
        reply = await embed(world)
    assert reply.status == 200
    assert [attempt["status"] for attempt in world.gate.only.attempts] == [503, 200]


@in_loop
async def test_fields_of_nobodys_pass_where_the_route_says_so() -> None:
    route = {"passes_unknown_fields": True}
    async with World(answer(embeddings(VECTOR)), route=route, **MODEL) as world:
        await embed(world, "x", novelty=1, service_tier="priority")
        assert world.upstream.calls[0]["novelty"] == 1
        assert "service_tier" not in world.upstream.calls[0]


@in_loop
async def test_an_upstream_without_embeddings_is_our_mistake_and_costs_nothing() -> None:
    upstream = {"dialect": "anthropic_messages"}
    async with World(answer(embeddings(VECTOR)), upstream=upstream, **MODEL) as world:
        reply = await embed(world, "x")
        assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
        assert world.upstream.calls == []
        assert world.gate.only.input_nanos == 0

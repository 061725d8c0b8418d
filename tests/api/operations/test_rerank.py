"""Reranking: what is asked, what is held and charged, and what of an answer passes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from api.operations.rerank import search_units
from billing.pricing.rates import Prices
from tests.api.gateway.upstream import answer, raw
from tests.api.gateway.world import Reply, World, cost_of, in_loop
from tests.support.waiting import eventually_async

Json = dict[str, Any]

UNIT_NANOS = 2_000_000
TOKEN_NANOS = 20
DOCUMENTS = ["Paris is in France.", "Berlin is not.", {"title": "Rome", "text": "In Italy."}]


def prices(**rates: Any) -> tuple[Prices]:
    return (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC), **rates),)


BY_UNIT = {"kind": "rerank", "prices": prices(extra={"search_unit": UNIT_NANOS})}
BY_TOKEN = {"kind": "rerank", "prices": prices(input_nanos_per_million=TOKEN_NANOS * 10**6)}
BY_BOTH = {
    "kind": "rerank",
    "prices": prices(
        input_nanos_per_million=TOKEN_NANOS * 10**6, extra={"search_unit": UNIT_NANOS}
    ),
}

RESULTS = [
    {"index": 0, "relevance_score": 0.98},
    {"index": 2, "relevance_score": 0.5},
    {"index": 1, "relevance_score": 0.01},
]
COHERE = {
    "id": "r-1",
    "results": RESULTS,
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}
JINA = {
    "model": "upstream-model",
    "usage": {"total_tokens": 30, "prompt_tokens": 30},
    "results": [{**each, "document": {"text": "x"}} for each in RESULTS],
}


async def rank(world: World, path: str = "/v1/rerank", **fields: Any) -> Reply:
    body = {"model": "public-model", "query": "Which is in France?", "documents": DOCUMENTS}
    return await world.post({**body, **fields}, path)


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/api/v1/rerank", "/v2/rerank"])
@in_loop
async def test_coheres_answer_passes_and_its_search_units_are_charged(path: str) -> None:
    async with World(answer(COHERE), **BY_UNIT) as world:
        reply = await rank(world, path, novelty=1)
    assert reply.json == {
        "id": "r-1",
        "model": "public-model",
        "results": RESULTS,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        "usage": {"prompt_tokens": 0, "total_tokens": 0, "cost": 0.002},
    }
    assert reply.headers["x-request-cost"] == "0.002000000"
    (sent,) = world.upstream.calls
    assert sent == {
        "model": "upstream-model",
        "query": "Which is in France?",
        "documents": DOCUMENTS,
    }
    assert world.upstream.heads[0].startswith("POST /v1/rerank ")
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "rerank",
        "completed",
        "upstream",
    )
    assert settled.lines == (("search_unit", 1, UNIT_NANOS, 1, UNIT_NANOS),)
    assert settled.units_nanos == world.gate.admissions[0].amount_nanos == UNIT_NANOS


@in_loop
async def test_jinas_answer_passes_and_its_tokens_are_charged() -> None:
    async with World(answer(JINA), **BY_TOKEN) as world:
        reply = await rank(world)
    tokens = {"prompt_tokens": 30, "total_tokens": 30}
    assert reply.json["usage"] == {**tokens, "cost": cost_of(world.gate.only)}
    assert reply.json["meta"]["tokens"] == {"input_tokens": 30}
    assert reply.json["results"][0] == {
        "index": 0,
        "relevance_score": 0.98,
        "document": {"text": "x"},
    }
    assert reply.json["id"].startswith("rerank-")
    settled = world.gate.only
    assert (settled.source, settled.input_tokens, settled.input_nanos) == (
        "upstream",
        30,
        30 * TOKEN_NANOS,
    )


@in_loop
async def test_units_and_tokens_are_charged_together_where_both_have_a_price() -> None:
    made = {**COHERE, "meta": {"billed_units": {"search_units": 1.0, "input_tokens": 40}}}
    async with World(answer(made), **BY_BOTH) as world:
        await rank(world)
    settled = world.gate.only
    assert (settled.source, settled.input_nanos, settled.units_nanos) == (
        "upstream",
        40 * TOKEN_NANOS,
        UNIT_NANOS,
    )


@pytest.mark.parametrize(
    "made",
    [
        {"results": RESULTS[::-1]},
        {"data": RESULTS},
        {
            "results": [
                {"index": each["index"], "score": each["relevance_score"]} for each in RESULTS
            ]
        },
    ],
    ids=["worst first", "Voyage's", "score"],
)
@in_loop
async def test_other_forms_of_a_ranking_are_brought_into_the_one(made: Json) -> None:
    async with World(answer({**COHERE, "results": [], **made}), **BY_UNIT) as world:
        reply = await rank(world)
    assert reply.json["results"] == RESULTS


@pytest.mark.parametrize(
    ("wanted", "given", "shown"),
    [
        (True, None, DOCUMENTS[2]),
        (True, {"text": "y"}, {"text": "y"}),
        (True, "y", {"text": "y"}),
        (None, None, None),
        (None, {"text": "y"}, {"text": "y"}),
        (False, {"text": "y"}, None),
    ],
)
@in_loop
async def test_documents_come_where_they_are_wanted(
    wanted: bool | None, given: Any, shown: Any
) -> None:
    made = {**COHERE, "results": [{"index": 2, "relevance_score": 1, "document": given}]}
    async with World(answer(made), **BY_UNIT) as world:
        reply = await rank(world, return_documents=wanted)
    assert reply.json["results"][0].get("document") == shown


@in_loop
async def test_more_results_than_were_asked_for_are_not_given() -> None:
    async with World(answer(COHERE), **BY_UNIT) as world:
        reply = await rank(world, top_n=2)
    assert reply.json["results"] == RESULTS[:2]


@pytest.mark.parametrize("units", [None, 0, -1, "1", 1.5, 10**9, [], True])
@in_loop
async def test_units_that_can_not_be_true_are_estimated(units: Any) -> None:
    made = {**COHERE, "meta": {"billed_units": {"search_units": units}}}
    async with World(answer(made), **BY_UNIT) as world:
        reply = await rank(world)
    assert reply.json["meta"]["billed_units"] == {"search_units": 1}
    settled = world.gate.only
    assert (settled.source, settled.units_nanos) == ("estimated", UNIT_NANOS)


@pytest.mark.parametrize("tokens", [None, 0, -5, "30", 10**9])
@in_loop
async def test_tokens_that_can_not_be_true_are_estimated(tokens: Any) -> None:
    made = {**JINA, "usage": {"total_tokens": tokens}}
    async with World(answer(made), **BY_TOKEN) as world:
        await rank(world, query="q" * 40, documents=["d" * 400, "e" * 80, "f" * 40])
    settled = world.gate.only
    # The query is read with each document: 3 x 40 + 400 + 80 + 40 bytes.
    assert (settled.source, settled.input_tokens) == ("estimated", 160)
    assert world.gate.admissions[0].tokens == 160
    assert world.gate.admissions[0].amount_nanos == (640 + 3 * 4) * TOKEN_NANOS


@in_loop
async def test_a_figure_above_what_the_bytes_can_be_is_charged_at_the_bound_and_kept() -> None:
    documents = {"query": "q" * 40, "documents": ["d" * 400, "e" * 80, "f" * 40]}
    async with World(answer({**JINA, "usage": {"total_tokens": 900}}), **BY_TOKEN) as world:
        await rank(world, **documents)
    settled = world.gate.only
    assert (settled.source, settled.input_tokens) == ("estimated", 640 + 3 * 4)
    assert settled.input_nanos == world.gate.admissions[0].amount_nanos
    assert settled.attempts[-1]["rejected_usage"] == ["input=900"]
    made = {**COHERE, "meta": {"billed_units": {"search_units": 900}}}
    async with World(answer(made), **BY_UNIT) as world:
        await rank(world, **documents)
    settled = world.gate.only
    assert (settled.source, settled.units_nanos) == ("estimated", UNIT_NANOS)
    assert settled.attempts[-1]["rejected_usage"] == ["search_unit=900"]


@in_loop
async def test_an_estimate_is_within_the_hold_whatever_the_row_says_of_a_token() -> None:
    async with World(answer({**JINA, "usage": None}), bytes_per_token=0.5, **BY_TOKEN) as world:
        await rank(world, documents=["d"] * 3)
    held = world.gate.admissions[0].amount_nanos
    assert world.gate.only.source == "estimated"
    assert 0 < world.gate.only.input_nanos <= held


@pytest.mark.parametrize(
    ("query", "documents", "units"),
    [
        (10, [10], 1),
        (10, [10] * 100, 1),
        (10, [10] * 101, 2),
        (100, [400] * 100, 1),
        (100, [401] * 100, 2),
        (0, [50_000], 1),
        (0, [50_001], 2),
    ],
)
def test_long_documents_are_several_of_the_hundred_in_a_search_unit(
    query: int, documents: list[int], units: int
) -> None:
    assert search_units(query, documents) == units


@in_loop
async def test_the_hold_bounds_the_units_by_the_bytes() -> None:
    made = {**COHERE, "meta": {"billed_units": {"search_units": 2}}}
    async with World(answer(made), **BY_UNIT) as world:
        await rank(world, query="q", documents=["d" * 1_000] * 60)
    # 60 documents of 1,001 bytes have at most three parts each; likely they have one.
    assert world.gate.admissions[0].amount_nanos == 2 * UNIT_NANOS
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("upstream", 2 * UNIT_NANOS)


@pytest.mark.parametrize(
    "made",
    [
        {**COHERE, "results": []},
        {**COHERE, "results": [*RESULTS, RESULTS[0]]},
        {**COHERE, "results": [{"index": 3, "relevance_score": 1}]},
        {**COHERE, "results": [{"index": -1, "relevance_score": 1}]},
        {**COHERE, "results": [{"relevance_score": 1}]},
        {**COHERE, "results": [{"index": 0}]},
        {**COHERE, "results": "none"},
        {"error": {"message": "no"}},
        {"message": "no"},
        b"nonsense",
    ],
)
@in_loop
async def test_an_answer_that_ranks_other_documents_is_none_and_free(made: Any) -> None:
    async with World(answer(made), **BY_UNIT) as world:
        reply = await rank(world)
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert (world.gate.only.outcome, world.gate.only.source) == ("upstream_error", "none")
    assert world.gate.only.units_nanos == 0


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"query": None}, "invalid_type", "query"),
        ({"query": ""}, "invalid_value", "query"),
        ({"documents": None}, "invalid_type", "documents"),
        ({"documents": []}, "invalid_value", "documents"),
        ({"documents": ["a", 5]}, "invalid_type", "documents[1]"),
        ({"documents": ["a", {"number": 5}]}, "invalid_value", "documents[1]"),
        ({"documents": [""] * 10_001}, "invalid_value", "documents"),
        ({"top_n": 0}, "invalid_value", "top_n"),
        ({"return_documents": "yes"}, "invalid_type", "return_documents"),
        ({"stream": True}, "unsupported_parameter", "stream"),
        ({"rank_fields": ["a"]}, "unsupported_parameter", "rank_fields"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(fields: Json, code: str, param: str) -> None:
    async with World(answer(COHERE), refused_parameters=("rank_fields",), **BY_UNIT) as world:
        reply = await rank(world, **fields)
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_model_of_another_kind_is_refused_and_one_without_a_price_is_not_sold() -> None:
    async with World(answer(COHERE)) as world:
        refused = await rank(world)
    async with World(answer(COHERE), kind="rerank", prices=prices()) as world:
        unpriced = await rank(world)
    async with World(
        answer(COHERE), kind="rerank", prices=prices(extra={"search_unit": 0})
    ) as world:
        free = await rank(world)
    assert (refused.status, refused.json["error"]["param"]) == (400, "model")
    assert unpriced.status == 503
    assert (free.status, free.headers["x-request-cost"]) == (200, "0.000000000")


@in_loop
async def test_a_client_that_disconnects_pays_for_what_it_sent_and_stops_the_upstream() -> None:
    async with World(raw(5.0), **BY_BOTH) as world:
        body = {"model": "public-model", "query": "q" * 40, "documents": ["d" * 360]}
        task = asyncio.get_running_loop().create_task(world.send(body, Reply(), "/v1/rerank"))
        await eventually_async(lambda: world.upstream.calls)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    settled = world.gate.only
    assert (settled.outcome, settled.source) == ("client_closed", "estimated")
    assert (settled.input_nanos, settled.units_nanos) == (100 * TOKEN_NANOS, UNIT_NANOS)


@in_loop
async def test_a_bad_moment_is_tried_again_and_charged_once() -> None:
    async with World(answer(b"{}", 503), answer(COHERE), **BY_UNIT) as world:
        reply = await rank(world)
    assert reply.status == 200
    assert [attempt["status"] for attempt in world.gate.only.attempts] == [503, 200]
    assert world.gate.only.units_nanos == UNIT_NANOS

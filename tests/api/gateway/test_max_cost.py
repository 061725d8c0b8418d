"""A request's maximum cost: it bounds the hold, the output and the charge, in every dialect."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.gateway.max_cost import LARGEST_DOLLARS, usage_within
from billing.ledger.gate import Settlement
from billing.pricing.charge import Usage, charge_of
from billing.pricing.money import dollars_short_text
from billing.pricing.rates import ContextTier, Prices
from tests.api.gateway.test_growing_holds import AGENT, agents, parts, text_bytes
from tests.api.gateway.upstream import DONE, answer, chunk, completion, stream
from tests.api.gateway.world import Reply, World, body, cost_of, in_loop

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
TEXT_PATHS = [CHAT, MESSAGES, RESPONSES, "/v1/completions"]
INPUT_NANOS, OUTPUT_NANOS = 700, 2_500
MAX_NANOS = 3_000_000  # enough for a thousand tokens of output
MAX_DOLLARS = dollars_short_text(MAX_NANOS)


def charged_nanos(settled: Settlement) -> int:
    return round(cost_of(settled) * 10**9)


def asked(path: str, **fields: Any) -> dict[str, Any]:
    """Return a request for a long answer."""
    if path == "/v1/completions":
        return {"model": "public-model", "prompt": "Hi", "max_tokens": 128_000, **fields}
    return agents(path, **{"stream": False, **fields})


def error_in(reply: Reply, path: str = CHAT) -> dict[str, Any]:
    found: dict[str, Any] = reply.json["error"]
    return found


@pytest.mark.parametrize("place", ["header", "field", "text field"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("path", TEXT_PATHS)
@in_loop
async def test_it_bounds_the_hold_and_the_output(path: str, streamed: bool, place: str) -> None:
    script = parts(1) if streamed else answer(completion())
    if path == "/v1/completions":
        script = stream(chunk(choices=[{"index": 0, "text": "Hi", "finish_reason": "stop"}]), DONE)
        if not streamed:
            choices = [{"index": 0, "text": "Hi", "finish_reason": "stop"}]
            script = answer({**completion(), "object": "text_completion", "choices": choices})
    named = {"header": {}, "field": {"max_cost": 0.003}, "text field": {"max_cost": "0.0030"}}
    headers = {"x-max-cost": " 0.003 "} if place == "header" else {}
    async with World(script, route={"passes_unknown_fields": True}, **AGENT) as world:
        request = asked(path, stream=streamed, **named[place])
        reply = await world.post(request, path, headers=headers)
        await world.post(asked(path, stream=streamed), path)
    assert reply.status == 200
    bounded, unbounded = world.gate.admissions
    limits = [call["max_tokens"] for call in world.upstream.calls]
    assert 900 < limits[0] < 1_200
    assert limits[1] == 128_000
    # The limit is the largest that the maximum pays for; a stream holds less of it at first.
    if not streamed:
        assert bounded.amount_nanos > MAX_NANOS - OUTPUT_NANOS
        assert unbounded.amount_nanos > MAX_NANOS
        assert bounded.tokens < unbounded.tokens
    assert bounded.amount_nanos <= MAX_NANOS
    assert bounded.minimum_nanos <= bounded.amount_nanos
    assert "max_cost" not in world.upstream.calls[0]
    assert charged_nanos(world.gate.settlements[0]) <= MAX_NANOS


@in_loop
async def test_the_lower_of_header_and_body_counts() -> None:
    async with World(answer(completion()), **AGENT) as world:
        for header, field in (("0.003", 1), ("1", "0.003")):
            await world.post(asked(CHAT, max_cost=field), headers={"x-max-cost": header})
    assert {each.amount_nanos for each in world.gate.admissions} < set(range(MAX_NANOS + 1))


@in_loop
async def test_a_larger_maximum_changes_nothing() -> None:
    async with World(answer(completion()), **AGENT) as world:
        await world.post(asked(CHAT), headers={"x-max-cost": str(LARGEST_DOLLARS)})
        await world.post(asked(CHAT))
    first, second = world.gate.admissions
    assert (first.amount_nanos, first.tokens) == (second.amount_nanos, second.tokens)


@pytest.mark.parametrize(
    "value",
    [
        *(0, "0", "0.000", -1, "-0.05", "0.0000000001", 1e-10, "", "x", "1e-3", "0,05", "$1", "٣"),
        *("NaN", "Infinity", 1_000_001, "99999999999999999999", 1e300, True, [], {}, ["1", "2"]),
    ],
    ids=repr,
)
@in_loop
async def test_what_is_no_amount_is_refused_with_what_to_do(value: Any) -> None:
    async with World(answer(completion())) as world:
        replies = [(await world.post(body(max_cost=value)), "max_cost")]
        if isinstance(value, str) and value.isascii() and value:
            replies.append((await world.post(body(), headers={"x-max-cost": value}), "X-Max-Cost"))
        bad_key = {"authorization": "Bearer sk-x"}
        stranger = await world.post(body(max_cost=value), headers=bad_key)
    for reply, place in replies:
        assert reply.status == 400
        assert (error_in(reply)["code"], error_in(reply)["param"]) == ("invalid_max_cost", place)
        assert "0.05" in error_in(reply)["message"]
    assert stranger.status == 401
    assert (world.gate.admissions, world.upstream.calls) == ([], [])


@pytest.mark.parametrize(
    ("path", "suffix"), [(path, "") for path in TEXT_PATHS] + [(CHAT, "/quote")]
)
@in_loop
async def test_a_prompt_that_costs_more_is_refused_with_the_least_amount(
    path: str, suffix: str
) -> None:
    async with World(answer(completion()), **AGENT) as world:
        reply = await world.post(asked(path, max_cost="0.000001"), path + suffix)
        assert (reply.status, world.gate.admissions, world.upstream.calls) == (400, [], [])
        message = error_in(reply)["message"]
        assert path == MESSAGES or error_in(reply)["code"] == "max_cost_too_low"
        least = message.partition("at least $")[2].partition(". ")[0]
        below = f"{float(least) - 1e-9:.9f}"
        assert (await world.post(asked(path, max_cost=below), path)).status == 400
        await world.post(asked(path, max_cost=least), path)
        (admission,) = world.gate.admissions
    assert dollars_short_text(admission.amount_nanos) == least
    assert world.upstream.calls[0]["max_tokens"] == 16


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@in_loop
async def test_a_stream_that_disregards_its_limit_ends_with_a_bill_of_what_was_delivered(
    path: str,
) -> None:
    async with World(parts(600), **AGENT) as world:
        reply = await world.post(agents(path, max_cost=MAX_DOLLARS), path)
        await asyncio.wait_for(world.upstream.closed.wait(), 30)
    end = reply.events[-1]
    error = end["error"] if path == MESSAGES else end.get("error") or end["response"]["error"]
    # Codex takes an unknown code for one to try again.
    assert error["code"] == ("invalid_prompt" if path == RESPONSES else "max_cost_reached")
    settled = world.gate.only
    assert (settled.outcome, settled.status) == ("max_cost_reached", 400)
    assert 0 < text_bytes(reply) < 20_000
    assert f"${dollars_short_text(charged_nanos(settled))} " in error["message"]
    assert 0 < charged_nanos(settled) <= MAX_NANOS
    assert all(each.amount_nanos <= MAX_NANOS for each in world.gate.extensions)


@in_loop
async def test_a_stream_that_does_not_grow_ends_there_as_well() -> None:
    async with World(parts(600), upstream={"drains_on_disconnect": True}, **AGENT) as world:
        reply = await world.post(agents(CHAT, max_cost=MAX_DOLLARS))
    assert reply.events[-1]["error"]["code"] == "max_cost_reached"
    assert charged_nanos(world.gate.only) <= MAX_NANOS
    assert world.gate.extensions == []


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@in_loop
async def test_an_upstream_that_bills_for_more_is_charged_up_to_it_and_shown(
    streamed: bool,
) -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 50_000, "total_tokens": 50_500}
    script = answer(completion(usage=usage))
    if streamed:
        script = stream(chunk("Hi", finish="stop"), chunk(choices=[], usage=usage), DONE)
    async with World(script, **AGENT) as world:
        fields = {"stream_options": {"include_usage": True}} if streamed else {}
        reply = await world.post(asked(CHAT, stream=streamed, max_cost=MAX_DOLLARS, **fields))
    shown = reply.events[-2]["usage"] if streamed else reply.json["usage"]
    settled = world.gate.only
    assert MAX_NANOS - OUTPUT_NANOS < charged_nanos(settled) <= MAX_NANOS
    assert shown["completion_tokens"] == settled.output_tokens < 50_000
    assert round(shown["cost"] * 10**9) == charged_nanos(settled)
    assert settled.attempts[-1]["rejected_usage"]


@pytest.mark.parametrize(
    ("path", "request_fields"),
    [
        ("/v1/embeddings", {"input": "Hi"}),
        ("/v1/images/generations", {"prompt": "A cat", "n": 2}),
        ("/v1/videos/generations", {"prompt": "A cat"}),
        ("/v1/audio/speech", {"input": "Hi", "voice": "a"}),
        ("/v1/moderations", {"input": "Hi"}),
        ("/v1/rerank", {"query": "Hi", "documents": ["a", "b"]}),
    ],
    ids=["embeddings", "images", "videos", "speech", "moderations", "rerank"],
)
@in_loop
async def test_a_price_that_can_not_be_lowered_must_be_covered(
    path: str, request_fields: dict[str, Any]
) -> None:
    kinds = {"embeddings": "embedding", "images": "image", "videos": "video", "audio": "speech"}
    kind = kinds.get(path.split("/")[2], path.split("/")[2].rstrip("s"))
    async with priced_world(kind) as world:
        request = {"model": "public-model", **request_fields}
        reply = await world.post(request, path, headers={"x-max-cost": "0.000000001"})
        assert (reply.status, error_in(reply)["code"]) == (400, "max_cost_too_low")
        assert (world.gate.admissions, world.upstream.calls) == ([], [])
        least = error_in(reply)["message"].partition("at least $")[2].partition(". ")[0]
        await world.post({**request, "max_cost": least}, path)
        (admission,) = world.gate.admissions
    assert dollars_short_text(admission.amount_nanos) == least
    assert all("max_cost" not in call for call in world.upstream.calls)


@in_loop
async def test_a_form_has_it_as_a_field() -> None:
    boundary = "b"
    parts_of_form = [("model", None, b"public-model"), ("file", "a.mp3", b"x" * 10_000)]

    def form(max_cost: str) -> bytes:
        lines = b""
        for name, file, value in [*parts_of_form, ("max_cost", None, max_cost.encode())]:
            file_name = f'; filename="{file}"' if file else ""
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file_name}'
            lines += head.encode() + b"\r\n\r\n" + value + b"\r\n"
        return lines + f"--{boundary}--\r\n".encode()

    path = "/v1/audio/transcriptions"
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    async with priced_world("transcription") as world:
        refused = await world.post(form("0.000000001"), path, headers=headers)
        wrong = await world.post(form("much"), path, headers=headers)
        assert world.gate.admissions == []
        await world.post(form("1000"), path, headers=headers)
    assert error_in(refused)["code"] == "max_cost_too_low"
    assert error_in(wrong)["code"] == "invalid_max_cost"
    (call,) = world.upstream.calls
    assert "max_cost" not in call


scripts = st.fixed_dictionaries(
    {
        "path": st.sampled_from([CHAT, MESSAGES, RESPONSES]),
        "streamed": st.booleans(),
        "plain_by_stream": st.booleans(),
        "grows": st.booleans(),
        "max_nanos": st.integers(100_000, 20_000_000),
        "prompt": st.integers(1, 3_000),
        "text": st.lists(st.integers(0, 3_000), max_size=20),
        "usage": st.none()
        | st.tuples(st.integers(0, 200_000), st.integers(0, 200_000), st.integers(0, 200_000)),
        "ends": st.booleans(),
        "n": st.sampled_from([1, 1, 3]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(scripts)
def test_no_answer_is_charged_more(drawn: dict[str, Any]) -> None:
    _check_one(drawn)


@in_loop
async def _check_one(drawn: dict[str, Any]) -> None:
    usage = None
    if drawn["usage"] is not None:
        tokens_in, tokens_out, cached = drawn["usage"]
        usage = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "prompt_tokens_details": {"cached_tokens": min(cached, tokens_in)},
        }
    texts = ["x" * size for size in drawn["text"]]
    streams = drawn["streamed"] or drawn["plain_by_stream"]
    if streams:
        reported = [chunk(choices=[], usage=usage)] if usage else []
        ending = [chunk(finish="stop"), *reported, DONE]
        script = stream(*map(chunk, texts), *(ending if drawn["ends"] else ()))
    else:
        script = answer(completion("".join(texts), usage=usage))
    upstream = {} if drawn["grows"] else {"drains_on_disconnect": True}
    route = {"streams_plain_answers": drawn["plain_by_stream"], "charges_broken_streams": "always"}
    path, text = drawn["path"], "p" * drawn["prompt"]
    asks = {"input": text} if path == RESPONSES else {"messages": body(text)["messages"]}
    if path == CHAT:
        asks["n"] = drawn["n"]
    async with World(script, upstream=upstream, route=route, **AGENT) as world:
        request = agents(path, **asks, stream=drawn["streamed"])
        header = {"x-max-cost": dollars_short_text(drawn["max_nanos"])}
        await world.post(request, path, headers=header)
    held = [each.amount_nanos for each in (*world.gate.admissions, *world.gate.extensions)]
    charged = [charged_nanos(settled) for settled in world.gate.settlements]
    assert max([*held, *charged], default=0) <= drawn["max_nanos"]
    assert len(charged) == len(world.gate.admissions)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 10**10),
    st.tuples(*[st.integers(0, 10**6)] * 5),
    st.tuples(*[st.integers(0, 2 * 10**10)] * 5),
    st.integers(0, 10**6),
)
def test_a_usage_is_cut_to_what_the_maximum_pays_for_and_no_further(
    max_nanos: int, counts: tuple[int, ...], rates: tuple[int, ...], tier: int
) -> None:
    tokens_in, tokens_out, cached, reasoning, written = counts
    cached = min(cached, tokens_in)
    used = Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_tokens=cached,
        reasoning_tokens=min(reasoning, tokens_out),
        units={"cache_write": min(written, tokens_in - cached)},
    )
    prices = Prices(
        version_id=5,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        input_nanos_per_million=rates[0],
        output_nanos_per_million=rates[1],
        cached_input_nanos_per_million=rates[2],
        reasoning_nanos_per_million=rates[3],
        extra={"cache_write": rates[4]},
        context_tiers=(ContextTier(tier + 1, {"input": 2 * rates[0], "output": 3 * rates[1]}),),
    )

    def nanos_of(usage: Usage) -> int:
        return charge_of(prices, usage).total_nanos

    paid = usage_within(max_nanos, used, nanos_of)
    assert nanos_of(paid) <= max_nanos
    if nanos_of(used) <= max_nanos:
        assert paid == used
    elif paid.output_tokens and paid.output_tokens < tokens_out:
        longer = replace(paid, output_tokens=paid.output_tokens + 1)
        assert nanos_of(longer) > max_nanos or longer.reasoning_tokens < used.reasoning_tokens


def priced_world(kind: str) -> World:
    """Return a relay with a model of a kind, at a price for each of its components."""
    prices = Prices(
        version_id=5,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        input_nanos_per_million=700_000_000,
        image_nanos=10_000_000,
        second_nanos=1_000_000,
        piece_nanos=50_000_000,
        request_nanos=1_000,
        extra={"character": 15_000_000_000, "search_unit": 2_000_000},
    )
    return World(answer(json.dumps({"id": "x"}).encode()), kind=kind, prices=(prices,))

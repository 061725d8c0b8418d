"""A service tier that has a price: named, held for, sent, and charged as it was served."""

from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import ContextTier, Costs, Prices
from tests.api.gateway.upstream import USAGE, answer, chunk, completion, stream
from tests.api.gateway.world import World, in_loop

PRICES = Prices(
    version_id=5,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    input_nanos_per_million=700_000_000,
    cached_input_nanos_per_million=70_000_000,
    output_nanos_per_million=2_500_000_000,
    reasoning_nanos_per_million=2_500_000_000,
    service_tiers={"priority": 1_750_000, "flex": 500_000},
)
COSTS = Costs(
    version_id=9,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    input_nanos_per_million=1_000_000,
    service_tiers={"priority": 2_000_000},
)
# Of the 500 tokens and 1,000 that `USAGE` says: $0.70 and $2.50 a million.
PLAIN_NANOS = 2_850_000
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "upstream-model",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 500, "output_tokens": 1000, "total_tokens": 1500},
}


def charged(world: World) -> int:
    settled = world.gate.only
    return sum(line[4] for line in settled.lines)


@pytest.mark.parametrize(
    ("named", "served", "factor"),
    [
        ("priority", "priority", 1.75),
        ("priority", None, 1.75),
        ("priority", "default", 1),
        ("priority", ["odd"], 1.75),
        ("flex", "flex", 0.5),
        ("flex", "default", 0.5),
        ("auto", "flex", 0.5),
        ("auto", "priority", 1),
        (None, "default", 1),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
@in_loop
async def test_the_tier_that_was_served_is_charged_up_to_what_was_held(
    named: str | None, served: Any, factor: float, streamed: bool
) -> None:
    fields = {} if served is None else {"service_tier": served}
    script = (
        stream(
            chunk("Hello", **fields),
            chunk(finish="stop", **fields),
            chunk(choices=[], usage=USAGE, **fields),
            b"data: [DONE]\n\n",
        )
        if streamed
        else answer(completion(**fields))
    )
    # The usage is larger than its text, which a hold that grows would not cover.
    whole = {"hold_slice_tokens": 0}
    async with World(script, limits=whole, prices=(PRICES,), costs=(COSTS,)) as world:
        reply = await world.chat(service_tier=named, max_tokens=2000, stream=streamed)
    assert reply.status == 200
    sent = world.upstream.calls[0].get("service_tier")
    assert sent == (named if named in PRICES.service_tiers else None)
    assert charged(world) == PLAIN_NANOS * factor
    (admission,) = world.gate.admissions
    assert admission.amount_nanos >= charged(world)
    # What we owe is what was served, or was asked for where nothing is said.
    cost = 2 if served == "priority" or (sent == "priority" and served != "default") else 1
    assert world.gate.only.upstream_cost_nanos == 500 * cost


@in_loop
async def test_the_hold_is_that_of_the_tier() -> None:
    async with World(answer(completion()), prices=(PRICES,)) as world:
        await world.chat(max_tokens=1000)
        await world.chat(max_tokens=1000, service_tier="priority")
        await world.chat(max_tokens=1000, service_tier="flex")
    plain, fast, slow = (each.amount_nanos for each in world.gate.admissions)
    assert fast == pytest.approx(plain * 1.75, rel=0.01)
    assert slow == pytest.approx(plain * 0.5, rel=0.01)


@in_loop
async def test_a_tier_without_a_price_is_refused_by_name() -> None:
    async with World(answer(completion()), prices=(PRICES,)) as world:
        reply = await world.chat(service_tier="scale")
    assert (reply.status, reply.json["error"]["param"]) == (400, "service_tier")
    assert (world.upstream.calls, world.gate.admissions) == ([], [])


@in_loop
async def test_a_disconnect_is_charged_at_the_tier_that_was_held_for() -> None:
    """An answer without usage is estimated, at the price of what was asked for."""
    async with World(answer(completion(usage=None)), prices=(PRICES,)) as world:
        await world.chat(service_tier="priority")
    settled = world.gate.only
    assert settled.source == "estimated"
    assert {line[5:] for line in settled.lines} == {(1_750_000, 0, "priority")}


@pytest.mark.parametrize(("served", "factor"), [("priority", 1.75), ("default", 1)])
@in_loop
async def test_responses_name_it_too(served: str, factor: float) -> None:
    script = answer({**RESPONSE, "service_tier": served})
    asked = {"model": "public-model", "input": "Hi", "service_tier": "priority"}
    async with World(script, prices=(PRICES,), upstream={"dialect": "openai_responses"}) as world:
        reply = await world.post(asked, "/v1/responses")
    assert reply.status == 200
    assert reply.json["service_tier"] == served
    assert world.upstream.calls[0]["service_tier"] == "priority"
    assert charged(world) == PLAIN_NANOS * factor


@in_loop
async def test_responses_drop_a_tier_without_a_price() -> None:
    script = answer({**RESPONSE, "service_tier": "default"})
    asked = {"model": "public-model", "input": "Hi", "service_tier": "scale"}
    async with World(script, prices=(PRICES,), upstream={"dialect": "openai_responses"}) as world:
        reply = await world.post(asked, "/v1/responses")
    assert reply.status == 200
    assert "service_tier" not in reply.json
    assert "service_tier" not in world.upstream.calls[0]
    assert charged(world) == PLAIN_NANOS


@in_loop
async def test_a_bridge_says_it_where_the_upstreams_dialect_has_words_for_it() -> None:
    asked = {"model": "public-model", "input": "Hi", "service_tier": "priority"}
    async with World(answer(completion(service_tier="default")), prices=(PRICES,)) as world:
        assert (await world.post(asked, "/v1/responses")).status == 200
    assert world.upstream.calls[0]["service_tier"] == "priority"
    assert charged(world) == PLAIN_NANOS


@in_loop
async def test_a_bridge_refuses_it_where_the_upstreams_dialect_has_none() -> None:
    upstream = {"dialect": "anthropic_messages"}
    async with World(answer(completion()), prices=(PRICES,), upstream=upstream) as world:
        reply = await world.chat(service_tier="priority")
    assert (reply.status, reply.json["error"]["param"]) == (400, "service_tier")
    assert world.upstream.calls == []
    assert charged(world) == 0


@in_loop
async def test_a_messages_upstream_says_its_tier_within_the_usage() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 500, "output_tokens": 1000, "service_tier": "flex"},
    }
    upstream = {"dialect": "anthropic_messages"}
    async with World(answer(message), prices=(PRICES,), upstream=upstream) as world:
        assert (await world.chat()).status == 200
    assert charged(world) == PLAIN_NANOS * 0.5


@in_loop
async def test_a_long_prompt_is_held_and_charged_at_its_context_tier() -> None:
    tiers = (ContextTier(400, {"input": 1_400_000_000, "output": 5_000_000_000}),)
    long = Prices(
        version_id=5,
        effective_from=PRICES.effective_from,
        input_nanos_per_million=700_000_000,
        cached_input_nanos_per_million=700_000_000,
        output_nanos_per_million=2_500_000_000,
        reasoning_nanos_per_million=2_500_000_000,
        context_tiers=tiers,
    )
    async with World(answer(completion()), prices=(long,)) as world:
        await world.chat("word " * 400, max_tokens=1000)
        await world.chat("Hi", max_tokens=1000)
    long_hold, short_hold = (each.amount_nanos for each in world.gate.admissions)
    assert long_hold >= PLAIN_NANOS * 2
    # A prompt of a few bytes can't reach the tier, so that it isn't held for.
    assert short_hold < 1000 * 5_000
    assert len(world.gate.settlements) == 2
    for settled in world.gate.settlements:
        assert sum(line[4] for line in settled.lines) == PLAIN_NANOS * 2
        assert {line[5:] for line in settled.lines} == {(1_000_000, 400, "")}


@in_loop
async def test_a_messages_request_names_none() -> None:
    """Anthropic's clients can only decline a tier, so that none of theirs is held for."""
    script = answer(completion(service_tier="default"))
    messages = [{"role": "user", "content": "Hi"}]
    asked = {"model": "public-model", "messages": messages, "max_tokens": 1000}
    async with World(script, prices=(PRICES,)) as world:
        reply = await world.post({**asked, "service_tier": "priority"}, "/v1/messages")
    assert reply.status == 200
    assert "service_tier" not in world.upstream.calls[0]
    assert charged(world) == PLAIN_NANOS

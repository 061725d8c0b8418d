"""What counts against tokens per minute: what a request is granted, and on as its answer grows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api.gateway.quote import GRANTED_OUTPUT_TOKENS, LIKELY_TOKENS_PER_MESSAGE, OPEN_OUTPUT_TOKENS
from api.gateway.settlement import GROWTH_TOKENS
from billing.pricing.rates import Prices
from tests.api.gateway.upstream import DONE, answer, chunk, completion, stream
from tests.api.gateway.world import World, in_loop

# 80 bytes at 4 a token, and what a template adds around the message.
PROMPT_TOKENS = 20 + LIKELY_TOKENS_PER_MESSAGE
FREE = (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC)),)


@pytest.mark.parametrize(
    ("fields", "output_tokens", "least_output_tokens"),
    [
        ({}, OPEN_OUTPUT_TOKENS, 16),
        ({"n": 3}, 3 * OPEN_OUTPUT_TOKENS, 3 * 16),
        ({"n": 3, "max_tokens": 100}, 300, 300),
        ({"max_tokens": 7_000}, GRANTED_OUTPUT_TOKENS, GRANTED_OUTPUT_TOKENS),
    ],
)
@in_loop
async def test_each_answer_counts_what_it_is_granted(
    fields: dict[str, Any], output_tokens: int, least_output_tokens: int
) -> None:
    async with World(answer(completion())) as world:
        await world.chat("y" * 80, **fields)
    (admission,) = world.gate.admissions
    assert admission.tokens == PROMPT_TOKENS + output_tokens
    assert admission.minimum_tokens == PROMPT_TOKENS + least_output_tokens


@in_loop
async def test_a_stream_that_grows_is_counted_as_it_grows() -> None:
    part = "x" * (4 * GROWTH_TOKENS + 4)
    async with World(stream(chunk(part), chunk(part, "stop"), DONE)) as world:
        await world.chat("y" * 80, stream=True)
    tokens = [tokens for _, _, tokens in world.gate.growth]
    assert tokens == sorted(set(tokens))
    assert world.gate.growth[-1] == (
        world.gate.only.request_id,
        2,
        PROMPT_TOKENS + 2 * (GROWTH_TOKENS + 1),
    )


@in_loop
async def test_a_short_stream_is_not_reported_as_it_grows() -> None:
    async with World(stream(chunk("x" * 80, "stop"), DONE)) as world:
        await world.chat(stream=True)
    assert world.gate.growth == []


@in_loop
async def test_a_request_that_costs_nothing_names_the_clients_address() -> None:
    async with World(answer(completion()), prices=FREE) as world:
        await world.chat()
    (admission,) = world.gate.admissions
    assert (admission.amount_nanos, admission.free_address) == (0, "127.0.0.1")
    assert (admission.free_requests_per_minute, admission.free_tokens_per_minute) == (300, 240_000)


@in_loop
async def test_a_request_that_is_paid_for_names_no_address() -> None:
    async with World(answer(completion())) as world:
        await world.chat()
    assert world.gate.admissions[0].free_address is None

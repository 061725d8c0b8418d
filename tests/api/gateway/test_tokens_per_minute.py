"""What counts against tokens per minute: what a request is granted, and on as its answer grows."""

from typing import Any

import pytest

from api.gateway.quote import GRANTED_OUTPUT_TOKENS
from api.gateway.settlement import GROWTH_TOKENS
from tests.api.gateway.upstream import DONE, answer, chunk, completion, stream
from tests.api.gateway.world import World, in_loop


@pytest.mark.parametrize(
    ("fields", "output_tokens", "least_output_tokens"),
    [
        ({}, GRANTED_OUTPUT_TOKENS, 16),
        ({"n": 3}, 3 * GRANTED_OUTPUT_TOKENS, 3 * 16),
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
    assert admission.tokens == 20 + output_tokens
    assert admission.minimum_tokens == 20 + least_output_tokens


@in_loop
async def test_a_stream_that_grows_is_counted_as_it_grows() -> None:
    part = "x" * (4 * GROWTH_TOKENS + 4)
    async with World(stream(chunk(part), chunk("y"), chunk(part, "stop"), DONE)) as world:
        await world.chat("y" * 80, stream=True)
    assert world.gate.growth == [
        (world.gate.only.request_id, 2, 20 + GROWTH_TOKENS + 1),
        (world.gate.only.request_id, 2, 20 + 2 * GROWTH_TOKENS + 3),
    ]


@in_loop
async def test_a_short_stream_is_not_reported_as_it_grows() -> None:
    async with World(stream(chunk("x" * 80, "stop"), DONE)) as world:
        await world.chat(stream=True)
    assert world.gate.growth == []

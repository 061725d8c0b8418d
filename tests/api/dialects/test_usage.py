"""Usage objects of every dialect: what is charged, and what the client is shown of them."""

from typing import Any

import pytest

from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, in_loop

Json = dict[str, Any]


@pytest.mark.parametrize(
    "usage",
    [
        # Anthropic's own names: read and written beside the input, no total.
        {"input_tokens": 40, "output_tokens": 5, "cache_read_input_tokens": 60},
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 30,
        },
        # Its names in OpenAI's form, beside and within.
        {"prompt_tokens": 40, "completion_tokens": 5, "cache_read_input_tokens": 60},
        {
            "prompt_tokens": 40,
            "completion_tokens": 5,
            "total_tokens": 105,
            "cache_read_input_tokens": 60,
        },
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 40,
        },
        # A total that says that the cached ones are beside.
        {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 105, "cached_tokens": 60},
        {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cached_tokens": 60},
        # Details without the count leave the other places.
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"audio_tokens": 0},
            "prompt_cache_hit_tokens": 60,
        },
    ],
)
@in_loop
async def test_100_tokens_of_input_of_which_60_were_cached(usage: Json) -> None:
    async with World(answer(completion(usage=usage))) as world:
        shown = (await world.chat()).json["usage"]
    settled = world.gate.only
    assert settled.source == "upstream"
    assert (settled.input_tokens, settled.cached_tokens) == (100, 60)
    assert (settled.input_nanos, settled.cached_nanos) == (40 * 700, 60 * 70)
    assert shown == {
        **usage,
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "total_tokens": 105,
        "prompt_tokens_details": {
            **usage.get("prompt_tokens_details", {}),
            "cached_tokens": 60,
        },
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt_tokens_details": {"cached_tokens": 101}},
        {"prompt_tokens_details": {"cached_tokens": 101}, "total_tokens": 105},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_cache_hit_tokens": 101},
        {"cached_tokens": 10**9},
        {"cached_tokens": 1.5},
        {"cached_tokens": True},
        {"cache_read_input_tokens": 10**9},
        {"cache_read_input_tokens": -1},
        {"cache_creation_input_tokens": 10**9},
    ],
)
@in_loop
async def test_cached_tokens_that_can_not_be_are_estimated_and_not_shown(extra: Json) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, **extra}
    async with World(answer(completion("y" * 40, usage=usage))) as world:
        shown = (await world.chat("x" * 80)).json["usage"]
    settled = world.gate.only
    assert (settled.source, settled.cached_tokens) == ("estimated", 0)
    assert (settled.input_tokens, settled.output_tokens) == (20, 10)
    assert shown == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


@in_loop
async def test_usage_that_is_as_charged_passes_as_bytes() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 40},
        "queue_time": 0.25,
    }
    sent = answer(completion(model="public-model", usage=usage))
    async with World(sent) as world:
        reply = await world.chat()
    assert reply.json["usage"] == usage
    assert world.gate.only.reasoning_tokens == 40

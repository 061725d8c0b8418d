"""22 and 29: cached prompt tokens, wherever upstreams put them, told and billed at their price."""

from typing import Any

import httpx
import pytest

from tests.acceptance.talk import events, talk_to
from tests.stack import Stack

# Answira's: input $0.475, cached input $0.08, output $2.00 per million.
MODEL = "zai-org/GLM-4.7-FP8"
PLACES = (
    "prompt_tokens_details",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
)


def ask(stack: Stack, script: str, *, stream: bool) -> tuple[httpx.Response, dict[str, Any]]:
    """Return an answer and the usage object in it."""
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = talk_to(stack).chat("/api/v1", script, model=MODEL, **options)
    told = events(answer)[-1] if stream else answer.json()
    return answer, told["usage"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a22_cached_tokens_are_told_and_billed_at_their_price(
    stack: Stack, place: str, stream: bool
) -> None:
    script = f"prompt_tokens=1000&tokens=100&cached=600&cached_place={place}"
    answer, usage = ask(stack, script, stream=stream)
    # The total (1,100) says that the cached ones are within the prompt.
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1000, 100)
    assert usage["total_tokens"] == 1100
    assert usage["prompt_tokens_details"]["cached_tokens"] == 600
    # 400 at $0.475, 600 at $0.08, 100 at $2.00: $0.00019 + $0.000048 + $0.0002.
    talk = talk_to(stack)
    assert talk.charged(answer) == 190_000 + 48_000 + 200_000
    components = ("input_nanos", "cached_nanos", "output_nanos", "source")
    row = talk.usage(answer.headers["x-request-id"], *components)
    assert row == (190_000, 48_000, 200_000, "upstream")


@pytest.mark.parametrize("stream", [False, True])
def test_a22_cached_tokens_beside_the_prompt_are_made_part_of_it(
    stack: Stack, stream: bool
) -> None:
    # More than the prompt, in Anthropic's place: they can only be beside it.
    script = "prompt_tokens=400&tokens=100&cached=600&cached_place=cache_read_input_tokens"
    answer, usage = ask(stack, script, stream=stream)
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (1000, 1100)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 600
    assert talk_to(stack).charged(answer) == 190_000 + 48_000 + 200_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        "cached=1&usage=negative",
        "cached=1&usage=huge",
        "cached=1&usage=overflow",
        "cached=1&usage=float",
        "cached=1&usage=string",
    ],
)
def test_a22_figures_that_can_not_be_true_are_estimated_and_not_told(
    stack: Stack, script: str, stream: bool
) -> None:
    answer, usage = ask(stack, f"tokens=10&{script}", stream=stream)
    figures = {name: usage[name] for name in usage if name != "cost"}
    assert figures == {"prompt_tokens": 6, "completion_tokens": 10, "total_tokens": 16}
    talk = talk_to(stack)
    assert talk.usage(answer.headers["x-request-id"], "source") == ("estimated",)
    assert talk.charged(answer) == 6 * 475 + 10 * 2_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", ["prompt_tokens_details", "prompt_cache_hit_tokens"])
def test_a22_more_cached_tokens_than_the_prompt_has_are_rejected_alone(
    stack: Stack, place: str, stream: bool
) -> None:
    script = f"prompt_tokens=400&cached=600&cached_place={place}&tokens=10"
    answer, usage = ask(stack, script, stream=stream)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (400, 10)
    assert not usage.get("prompt_tokens_details")
    assert "prompt_cache_hit_tokens" not in usage
    talk = talk_to(stack)
    assert talk.usage(answer.headers["x-request-id"], "source") == ("upstream",)
    assert talk.charged(answer) == 400 * 475 + 10 * 2_000


def test_a22_without_a_cached_price_they_cost_what_input_costs(stack: Stack) -> None:
    answer = talk_to(stack).chat(simulate="prompt_tokens=1000&cached=600&tokens=10")
    assert answer.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 600}
    assert talk_to(stack).charged(answer) == 1000 * 700 + 10 * 2_500

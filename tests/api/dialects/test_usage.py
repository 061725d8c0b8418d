"""Usage objects of every dialect: what is charged, and what the client is shown of them."""

from typing import Any

import pytest

from api.dialects.usage import Metered, UsageEvidence, meter
from billing.pricing.charge import Usage
from tests.api.dialects.limits import Limits
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, cost_of, in_loop

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
        "cost": cost_of(settled),
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
        {"cached_tokens": "60"},
        {"prompt_tokens_details": []},
        {"prompt_tokens_details": "none"},
        {"completion_tokens_details": {"reasoning_tokens": -1}},
        # More than what it is a part of, and the total says that it is a part.
        {"completion_tokens_details": {"reasoning_tokens": 6}, "total_tokens": 105},
        {"cache_read_input_tokens": 10**9},
        {"cache_read_input_tokens": -1},
        {"cache_creation_input_tokens": 10**9},
    ],
)
@in_loop
async def test_a_figure_that_can_not_be_true_is_rejected_alone_and_not_shown(extra: Json) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, **extra}
    async with World(answer(completion("y" * 40, usage=usage))) as world:
        shown = (await world.chat("x" * 80)).json["usage"]
    settled = world.gate.only
    assert (settled.source, settled.cached_tokens) == ("upstream", 0)
    assert (settled.input_tokens, settled.output_tokens) == (100, 5)
    assert not shown.pop("prompt_tokens_details", None)
    assert not shown.pop("completion_tokens_details", None)
    tokens = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    assert shown == {**tokens, "cost": cost_of(settled)}


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
    assert reply.json["usage"] == {**usage, "cost": cost_of(world.gate.only)}
    assert world.gate.only.reasoning_tokens == 40


def in_total(prompt: int, output: int, **more: Any) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        **more,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # A zero says less than a figure, whichever of the names it stands under.
        (
            in_total(90, 8, prompt_tokens_details={"cached_tokens": 0}, prompt_cache_hit_tokens=64),
            (90, 64, 8, 0),
        ),
        (
            in_total(90, 8, prompt_tokens_details={"cached_tokens": 0}, cached_tokens=64),
            (90, 64, 8, 0),
        ),
        (
            in_total(90, 8, prompt_tokens_details={"cached_tokens": 64}, prompt_cache_hit_tokens=0),
            (90, 64, 8, 0),
        ),
        # The total adds what has no name, and tells what is missing.
        ({"prompt_tokens": 90, "completion_tokens": 8, "total_tokens": 398}, (90, 0, 308, 300)),
        ({"prompt_tokens": 90, "total_tokens": 98}, (90, 0, 8, 0)),
        ({"completion_tokens": 8, "total_tokens": 98}, (90, 0, 8, 0)),
        # Reasoning beside the completion, and within it.
        (
            {
                "prompt_tokens": 90,
                "completion_tokens": 8,
                "total_tokens": 118,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (90, 0, 28, 20),
        ),
        (in_total(90, 28, completion_tokens_details={"reasoning_tokens": 20}), (90, 0, 28, 20)),
        # As some encoders of floats write them.
        ({"prompt_tokens": 90.0, "completion_tokens": 8.0, "total_tokens": 98.0}, (90, 0, 8, 0)),
        # A total that is less than its parts says nothing.
        ({"prompt_tokens": 90, "completion_tokens": 8, "total_tokens": 91}, (90, 0, 8, 0)),
    ],
)
def test_the_figures_that_say_something_are_charged(
    usage: Json, expected: tuple[int, int, int, int]
) -> None:
    metered = meter(usage, 32, Limits())
    assert metered == Metered(usage_of(*expected), False)


@pytest.mark.parametrize(
    ("usage", "expected", "rejected"),
    [
        (in_total(0, 8), (7, 0, 8, 0), ()),
        (in_total(90, 0), (90, 0, 10, 0), ()),
        ({"prompt_tokens": 90}, (90, 0, 10, 0), ()),
        ({"completion_tokens": 8}, (7, 0, 8, 0), ()),
        ({"prompt_tokens": 90, "completion_tokens": -4}, (90, 0, 10, 0), ("completion_tokens=-4",)),
        (
            {"prompt_tokens": 10**9, "completion_tokens": 8},
            (7, 0, 8, 0),
            ("prompt_tokens=1000000000",),
        ),
    ],
)
def test_what_the_figures_leave_unknown_is_estimated(
    usage: Json, expected: tuple[int, int, int, int], rejected: tuple[str, ...]
) -> None:
    metered = meter(usage, 40, Limits())
    assert metered == Metered(usage_of(*expected), False, True, rejected)


@pytest.mark.parametrize("usage", [None, [], "", {}, in_total(0, 0), in_total(100_000, 100_000)])
def test_usage_that_says_nothing_leaves_all_to_the_estimate(usage: object) -> None:
    assert meter(usage, 40, Limits()).usage is None


@pytest.mark.parametrize(
    "reports",
    [
        [in_total(90, 8), in_total(0, 0)],
        [in_total(0, 0), in_total(90, 8)],
        [in_total(90, 8), {}],
        [in_total(90, 8), None],
        [{"prompt_tokens": 90}, {"completion_tokens": 8}],
        [in_total(90, 0), in_total(90, 3), in_total(90, 8)],
        [in_total(90, 8), in_total(-1, -1)],
    ],
)
def test_later_figures_go_before_earlier_ones_unless_they_say_less(reports: list[object]) -> None:
    evidence = UsageEvidence()
    for report in reports:
        evidence.add(report)
    assert evidence.meter(32, Limits()) == Metered(usage_of(90, 0, 8, 0), False)


def test_details_of_an_earlier_report_stay() -> None:
    evidence = UsageEvidence()
    evidence.add(in_total(90, 8, prompt_tokens_details={"cached_tokens": 64}))
    evidence.add(in_total(90, 8, prompt_tokens_details=None))
    assert evidence.meter(32, Limits()).usage == usage_of(90, 64, 8, 0)


def usage_of(tokens_in: int, cached: int, output: int, reasoning: int) -> Usage:
    return Usage(
        input_tokens=tokens_in,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )

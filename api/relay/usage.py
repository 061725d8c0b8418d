"""Reads the usage that an upstream reports, whatever its dialect, and trusts no figure blindly."""

from typing import Any, NamedTuple

from api.relay.plan import Plan
from billing.pricing import Usage

# Where upstreams put the count of cached prompt tokens; the first that is there counts.
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
    ("cache_read_input_tokens",),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),
)
_INPUT = (("prompt_tokens",), ("input_tokens",))
_OUTPUT = (("completion_tokens",), ("output_tokens",))
_TOTAL = (("total_tokens",),)
_ABSENT = -1
_ABSURD = -2


class Metered(NamedTuple):
    """What an answer used. `usage` is None where the upstream's figures can't be had or true."""

    usage: Usage | None
    is_empty: bool


def meter(reported: object, text_bytes: int, plan: Plan) -> Metered:
    """Returns what an answer that came to its end used, from what the upstream `reported`.

    An answer is empty if it has no text of any kind and nothing was generated that can't be seen:
    reasoning that isn't shown, or more than the one token that ends each choice.
    """
    usage = read_usage(reported, plan)
    if text_bytes:
        return Metered(usage if usage is not None and usage.output_tokens else None, False)
    hidden = usage is not None and (
        usage.reasoning_tokens > 0 or usage.output_tokens > plan.choices
    )
    return Metered(usage, not hidden)


def read_usage(reported: object, plan: Plan) -> Usage | None:
    """Returns the usage for pricing, or None where a figure is missing or can't be true.

    A count is a whole number within what the model's context and the request's limit allow. Cached
    tokens are made part of the input and reasoning part of the output, for upstreams that count
    them beside.
    """
    if not isinstance(reported, dict):
        return None
    most = plan.model.context_tokens + plan.max_tokens * plan.choices
    counts = [
        _count(reported, places, most) for places in (_INPUT, _OUTPUT, _CACHED, _REASONING, _TOTAL)
    ]
    if _ABSURD in counts or _ABSENT in counts[:2]:
        return None
    prompt, output, cached, reasoning, total = counts
    cached, reasoning = max(cached, 0), max(reasoning, 0)
    if cached > prompt or (cached and total == prompt + cached + output):
        prompt += cached
    if reasoning > output or (reasoning and total == prompt + output + reasoning):
        output += reasoning
    if prompt + output > most:
        return None
    return Usage(
        input_tokens=prompt,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def _count(reported: dict[str, Any], places: tuple[tuple[str, ...], ...], most: int) -> int:
    """Returns the count at the first of the places that has one, else _ABSENT, or _ABSURD."""
    for place in places:
        value: Any = reported
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= most:
            return _ABSURD
        return value
    return _ABSENT

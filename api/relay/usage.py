"""Reads the usage that an upstream reports, whatever its dialect, and trusts no figure blindly."""

from typing import Annotated, NamedTuple

import msgspec

from api.relay.plan import Plan
from billing.pricing import Usage

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Reported(msgspec.Struct, gc=False):
    """The names under which upstreams report counts; the first of those for one thing counts."""

    prompt_tokens: Count | None = None
    input_tokens: Count | None = None
    completion_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count | None = None
    cached_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    reasoning_tokens: Count | None = None


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
    try:
        counts = msgspec.convert(reported, _Reported)
    except msgspec.ValidationError:
        return None
    prompt = _first(counts.prompt_tokens, counts.input_tokens)
    output = _first(counts.completion_tokens, counts.output_tokens)
    if prompt is None or output is None:
        return None
    cached, reasoning = _cached(counts), _reasoning(counts)
    if cached > prompt or (cached and counts.total_tokens == prompt + cached + output):
        prompt += cached
    if reasoning > output or (reasoning and counts.total_tokens == prompt + output + reasoning):
        output += reasoning
    if prompt + output > plan.model.context_tokens + plan.max_tokens * plan.choices:
        return None
    return Usage(
        input_tokens=prompt,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def _cached(counts: _Reported) -> int:
    details = counts.prompt_tokens_details or counts.input_tokens_details
    return (
        _first(
            details.cached_tokens if details is not None else None,
            counts.prompt_cache_hit_tokens,
            counts.cached_tokens,
            counts.cache_read_input_tokens,
        )
        or 0
    )


def _reasoning(counts: _Reported) -> int:
    details = counts.completion_tokens_details or counts.output_tokens_details
    return (
        _first(details.reasoning_tokens if details is not None else None, counts.reasoning_tokens)
        or 0
    )


def _first(*counts: int | None) -> int | None:
    """Returns the first count that is there."""
    for count in counts:
        if count is not None:
            return count
    return None

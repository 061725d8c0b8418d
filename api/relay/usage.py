"""Reads the usage that an upstream reports, whatever its dialect, and trusts no figure blindly."""

from typing import Any, NamedTuple

from api.relay.plan import Plan
from billing.pricing import Usage

# Where upstreams put the count of cached prompt tokens as a part of the prompt's: OpenAI, DeepSeek
# (its `prompt_tokens` is hits and misses), Moonshot.
_CACHED_WITHIN = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
)
# Anthropic's: beside `input_tokens`, and so are those that were written to the cache
# (docs.anthropic.com, prompt caching: total input = read + created + input_tokens).
_CACHED_BESIDE = (("cache_read_input_tokens",),)
_CACHE_WRITES = (("cache_creation_input_tokens",),)
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
    most = plan.most_tokens
    prompt, output, reasoning, total = counts = [
        _count(reported, places, most) for places in (_INPUT, _OUTPUT, _REASONING, _TOTAL)
    ]
    if _ABSURD in counts or _ABSENT in counts[:2]:
        return None
    reasoning = max(reasoning, 0)
    if reasoning > output or (reasoning and total == prompt + output + reasoning):
        output += reasoning
    read = _read_input(reported, prompt, total - output, most)
    if read is None or read[0] + output > most:
        return None
    prompt, cached = read
    return Usage(
        input_tokens=prompt,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def shown_usage(reported: object, usage: Usage) -> dict[str, Any]:
    """Returns the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    figures: dict[str, Any] = {
        **(reported if isinstance(reported, dict) else {}),
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    _show_part(figures, "prompt_tokens_details", "cached_tokens", usage.cached_tokens)
    _show_part(figures, "completion_tokens_details", "reasoning_tokens", usage.reasoning_tokens)
    return figures


def shows_as_reported(reported: object, usage: Usage) -> bool:
    """Returns whether the upstream's usage object already is what the client is to be shown."""
    return isinstance(reported, dict) and shown_usage(reported, usage) == reported


def _show_part(figures: dict[str, Any], name: str, part: str, count: int) -> None:
    """Sets a part of the figures, in a new object, if there is something to tell."""
    details = figures.get(name)
    if not isinstance(details, dict):
        details = {}
    if count or part in details:
        figures[name] = {**details, part: count}


def _read_input(
    reported: dict[str, Any], prompt: int, total_input: int, most: int
) -> tuple[int, int] | None:
    """Returns the prompt's tokens and how many of them were cached, or None if it can't be.

    `total_input` is what the upstream's total leaves for the input, if it gives one: it decides
    between cached tokens within the prompt and beside it where the place is used for both.
    """
    cached = _count(reported, _CACHED_WITHIN, most)
    if cached == _ABSENT:
        return _read_input_beside(reported, prompt, total_input, most)
    if cached == _ABSURD:
        return None
    if cached and total_input == prompt + cached:
        return prompt + cached, cached
    return (prompt, cached) if cached <= prompt else None


def _read_input_beside(
    reported: dict[str, Any], prompt: int, total_input: int, most: int
) -> tuple[int, int] | None:
    """Returns the same for an upstream that counts in Anthropic's way, if it counts at all."""
    cached = _count(reported, _CACHED_BESIDE, most)
    written = _count(reported, _CACHE_WRITES, most)
    if _ABSURD in {cached, written}:
        return None
    cached, written = max(cached, 0), max(written, 0)
    # Proxies that translate to OpenAI's form keep the name and count it within.
    if "prompt_tokens" in reported and total_input == prompt and cached + written <= prompt:
        return prompt, cached
    return prompt + cached + written, cached


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

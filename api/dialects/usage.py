"""Read the usage that an upstream reports, whatever its dialect, and trusts no figure blindly."""

from typing import Annotated, Any, NamedTuple, Protocol

import msgspec

from billing.pricing.charge import Usage
from billing.pricing.rates import Rates

Count = Annotated[int, msgspec.Meta(ge=0)]


class MeteringLimits(Protocol):
    """What bounds a usage that can be true: the request's answers and tokens."""

    @property
    def choices(self) -> int:
        """How many answers were asked for."""

    @property
    def most_tokens(self) -> int:
        """The most that prompts and answers can have together, as any upstream counts."""

    @property
    def prices(self) -> Rates:
        """The rates of the charge, which say what figures it takes."""

    @property
    def most(self) -> Usage | None:
        """The most that was held for, where the request is counted in units of its own."""


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
    cache_creation_input_tokens: Count | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    reasoning_tokens: Count | None = None


class Metered(NamedTuple):
    """What an answer used. `usage` is None where the upstream's figures can't be had or true."""

    usage: Usage | None
    is_empty: bool


def meter(reported: object, text_bytes: int, limits: MeteringLimits) -> Metered:
    """Return what an answer that came to its end used, from what the upstream `reported`.

    An answer is empty if it has no text of any kind and nothing was generated that can't be seen:
    reasoning that isn't shown, or more than the one token that ends each choice.
    """
    usage = read_usage(reported, limits)
    if text_bytes:
        return Metered(usage if usage is not None and usage.output_tokens else None, False)
    hidden = usage is not None and (
        usage.reasoning_tokens > 0 or usage.output_tokens > limits.choices
    )
    return Metered(usage, not hidden)


def read_usage(reported: object, limits: MeteringLimits) -> Usage | None:
    """Return the usage for pricing, or None where a figure is missing or can't be true.

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
    total, reasoning = counts.total_tokens, _reasoning(counts)
    if reasoning > output or (reasoning and total == prompt + output + reasoning):
        output += reasoning
    prompt, cached = _read_input(counts, prompt, None if total is None else total - output)
    if cached > prompt or prompt + output > limits.most_tokens:
        return None
    return Usage(
        input_tokens=prompt,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def shown_usage(reported: object, usage: Usage) -> dict[str, Any]:
    """Return the usage object for the client: the figures that were charged.

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
    """Return whether the upstream's usage object already is what the client is to be shown."""
    if type(reported) is not dict:
        return False
    output = usage.output_tokens
    if (
        reported.get("prompt_tokens") != usage.input_tokens
        or reported.get("completion_tokens") != output
        or reported.get("total_tokens") != usage.input_tokens + output
    ):
        return False
    if not usage.cached_tokens and not usage.reasoning_tokens:
        return True
    return shown_usage(reported, usage) == reported


def _show_part(figures: dict[str, Any], name: str, part: str, count: int) -> None:
    """Set a part of the figures, in a new object, if there is something to tell."""
    details = figures.get(name)
    if not isinstance(details, dict):
        details = {}
    if count or part in details:
        figures[name] = {**details, part: count}


def _read_input(counts: _Reported, prompt: int, total_input: int | None) -> tuple[int, int]:
    """Return the prompt's tokens, and how many of them were cached.

    `total_input` is what the upstream's total leaves for the input, if it gives one: it decides
    between cached tokens within the prompt and beside it.
    """
    details = counts.prompt_tokens_details or counts.input_tokens_details
    # OpenAI, DeepSeek (its `prompt_tokens` is hits and misses) and Moonshot count within.
    cached = _first(
        details.cached_tokens if details is not None else None,
        counts.prompt_cache_hit_tokens,
        counts.cached_tokens,
    )
    if cached is not None:
        return (prompt + cached if cached and total_input == prompt + cached else prompt), cached
    # Anthropic counts beside, and so what was written to the cache (docs.anthropic.com, prompt
    # caching: all of the input is read + created + input). Proxies that translate to OpenAI's
    # form keep the name and count within.
    cached, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    is_within = total_input == prompt and cached + written <= prompt
    if is_within and counts.prompt_tokens is not None:
        return prompt, cached
    return prompt + cached + written, cached


def _reasoning(counts: _Reported) -> int:
    details = counts.completion_tokens_details or counts.output_tokens_details
    return (
        _first(details.reasoning_tokens if details is not None else None, counts.reasoning_tokens)
        or 0
    )


def _first(*counts: int | None) -> int | None:
    """Return the first count that is there."""
    for count in counts:
        if count is not None:
            return count
    return None

"""Read the usage that an upstream reports: figures are evidence, and some of them lie.

Figures come under many names and in many places. Everything that was reported is collected first
(`UsageEvidence`), a later figure before an earlier one, and one reading of it decides (`figures`).
A figure that can't be true is rejected by itself; what it leaves unknown is estimated.
"""

from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
from msgspec import structs

from api.dialects.figures import COUNTED, Reading
from billing.pricing.charge import NO_UNITS, Usage
from billing.pricing.rates import Rates

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cache_write_tokens: None = None


class _Plain(msgspec.Struct, gc=False):
    """OpenAI's usage and no other name for the same: most upstreams', and quickly read."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: None = None
    cached_tokens: None = None
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None
    reasoning_tokens: None = None
    input_tokens: None = None
    output_tokens: None = None
    input_tokens_details: None = None
    output_tokens_details: None = None


class MeteringLimits(Protocol):
    """What bounds a usage that can be true, and estimates what wasn't reported."""

    @property
    def choices(self) -> int:
        """How many answers were asked for."""

    @property
    def most_tokens(self) -> int:
        """The most that prompts and answers can have together, as any upstream counts."""

    @property
    def most_input(self) -> int:
        """The most that the prompts can be charged as, by what was sent."""

    @property
    def prices(self) -> Rates:
        """The rates of the charge, which say what figures it takes."""

    @property
    def most_output(self) -> int:
        """The most tokens that all answers together were held for."""

    @property
    def most(self) -> Usage | None:
        """The most that was held for, where the request is counted in units of its own."""

    @property
    def likely_input(self) -> int:
        """The estimate of the prompt's tokens."""

    def likely_output(self, text_bytes: int) -> int:
        """Return the estimate of the tokens of generated text, in UTF-8 bytes."""


class Metered(NamedTuple):
    """What an answer used. `usage` is None where the upstream reported nothing of use.

    `is_estimated` says that a figure of the usage is our estimate, as the upstream's was missing or
    can't be true; `rejected` are the figures that can't be, as `name=value`. A prompt above what
    was sent can have is used at that bound.
    """

    usage: Usage | None
    is_empty: bool
    is_estimated: bool = False
    rejected: tuple[str, ...] = ()


class UsageEvidence:
    """What one answer's upstream reported of its usage, merged as it comes.

    `figures` is one object with the upstream's own names, also for what is no count. `is_credible`
    is cleared when `meter` rejected some of them. `text_bytes` is how much of a stream's text had
    come when it last reported usage.
    """

    __slots__ = ("figures", "is_credible", "text_bytes")

    def __init__(self, reported: object = None) -> None:
        self.figures: dict[str, Any] = {}
        self.is_credible = True
        self.text_bytes = 0
        self.add(reported)

    def add(self, reported: object) -> None:
        """Add a usage object. Anything else says nothing."""
        if isinstance(reported, dict):
            _merge(self.figures, reported)

    def take_from(self, answer: dict[str, Any]) -> None:
        """Add every usage in a decoded answer or chunk, wherever it stands, and remove it there.

        Beside `usage` of the whole that is in each choice (Moonshot), in `x_groq` (Groq), and
        figures without an object for them.
        """
        self.add(answer.pop("usage", None))
        choices = answer.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.add(choice.pop("usage", None))
        groq = answer.get("x_groq")
        if isinstance(groq, dict):
            self.add(groq.pop("usage", None))
        self.add({name: answer.pop(name) for name in COUNTED if name in answer})

    def meter(self, text_bytes: int, limits: MeteringLimits) -> Metered:
        """Return what an answer that came to its end used.

        Figures that can't be true are forgotten, so that they aren't shown either.
        """
        usage = _plain_usage(self.figures, limits)
        if usage is not None and (usage.output_tokens or not text_bytes):
            is_hidden = usage.reasoning_tokens or usage.output_tokens > limits.choices
            return Metered(usage, not text_bytes and not is_hidden)
        reading = Reading(self.figures, limits.most_tokens)
        metered = _metered(reading, text_bytes, limits)
        self.figures = {} if metered.usage is None else reading.credible_figures()
        self.is_credible = not metered.rejected
        return metered

    def meter_part(self, text_bytes: int, limits: MeteringLimits) -> Metered:
        """Return what an answer used that ended early, after so much text.

        That is what was reported last, such as the prompt by a stream's first event, and an
        estimate of the text that came since.
        """
        return meter_part(self.figures, self.text_bytes, text_bytes, limits)


def meter_part(
    reported: object, reported_bytes: int, text_bytes: int, limits: MeteringLimits
) -> Metered:
    """Return what an answer used that ended after `text_bytes` of text.

    `reported` is the usage that came last, when there were `reported_bytes` of it.
    """
    metered = meter(reported, reported_bytes, limits)
    usage = metered.usage
    if usage is None or text_bytes <= reported_bytes:
        return metered
    unreported = limits.likely_output(text_bytes - reported_bytes)
    output = max(usage.output_tokens, min(usage.output_tokens + unreported, limits.most_output))
    usage = structs.replace(usage, output_tokens=output)
    return metered._replace(usage=usage, is_empty=False, is_estimated=True)


def meter(reported: object, text_bytes: int, limits: MeteringLimits) -> Metered:
    """Return what an answer that came to its end used, from the one usage object `reported`."""
    return UsageEvidence(reported).meter(text_bytes, limits)


def _plain_usage(figures: dict[str, Any], limits: MeteringLimits) -> Usage | None:
    """Return the usage where nothing about it is odd, else None."""
    try:
        plain = msgspec.convert(figures, _Plain)
    except msgspec.ValidationError:
        return None
    tokens_in, output = plain.prompt_tokens, plain.completion_tokens
    into, out = plain.prompt_tokens_details, plain.completion_tokens_details
    cached = into.cached_tokens or 0 if into is not None else 0
    reasoning = out.reasoning_tokens or 0 if out is not None else 0
    if (
        not 0 < tokens_in <= limits.most_input
        or plain.total_tokens != tokens_in + output
        or plain.total_tokens > limits.most_tokens
    ):
        return None
    if cached > tokens_in or reasoning > output:
        return None
    return _usage(tokens_in, cached, output, reasoning)


def _metered(reading: Reading, text_bytes: int, limits: MeteringLimits) -> Metered:
    """Return the usage with estimates for what the figures leave unknown.

    An answer is empty if it has no text of any kind and nothing was generated that can't be seen:
    reasoning that isn't shown, or more than the one token that ends each choice.
    """
    tokens_in, output = reading.input, reading.output
    is_bounded = tokens_in is not None and tokens_in > limits.most_input
    if is_bounded:
        reading.reject_input()
        tokens_in = limits.most_input
    if text_bytes and not output:
        output = None
    if not tokens_in and limits.likely_input:
        tokens_in = None
    is_empty = not text_bytes and not reading.reasoning and (output or 0) <= limits.choices
    rejected = tuple(reading.rejected)
    if tokens_in is None and output is None:
        return Metered(None, is_empty, rejected=rejected)
    is_estimated = is_bounded or tokens_in is None or output is None
    if tokens_in is None:
        tokens_in = limits.likely_input
    if output is None:
        output = limits.likely_output(text_bytes)
    usage = _usage(tokens_in, reading.cached, output, reading.reasoning, reading.written())
    return Metered(usage, is_empty, is_estimated, rejected)


def _usage(
    tokens_in: int,
    cached: int,
    output: int,
    reasoning: int,
    written: tuple[int, int] = (0, 0),
) -> Usage:
    cached = min(cached, tokens_in)
    long = min(written[1], tokens_in - cached)
    short = min(written[0], tokens_in - cached - long)
    units = {"cache_write": short, "cache_write_1h": long} if short or long else NO_UNITS
    return Usage(
        input_tokens=tokens_in,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        units=units,
    )


def _merge(figures: dict[str, Any], more: dict[str, Any]) -> None:
    """Put later figures over earlier ones, except where they say less."""
    for name, value in more.items():
        known = figures.get(name)
        if isinstance(known, dict):
            if isinstance(value, dict):
                _merge(known, value)
        elif isinstance(value, dict):
            figures[name] = {**value}
        elif name not in figures or (value > 0 if isinstance(value, int | float) else value):
            figures[name] = value

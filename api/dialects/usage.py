"""Read the usage that an upstream reports: figures are evidence, and some of them lie.

Figures come under many names and in many places. Everything that was reported is collected first
(`UsageEvidence`), and one reading of it decides (`meter`): a figure that says something goes before
zeros, a later one before an earlier one, and the total is a cross-check that tells whether parts
are counted within or beside their wholes, and adds what nobody names, such as Gemini's thinking. A
figure that can't be true is rejected by itself; what it leaves unknown is estimated.
"""

from typing import Annotated, Any, NamedTuple, Protocol

import msgspec

from billing.pricing.charge import NO_UNITS, Usage
from billing.pricing.rates import Rates

_LONGEST_NOTE = 120
Path = tuple[str, ...]

_CACHED: tuple[Path, ...] = (
    # OpenAI, DeepSeek (its `prompt_tokens` is hits and misses) and Moonshot count within.
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
)
_REASONING: tuple[Path, ...] = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "thinking_tokens"),
    ("reasoning_tokens",),
)
# Input that was written to the cache: in all (Anthropic, OpenAI, OpenRouter), and of it what stays
# for an hour and longer.
_WRITTEN: tuple[Path, ...] = (
    ("cache_creation_input_tokens",),
    ("input_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_write_tokens"),
)
_WRITTEN_LONG: Path = ("cache_creation", "ephemeral_1h_input_tokens")
_COUNTED = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")


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
    def prices(self) -> Rates:
        """The rates of the charge, which say what figures it takes."""

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
    can't be true; `rejected` are the figures that can't be, as `name=value`.
    """

    usage: Usage | None
    is_empty: bool
    is_estimated: bool = False
    rejected: tuple[str, ...] = ()


class UsageEvidence:
    """What one answer's upstream reported of its usage, merged as it comes.

    `figures` is one object with the upstream's own names, also for what is no count. `is_credible`
    is cleared when `meter` rejected some of them.
    """

    __slots__ = ("figures", "is_credible")

    def __init__(self, reported: object = None) -> None:
        self.figures: dict[str, Any] = {}
        self.is_credible = True
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
        self.add({name: answer.pop(name) for name in _COUNTED if name in answer})

    def meter(self, text_bytes: int, limits: MeteringLimits) -> Metered:
        """Return what an answer that came to its end used.

        Figures that can't be true are forgotten, so that they aren't shown either.
        """
        usage = _plain_usage(self.figures, limits.most_tokens)
        if usage is not None and (usage.output_tokens or not text_bytes):
            is_hidden = usage.reasoning_tokens or usage.output_tokens > limits.choices
            return Metered(usage, not text_bytes and not is_hidden)
        reading = _Reading(self.figures, limits.most_tokens)
        metered = _metered(reading, text_bytes, limits)
        self.figures = {} if metered.usage is None else reading.credible_figures()
        self.is_credible = not metered.rejected
        return metered


def meter(reported: object, text_bytes: int, limits: MeteringLimits) -> Metered:
    """Return what an answer that came to its end used, from the one usage object `reported`."""
    return UsageEvidence(reported).meter(text_bytes, limits)


def read_usage(reported: object, limits: MeteringLimits) -> Usage | None:
    """Return the usage for pricing, or None where input or output is missing or can't be true.

    Cached tokens are made part of the input and reasoning part of the output, for upstreams that
    count them beside.
    """
    if not isinstance(reported, dict):
        return None
    reading = _Reading(reported, limits.most_tokens)
    if reading.input is None or reading.output is None:
        return None
    return _usage(
        reading.input, reading.cached, reading.output, reading.reasoning, reading.written()
    )


def _plain_usage(figures: dict[str, Any], most_tokens: int) -> Usage | None:
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
        not tokens_in
        or plain.total_tokens != tokens_in + output
        or plain.total_tokens > most_tokens
    ):
        return None
    if cached > tokens_in or reasoning > output:
        return None
    return _usage(tokens_in, cached, output, reasoning)


def _metered(reading: "_Reading", text_bytes: int, limits: MeteringLimits) -> Metered:
    """Return the usage with estimates for what the figures leave unknown.

    An answer is empty if it has no text of any kind and nothing was generated that can't be seen:
    reasoning that isn't shown, or more than the one token that ends each choice.
    """
    tokens_in, output = reading.input, reading.output
    if text_bytes and not output:
        output = None
    if not tokens_in and limits.likely_input:
        tokens_in = None
    is_empty = not text_bytes and not reading.reasoning and (output or 0) <= limits.choices
    rejected = tuple(reading.rejected)
    if tokens_in is None and output is None:
        return Metered(None, is_empty, rejected=rejected)
    is_estimated = tokens_in is None or output is None
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


class _Reading:
    """One reading of reported figures. `input` and `output` are None where they are unknown.

    Cached is part of the input and reasoning part of the output, whichever way they were counted.
    """

    def __init__(self, figures: dict[str, Any], most_tokens: int) -> None:
        self.rejected: list[str] = []
        self._refused: list[Path] = []
        self._figures = figures
        self._most = most_tokens
        self.cached = 0
        self.reasoning = self._telling(*_REASONING) or 0
        self.input = self._telling(("prompt_tokens",), ("input_tokens",))
        self.output = self._telling(("completion_tokens",), ("output_tokens",))
        self._total = self._count("total_tokens") or 0
        if self._total:
            self._fill_from_total()
        if self.input is not None:
            self._settle_parts(self.input, self.output or 0)
        if (self.input or 0) + (self.output or 0) > self._most:
            self._reject(*((name,) for name in _COUNTED))
            self.input = self.output = None
            self.cached = self.reasoning = 0

    def written(self) -> tuple[int, int]:
        """Return how much of the input was written to the cache: for minutes, and for an hour."""
        written, long = self._telling(*_WRITTEN) or 0, self._count(*_WRITTEN_LONG) or 0
        return max(0, written - long), long

    def credible_figures(self) -> dict[str, Any]:
        """Return what was reported, without the figures that were rejected."""
        if not self._refused:
            return self._figures
        figures = dict(self._figures)
        for *parents, name in self._refused:
            holder = figures
            for parent in parents:
                if isinstance(inner := holder.get(parent), dict):
                    inner = dict(inner)
                    holder[parent] = inner
                    holder = inner
            holder.pop(name, None)
        return figures

    def _fill_from_total(self) -> None:
        """Find the one of input and output that is missing, which the total tells."""
        total = self._total
        if not self.input and self.output is not None and total > self.output:
            if self.output or self.input is None:
                self.input = total - self.output
        elif self.output is None and self.input is not None and total >= self.input:
            self.output = total - self.input

    def _settle_parts(self, tokens_in: int, output: int) -> None:
        """Decide which parts are within and which beside, and what the total adds to them.

        What the total adds up to is believed. Without one that fits, the names decide.
        """
        inputs, cached = self._inputs(tokens_in)
        outputs = [output, output + self.reasoning] if self.reasoning else [output]
        fits = [(i, o) for i in inputs for o in outputs if i + o == self._total]
        whole = [(i, o) for i, o in fits if cached <= i and self.reasoning <= o]
        if whole:
            tokens_in, output = whole[0]
        elif fits:
            tokens_in, output = fits[0]
        else:
            tokens_in = inputs[0] if self._telling(*_CACHED) else inputs[-1]
            output = outputs[-1] if self.reasoning > output else output
            hidden = self._total - tokens_in - output
            if self.output is not None and hidden > 0:
                output += hidden
                self.reasoning += hidden
        if cached > tokens_in:
            self._reject(*_CACHED, ("cache_read_input_tokens",))
            cached = 0
        if self.reasoning > output:
            self._reject(*_REASONING)
            self.reasoning = 0
        self.input, self.cached = tokens_in, cached
        if self.output is not None:
            self.output = output

    def _inputs(self, prompt: int) -> tuple[list[int], int]:
        """Return what the whole input may be, the likeliest first, and its cached tokens."""
        cached = self._telling(*_CACHED)
        if cached:
            return [prompt, prompt + cached], cached
        # Anthropic counts beside, and so what was written to the cache (docs.anthropic.com, prompt
        # caching: all of the input is read + created + input). Proxies that translate to OpenAI's
        # form keep the name and count within.
        cached = self._count("cache_read_input_tokens") or 0
        written = self._count("cache_creation_input_tokens") or 0
        beside = prompt + cached + written
        if self._figures.get("prompt_tokens") and cached + written <= prompt:
            return [prompt, beside], cached
        return [beside], cached

    def _telling(self, *paths: Path) -> int | None:
        """Return the first figure that isn't zero, or a zero, or None where there is no figure."""
        counts = [self._count(*path) for path in paths]
        for count in counts:
            if count:
                return count
        return 0 if 0 in counts else None

    def _count(self, *path: str) -> int | None:
        """Return a figure that can be a number of tokens, or None."""
        value: Any = self._figures
        for depth, name in enumerate(path):
            if not isinstance(value, dict):
                self._reject(path[:depth])
                return None
            value = value.get(name)
            if value is None:
                return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value <= self._most:
            self._reject(path)
            return None
        return value

    def _reject(self, *paths: Path) -> None:
        """Note figures that can't be true. Those that aren't there, or are zero, say nothing."""
        for path in paths:
            value: Any = self._figures
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None and value != 0 and path not in self._refused:
                self._refused.append(path)
                self.rejected.append(f"{'.'.join(path)}={value!r}"[:_LONGEST_NOTE])


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

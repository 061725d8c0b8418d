"""One reading of the figures that an upstream reported: which are believed, and what they mean.

A figure that says something goes before zeros. The total is a cross-check that tells whether parts
are counted within or beside their wholes, and reveals tokens without a figure of their own, such as
Gemini's thinking.
"""

from typing import Any

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
COUNTED = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")


class Reading:
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
            self._reject(*((name,) for name in COUNTED))
            self.input = self.output = None
            self.cached = self.reasoning = 0

    def written(self) -> tuple[int, int]:
        """Return how much of the input was written to the cache: for minutes, and for an hour."""
        written, long = self._telling(*_WRITTEN) or 0, self._count(*_WRITTEN_LONG) or 0
        return max(0, written - long), long

    def reject_input(self) -> None:
        """Reject the figures of the input, for one that what was sent can't have."""
        parts = ("cache_read_input_tokens",), ("cache_creation_input_tokens",)
        self._reject(("prompt_tokens",), ("input_tokens",), ("total_tokens",), *parts)

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
                self.rejected.append(rejection(".".join(path), value))


def rejection(name: str, value: object) -> str:
    """Return the note of a figure that can't be true, as records keep it."""
    return f"{name}={value!r}"[:_LONGEST_NOTE]

"""Rates, the most that a request can cost at them, and the charge for what it used.

Pure functions, from rates and counts to nano-dollars. `price_of` is the one rounding rule.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from billing.pricing.components import COMPONENTS, counter_of
from billing.pricing.money import PER_MILLION

SUMMARIES = ("input_nanos", "cached_nanos", "output_nanos", "reasoning_nanos", "units_nanos")

TEXT = ("input", "cached_input", "output", "reasoning")

Counter = Callable[[Any], int]

# Component, quantity, rate_nanos, per, amount_nanos: as a usage record keeps it, in JSON.
Line = tuple[str, int, int, int, int]

NO_UNITS: Mapping[str, int] = MappingProxyType({})


def price_of(quantity: int, rate_nanos: int, per: int = PER_MILLION) -> int:
    """Return what `quantity` costs at `rate_nanos` for each `per`, in nano-dollars, half up.

    This is the only place where an amount of money is rounded.
    """
    return (quantity * rate_nanos + per // 2) // per


class Term(NamedTuple):
    """A component as a charge reckons it: the count less its parts' counts, times the rate.

    `place` is that of its summary column in `SUMMARIES`.
    """

    component: str
    count: Counter
    parts: tuple[Counter, ...]
    rate_nanos: int
    per: int
    place: int


class Bound(msgspec.Struct, frozen=True, gc=False):
    """The most that a component and its parts cost, whatever the split between them.

    `rate_nanos` is the highest of their rates. `slack_nanos` is by how much parts that are rounded
    apart can pass the rounded whole.
    """

    rate_nanos: int
    per: int
    slack_nanos: int

    def most(self, quantity: int) -> int:
        """Return the most that so many can cost, in nano-dollars.

        Where the whole at the highest rate rounds to nothing, so does every part of it.
        """
        whole = price_of(quantity, self.rate_nanos, self.per)
        return whole + self.slack_nanos if whole else 0


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What each component costs, in nano-dollars; tokens per million, the rest per piece.

    `extra` has the rates of the components that have no field here, by name; a name that the table
    of components does not have is left alone. `terms` and `bounds` are worked out once, for the
    charge and the quote of every request at these rates; `is_text_only` says that nothing but
    tokens of text has a price.
    """

    input_nanos_per_million: int = 0
    cached_input_nanos_per_million: int = 0
    output_nanos_per_million: int = 0
    reasoning_nanos_per_million: int = 0
    image_nanos: int = 0
    second_nanos: int = 0
    piece_nanos: int = 0
    request_nanos: int = 0
    extra: dict[str, int] = {}
    terms: tuple[Term, ...] = ()
    bounds: dict[str, Bound] = {}
    is_text_only: bool = False

    def __post_init__(self) -> None:
        """Work out the terms and the bounds, of which what is free by the piece has none."""
        force_setattr(self, "terms", tuple(_terms(self)))
        force_setattr(self, "bounds", dict(_bounds(self)))
        force_setattr(self, "is_text_only", tuple(term.component for term in self.terms) == TEXT)

    def of(self, component: str) -> int | None:
        """Return the component's rate in nano-dollars, or None where it has none of its own."""
        entry = COMPONENTS[component]
        return getattr(self, entry.rate_column) if entry.field else self.extra.get(component)

    def parts_of(self, component: str) -> list[str]:
        """Return the names of the component's parts that have a rate of their own."""
        return [
            name
            for name, entry in COMPONENTS.items()
            if entry.part_of == component and self.of(name) is not None
        ]


def _terms(rates: Rates) -> Iterator[Term]:
    for name, component in COMPONENTS.items():
        rate = rates.of(name)
        if rate or (rate == 0 and component.per > 1):
            parts = tuple(counter_of(COMPONENTS[part]) for part in rates.parts_of(name))
            place = SUMMARIES.index(component.summary)
            yield Term(name, counter_of(component), parts, rate, component.per, place)


def _bounds(rates: Rates) -> Iterator[tuple[str, Bound]]:
    """Yield the bound of each component that is no part of another and can cost something.

    Each of n parts gains at most half a nano-dollar by rounding, and their whole loses less than
    half: n // 2 in whole nano-dollars. Where each of a thing costs a whole number of nano-dollars,
    as a token does at $0.70 per million, nothing is ever rounded.
    """
    for name, component in COMPONENTS.items():
        if component.part_of:
            continue
        found = [rates.of(each) for each in (name, *rates.parts_of(name))]
        each_rate = [rate for rate in found if rate is not None]
        if any(each_rate):
            is_rounded = any(rate % component.per for rate in each_rate)
            slack = len(each_rate) // 2 if is_rounded else 0
            yield name, Bound(max(each_rate), component.per, slack)


class Prices(Rates, frozen=True, kw_only=True):
    """A price version as the relay holds it: the customer's rates, and `costs`, the upstream's.

    Where the row leaves the price of cached input or of reasoning empty, these fields repeat the
    price of input or of output.
    """

    version_id: int
    effective_from: datetime
    costs: Rates = Rates()


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request used. Cached is part of input, reasoning is part of output.

    `units` counts the components that have no field here, by name.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: int = 0
    pieces: int = 0
    requests: int = 1
    units: Mapping[str, int] = NO_UNITS


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What usage costs: a line for each component, and their sums.

    The sums are by column of a usage record, and in all. What is counted and free has no line.
    Amounts are nano-dollars.
    """

    lines: list[Line] = []
    input_nanos: int = 0
    cached_nanos: int = 0
    output_nanos: int = 0
    reasoning_nanos: int = 0
    units_nanos: int = 0
    total_nanos: int = 0


NOTHING_USED = Usage(requests=0)
NO_CHARGE = Charge()


def quote(
    rates: Rates,
    *,
    input_tokens_max: int = 0,
    output_tokens_max: int = 0,
    images: int = 0,
    seconds: int = 0,
    pieces: int = 0,
    requests: int = 1,
    units: Mapping[str, int] = {},
) -> int:
    """Return the most that a request can cost, in nano-dollars: no usage within it costs more.

    A request for `n` choices passes `n` times the output of one. `units` bounds what `Usage.units`
    counts; what is part of something else is bounded with it. However the usage is split into
    parts, such as cached input, `charge_of` a usage within these bounds is within the quote.
    """
    bounds = rates.bounds
    total = 0
    if input_tokens_max and (bound := bounds.get("input")):
        total = bound.most(input_tokens_max)
    if output_tokens_max and (bound := bounds.get("output")):
        total += bound.most(output_tokens_max)
    if rates.is_text_only:
        return total
    most = {"image": images, "second": seconds, "piece": pieces, "request": requests, **units}
    for component, quantity in most.items():
        if quantity and (bound := bounds.get(component)):
            total += bound.most(quantity)
    return total


def quote_range(
    rates: Rates, *, input_tokens_max: int, output_tokens_max: int, output_tokens_min: int
) -> tuple[int, int]:
    """Return the quotes for the most output and for the least that is worth a call."""
    most = quote(rates, input_tokens_max=input_tokens_max, output_tokens_max=output_tokens_max)
    if output_tokens_min == output_tokens_max:
        return most, most
    return most, quote(
        rates, input_tokens_max=input_tokens_max, output_tokens_max=output_tokens_min
    )


def affordable_output_tokens(
    rates: Rates, *, input_tokens_max: int, amount_nanos: int, units: Mapping[str, int] = {}
) -> int | None:
    """Return the largest `output_tokens_max` whose quote is within `amount_nanos`.

    0 where no output is affordable, be it that the rest alone costs more; None where output costs
    nothing and the rest is affordable, so that money sets no limit. All choices of a request share
    the result. The inverse of `quote` in that `quote(n) <= amount < quote(n + 1)`.
    """
    rest = amount_nanos - quote(rates, input_tokens_max=input_tokens_max, units=units)
    if rest < 0:
        return 0
    bound = rates.bounds.get("output")
    if bound is None:
        return None
    # The largest n with price_of(n) <= most, hence n * rate < (most + 1) * per - per / 2.
    most = max(rest - bound.slack_nanos, 0)
    return ((most + 1) * bound.per - bound.per // 2 - 1) // bound.rate_nanos


def charge_and_cost(prices: Prices, usage: Usage) -> tuple[Charge, int]:
    """Return the customer's charge, and what the upstream asks of us for it, in nano-dollars."""
    return charge_of(prices, usage), charge_of(prices.costs, usage).total_nanos


def charge_of(rates: Rates, usage: Usage) -> Charge:
    """Return the charge for the usage, each component rounded by itself.

    Expects counts that are not negative, and parts within their wholes, as cached within input; the
    reader of the upstream's usage sees to that (a negative amount would be a gift).
    """
    if rates.is_text_only:
        return _charge_of_text(rates, usage)
    lines: list[Line] = []
    sums = [0, 0, 0, 0, 0, 0]  # by column, and the total
    for component, count, parts, rate_nanos, per, place in rates.terms:
        quantity = count(usage) - sum([count_part(usage) for count_part in parts])
        if quantity:
            amount_nanos = price_of(quantity, rate_nanos, per)
            sums[place] += amount_nanos
            sums[-1] += amount_nanos
            lines.append((component, quantity, rate_nanos, per, amount_nanos))
    return Charge(lines, *sums)


def _charge_of_text(rates: Rates, usage: Usage) -> Charge:
    """Return what the loop of `charge_of` does, unrolled: for most requests, in half the time.

    A property test holds the two against each other.
    """
    lines: list[Line] = []
    input_nanos = cached_nanos = output_nanos = reasoning_nanos = 0
    cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
    if quantity := usage.input_tokens - cached:
        rate = rates.input_nanos_per_million
        input_nanos = price_of(quantity, rate)
        lines.append(("input", quantity, rate, PER_MILLION, input_nanos))
    if cached:
        rate = rates.cached_input_nanos_per_million
        cached_nanos = price_of(cached, rate)
        lines.append(("cached_input", cached, rate, PER_MILLION, cached_nanos))
    if quantity := usage.output_tokens - reasoning:
        rate = rates.output_nanos_per_million
        output_nanos = price_of(quantity, rate)
        lines.append(("output", quantity, rate, PER_MILLION, output_nanos))
    if reasoning:
        rate = rates.reasoning_nanos_per_million
        reasoning_nanos = price_of(reasoning, rate)
        lines.append(("reasoning", reasoning, rate, PER_MILLION, reasoning_nanos))
    total_nanos = input_nanos + cached_nanos + output_nanos + reasoning_nanos
    return Charge(
        lines, input_nanos, cached_nanos, output_nanos, reasoning_nanos, total_nanos=total_nanos
    )

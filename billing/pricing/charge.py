"""The most that a request can cost at a price, and the charge for what it used.

Pure functions, from rates and counts to nano-dollars. `price_of` is the one rounding rule.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from billing.pricing.money import PER_MILLION

if TYPE_CHECKING:
    from billing.pricing.rates import Costs, Prices, Rates

# A factor of 1. Factors are integers, in millionths.
ONE = 1_000_000

# What upstreams call the tier of a request that was served at the standard price.
STANDARD_TIERS = frozenset({"default", "standard"})

# Component, quantity, rate_nanos, per, amount_nanos, as a usage record stores it in JSON. With a
# factor or a tier, factor_millionths, above_input_tokens and service_tier follow, and at a contract
# price also the contract's id.
Line = (
    tuple[str, int, int, int, int]
    | tuple[str, int, int, int, int, int, int, str]
    | tuple[str, int, int, int, int, int, int, str, int]
)

NO_UNITS: Mapping[str, int] = MappingProxyType({})


def price_of(quantity: int, rate_nanos: int, per: int = PER_MILLION) -> int:
    """Return what `quantity` costs at `rate_nanos` for each `per`, in nano-dollars, half up.

    This is the only place where an amount of money is rounded. A factor multiplies the rate, and
    `ONE` the `per`: the product is rounded once.
    """
    return (quantity * rate_nanos + per // 2) // per


class Bound(msgspec.Struct, frozen=True, gc=False):
    """The most that a component and its parts cost, whatever the split between them.

    `rate_nanos` is the highest of their rates. `slack_nanos` is how much the sum of separately
    rounded parts can exceed the rounded whole. A factor is included in `rate_nanos` and `per`.
    """

    rate_nanos: int
    per: int
    slack_nanos: int

    def most(self, quantity: int) -> int:
        """Return the most that `quantity` can cost, in nano-dollars.

        Where the whole at the highest rate rounds to nothing, so does every part of it.
        """
        whole = price_of(quantity, self.rate_nanos, self.per)
        return whole + self.slack_nanos if whole else 0


class ChargeLine(NamedTuple):
    """A `Line` with its defaults filled in: `ChargeLine(*line)`."""

    component: str
    quantity: int
    rate_nanos: int
    per: int
    amount_nanos: int
    factor_millionths: int = ONE
    above_input_tokens: int = 0
    service_tier: str = ""
    contract: int = 0


class AttemptCost(msgspec.Struct, frozen=True, gc=False):
    """What an upstream charges us for one attempt at a request, as a usage record stores it.

    `route_cost` is the version of the route's cost that the lines' rates are from.
    """

    upstream: str
    route_cost: int
    amount_nanos: int
    lines: Sequence[tuple[Any, ...]]  # each a `Line`; msgspec decodes no union of tuples


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a request used. Cached is part of input, reasoning is part of output.

    `units` counts the components that have no field here, by name. `service_tier` is the tier that
    the upstream says it served the request at.
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
    service_tier: str = ""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What usage costs: a line for each component, and their sums.

    The sums are by column of a usage record, and the total. What is counted but free has no line.
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
    rates: "Rates",
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
    parts, such as cached input, `charge_of` a usage within these bounds is within the quote. The
    most expensive of the context tiers that the input can reach counts.
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
    if rates.steps:
        return max(
            quote(
                step,
                input_tokens_max=input_tokens,
                output_tokens_max=output_tokens_max,
                requests=0,
                units=most,
            )
            for step, input_tokens in rates.within(input_tokens_max)
        )
    for component, quantity in most.items():
        if quantity and (bound := bounds.get(component)):
            total += bound.most(quantity)
    return total


def quote_parts(
    rates: "Rates", quantities: Mapping[str, int], input_tokens_max: int = 0
) -> dict[str, int]:
    """Return what `quote` adds up, in nano-dollars by component.

    `quantities` has the most of each component, except of input tokens.
    """
    if rates.steps:
        within = rates.within(input_tokens_max)
        found = [quote_parts(step, quantities, input_tokens) for step, input_tokens in within]
        return max(found, key=lambda parts: sum(parts.values()))
    most = {"input": input_tokens_max, **quantities}
    return {
        name: bound.most(quantity)
        for name, quantity in most.items()
        if quantity and (bound := rates.bounds.get(name))
    }


def quote_range(
    rates: "Rates", *, input_tokens_max: int, output_tokens_max: int, output_tokens_min: int
) -> tuple[int, int]:
    """Return the quotes for the most output and for the least that is worth a call."""
    most = quote(rates, input_tokens_max=input_tokens_max, output_tokens_max=output_tokens_max)
    if output_tokens_min == output_tokens_max:
        return most, most
    return most, quote(
        rates, input_tokens_max=input_tokens_max, output_tokens_max=output_tokens_min
    )


def affordable_output_tokens(
    rates: "Rates", *, input_tokens_max: int, amount_nanos: int, units: Mapping[str, int] = {}
) -> int | None:
    """Return the largest `output_tokens_max` whose quote is within `amount_nanos`.

    0 where no output is affordable, for instance because the rest alone costs more; None where
    output is free and the rest is affordable, so money sets no limit. All choices of a request
    share the result. The inverse of `quote`: `quote(n) <= amount < quote(n + 1)`.
    """
    if rates.steps:
        limits = [
            affordable_output_tokens(
                step, input_tokens_max=input_tokens, amount_nanos=amount_nanos, units=units
            )
            for step, input_tokens in rates.within(input_tokens_max)
        ]
        return min([limit for limit in limits if limit is not None], default=None)
    rest = amount_nanos - quote(rates, input_tokens_max=input_tokens_max, units=units)
    if rest < 0:
        return 0
    bound = rates.bounds.get("output")
    if bound is None:
        return None
    # The largest n with price_of(n) <= most, hence n * rate < (most + 1) * per - per / 2.
    most = max(rest - bound.slack_nanos, 0)
    return ((most + 1) * bound.per - bound.per // 2 - 1) // bound.rate_nanos


def charge_and_cost(prices: "Prices", costs: "Costs | None", usage: Usage) -> tuple[Charge, Charge]:
    """Return what the customer pays us, and what we pay the upstream.

    `prices` are those of the service tier that credits were held for. If the upstream says that it
    served another tier, the lower of the two prices is charged, and the cost is the served tier's.
    `costs` are those of the route that was used, whatever the tier; None where they are unknown.
    """
    charged, tier = prices, prices.service_tier
    if usage.service_tier:
        served = usage.service_tier.lower()
        # A tier that is neither priced nor the standard one is ignored.
        if (
            served in STANDARD_TIERS
            or served in prices.service_tiers
            or (costs is not None and served in costs.service_tiers)
        ):
            tier = served
            if (at_served := prices.at_service_tier(served)).multiplier_millionths < (
                prices.multiplier_millionths
            ):
                charged = at_served
    charge = charge_of(charged, usage)
    if costs is None:
        return charge, NO_CHARGE
    if tier != costs.service_tier:
        costs = costs.at_service_tier(tier)
    return charge, charge_of(costs, usage)


def charge_of(rates: "Rates", usage: Usage) -> Charge:
    """Return the charge for the usage, each component rounded separately.

    Expect counts that are not negative, and parts within their wholes, as cached within input; the
    parser of the upstream's usage ensures that (a negative amount would be a credit). The whole
    input determines the context tier, and the tier all of the rates.
    """
    if rates.is_text_only:
        return _charge_of_text(rates, usage)
    if rates.steps:
        rates = rates.at_input(usage.input_tokens)
    notes = rates.notes
    lines: list[Any] = []
    sums = [0, 0, 0, 0, 0, 0]  # by column, and the total
    for component, count, parts, rate_nanos, per, times, unit, place in rates.terms:
        quantity = count(usage)
        if parts:
            quantity -= sum([count_part(usage) for count_part in parts])
        if quantity:
            amount_nanos = price_of(quantity, times, unit)
            sums[place] += amount_nanos
            sums[-1] += amount_nanos
            line = (component, quantity, rate_nanos, per, amount_nanos)
            lines.append(line + notes if notes else line)
    return Charge(lines, *sums)


def _charge_of_text(rates: "Rates", usage: Usage) -> Charge:
    """Return what the loop of `charge_of` would, unrolled: most requests take half the time.

    A property test compares the two.
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

"""Rates: the price of each component, with its factors and its context and service tiers."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import force_setattr

from billing.pricing.charge import ONE, STANDARD_TIERS, Bound
from billing.pricing.components import COMPONENTS, LARGEST_RATE_NANOS, counter_of

SUMMARIES = ("input_nanos", "cached_nanos", "output_nanos", "reasoning_nanos", "units_nanos")

TEXT = ("input", "cached_input", "output", "reasoning")

LARGEST_FACTOR = 1_000 * ONE

LARGEST_TIER_TOKENS = 2**31 - 1
_TIER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)

Counter = Callable[[Any], int]


class Term(NamedTuple):
    """A component as a charge computes it: the count less its parts' counts, times the rate.

    `times` and `unit` are `rate_nanos` and `per` with the factor in them. `place` is that of its
    summary column in `SUMMARIES`.
    """

    component: str
    count: Counter
    parts: tuple[Counter, ...]
    rate_nanos: int
    per: int
    times: int
    unit: int
    place: int


class ContextTier(msgspec.Struct, frozen=True):
    """The rates of requests whose whole input has more than `above_input_tokens` tokens.

    `rates` has nano-dollars by component. They are for all of the request, not only for what is
    above. A component that isn't listed keeps the rate of the tier below; a part that costs as much
    as its whole still does.
    """

    above_input_tokens: int
    rates: dict[str, int]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What each component costs, in nano-dollars; tokens per million, the rest per piece.

    `extra` has the rates of the components that have no field here, by name; a name that the table
    of components does not have is ignored. Amounts are multiplied by `factor_millionths`, and at
    the `service_tier` that a request is served at by that one's factor among `service_tiers`.

    Of a contract price, `contract` is the contract's id, which its lines have after the service
    tier, and `contract_millionths` its factor. Only that product is ever rounded: down to a whole
    millionth, in the customer's favor, but never to zero.

    The rest is computed once, for the charge and the quote of every request at these rates:
    `terms` and `bounds`; `multiplier_millionths`, the factors' product; `notes`, what lines add to
    rate and amount (factor, context tier, service tier), empty where these make no difference;
    `steps`, the rates by the input's length, the shortest first, empty without context tiers.
    `is_text_only` says that nothing but tokens of text has a price, without tiers and factors.
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
    factor_millionths: int = ONE
    context_tiers: tuple[ContextTier, ...] = ()
    service_tiers: dict[str, int] = {}
    service_tier: str = ""
    above_input_tokens: int = 0
    terms: tuple[Term, ...] = ()
    bounds: dict[str, Bound] = {}
    multiplier_millionths: int = ONE
    notes: tuple[int | str, ...] = ()
    steps: tuple["Rates", ...] = ()
    has_service_tiers: bool = False
    is_text_only: bool = False
    contract: int = 0
    contract_millionths: int = ONE

    def __post_init__(self) -> None:
        """Compute the derived fields; what is free by the piece has neither term nor bound."""
        factor = self.factor_millionths * self.service_tiers.get(self.service_tier, ONE) // ONE
        if self.contract_millionths != ONE:
            factor = max(1, factor * self.contract_millionths // ONE)
        notes: tuple[int | str, ...] = (factor, self.above_input_tokens, self.service_tier)
        if self.contract:
            notes = (*notes, self.contract)
        elif notes == (ONE, 0, ""):
            notes = ()
        force_setattr(self, "multiplier_millionths", factor)
        force_setattr(self, "notes", notes)
        force_setattr(self, "has_service_tiers", bool(self.service_tiers))
        force_setattr(self, "terms", tuple(_terms(self)))
        force_setattr(self, "steps", tuple(_steps(self)) if self.context_tiers else ())
        force_setattr(self, "bounds", _highest(self.steps) if self.steps else dict(_bounds(self)))
        is_plain = not self.steps and not notes
        names = tuple(term.component for term in self.terms)
        force_setattr(self, "is_text_only", is_plain and names == TEXT)

    def of(self, component: str) -> int | None:
        """Return the component's own rate in nano-dollars, or None."""
        entry = COMPONENTS[component]
        return getattr(self, entry.rate_column) if entry.field else self.extra.get(component)

    def charged(self, component: str) -> int:
        """Return the rate that applies, in nano-dollars: the component's own, its whole's, or 0."""
        rate = self.of(component)
        if rate is None and (whole := COMPONENTS[component].part_of):
            rate = self.of(whole)
        return rate or 0

    def parts_of(self, component: str) -> list[str]:
        """Return the names of the component's parts that have a rate of their own."""
        return [
            name
            for name, entry in COMPONENTS.items()
            if entry.part_of == component and self.of(name) is not None
        ]

    def at_input(self, input_tokens: int) -> "Rates":
        """Return the rates of a request with `input_tokens`, including cached ones."""
        found: Rates = self
        for step in self.steps:
            if step.above_input_tokens and input_tokens <= step.above_input_tokens:
                break
            found = step
        return found

    def within(self, input_tokens_max: int) -> Iterator[tuple["Rates", int]]:
        """Yield the steps that so long an input can reach, each with the longest input in it."""
        for step, above in zip(self.steps, [*self.steps[1:], None], strict=True):
            if step.above_input_tokens and step.above_input_tokens >= input_tokens_max:
                return
            limit = input_tokens_max if above is None else above.above_input_tokens
            yield step, min(input_tokens_max, limit)

    def at_service_tier(self, name: str) -> Self:
        """Return the rates at a service tier, or those without a tier if it has no factor."""
        name = name if name in self.service_tiers else ""
        if name == self.service_tier:
            return self
        return msgspec.structs.replace(self, service_tier=name)


def _terms(rates: Rates) -> Iterator[Term]:
    factor, scale = _factor_of(rates)
    for name, component in COMPONENTS.items():
        rate = rates.of(name)
        if rate or (rate == 0 and component.per > 1):
            parts = tuple(counter_of(COMPONENTS[part]) for part in rates.parts_of(name))
            place = SUMMARIES.index(component.summary)
            unit = component.per * scale
            yield Term(
                name, counter_of(component), parts, rate, component.per, rate * factor, unit, place
            )


def _bounds(rates: Rates) -> Iterator[tuple[str, Bound]]:
    """Yield the bound of each component that isn't part of another and can cost something.

    Each of n parts gains at most half a nano-dollar by rounding, and their whole loses less than
    half: n // 2 in whole nano-dollars. Where a unit costs a whole number of nano-dollars, as a
    token does at $0.70 per million, nothing is ever rounded.
    """
    factor, scale = _factor_of(rates)
    for name, component in COMPONENTS.items():
        if component.part_of:
            continue
        found = [rates.of(each) for each in (name, *rates.parts_of(name))]
        each_rate = [rate * factor for rate in found if rate is not None]
        if any(each_rate):
            per = component.per * scale
            is_rounded = any(rate % per for rate in each_rate)
            slack = len(each_rate) // 2 if is_rounded else 0
            yield name, Bound(max(each_rate), per, slack)


def _factor_of(rates: Rates) -> tuple[int, int]:
    """Return the multipliers of a rate and of its unit: both 1 where the factor is 1."""
    factor = rates.multiplier_millionths
    return (1, 1) if factor == ONE else (factor, ONE)


def _steps(rates: Rates) -> Iterator[Rates]:
    """Yield the rates below the first context tier, then those of each tier."""
    figures: dict[str, Any] = {name: getattr(rates, name) for name in _columns()}
    extra = rates.extra
    tiers = sorted(rates.context_tiers, key=lambda tier: tier.above_input_tokens)
    for tier in [ContextTier(0, {}), *tiers]:
        figures, extra = _overlaid(figures, extra, tier.rates)
        yield Rates(
            **figures,
            extra=extra,
            factor_millionths=rates.factor_millionths,
            service_tiers=rates.service_tiers,
            service_tier=rates.service_tier,
            above_input_tokens=tier.above_input_tokens,
            contract=rates.contract,
            contract_millionths=rates.contract_millionths,
        )


def _columns() -> list[str]:
    return [component.rate_column for component in COMPONENTS.values() if component.field]


def _overlaid(
    below: Mapping[str, int], extra: Mapping[str, int], rates: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the rates of a context tier: by column, and extra ones by component."""
    figures: dict[str, Any] = dict(below)
    for name, component in COMPONENTS.items():
        if not component.field:
            continue
        column = component.rate_column
        if name in rates:
            figures[column] = rates[name]
        elif component.part_of:
            whole = COMPONENTS[component.part_of].rate_column
            if below[column] == below[whole]:
                figures[column] = figures[whole]
    own = {name: nanos for name, nanos in rates.items() if _is_extra(name)}
    return figures, {**extra, **own}


def _is_extra(name: str) -> bool:
    return name in COMPONENTS and not COMPONENTS[name].field


def _highest(steps: tuple[Rates, ...]) -> dict[str, Bound]:
    """Return the highest bound of each component among the steps."""
    highest: dict[str, Bound] = {}
    for step in steps:
        for name, bound in step.bounds.items():
            known = highest.get(name, bound)
            rate_nanos = max(known.rate_nanos, bound.rate_nanos)
            highest[name] = Bound(rate_nanos, bound.per, max(known.slack_nanos, bound.slack_nanos))
    return highest


class DatedRates(Rates, frozen=True, kw_only=True):
    """The rates of a row that is in force from a moment on, as the relay holds them.

    Where the row has no rate for cached input or reasoning, these fields repeat the rate of input
    or output. `variants` are the same rates at each service tier.
    """

    version_id: int
    effective_from: datetime
    variants: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Compute the rates at each service tier as well."""
        super().__post_init__()
        variants = {}
        if not self.service_tier:
            variants = {name: self._variant(name) for name in self.service_tiers}
        force_setattr(self, "variants", variants)

    def at_service_tier(self, name: str) -> Self:
        """Return the rates at a service tier; see `Rates.at_service_tier`."""
        name = name if name in self.service_tiers else ""
        if name == self.service_tier:
            return self
        found: Self | None = self.variants.get(name)
        return found or self._variant(name)

    def _variant(self, name: str) -> Self:
        return msgspec.structs.replace(self, service_tier=name)


class Prices(DatedRates, frozen=True, kw_only=True):
    """A price version: what customers pay."""


class Costs(DatedRates, frozen=True, kw_only=True):
    """A version of a route's cost: what its upstream charges us."""


def check_factor(millionths: object) -> None:
    """Raise ValueError unless it is a factor above 0 and at most 1,000, in millionths."""
    if type(millionths) is not int or not 0 < millionths <= LARGEST_FACTOR:
        raise ValueError(
            f"A factor must be above 0 and at most 1,000, in millionths, not {millionths!r}."
        )


def check_context_tiers(tiers: object) -> None:
    """Raise ValueError unless they are context tiers as a price version keeps them."""
    if not isinstance(tiers, list):
        raise ValueError("Context tiers must be a list of objects.")
    seen: set[int] = set()
    for tier in tiers:
        if not isinstance(tier, dict) or tier.keys() != {"above_input_tokens", "rates"}:
            raise ValueError("A context tier must be an object with above_input_tokens and rates.")
        above, rates = tier["above_input_tokens"], tier["rates"]
        if type(above) is not int or not 0 < above <= LARGEST_TIER_TOKENS:
            raise ValueError(
                f"above_input_tokens must be a number of tokens above 0, not {above!r}."
            )
        if above in seen:
            raise ValueError(f"Two context tiers begin above {above:,} input tokens.")
        seen.add(above)
        if not isinstance(rates, dict) or not rates:
            raise ValueError(f"The tier above {above:,} input tokens has no rates.")
        for name, nanos in rates.items():
            if name not in COMPONENTS:
                raise ValueError(f"{name!r} is not a priced component.")
            if type(nanos) is not int or not 0 <= nanos <= LARGEST_RATE_NANOS:
                raise ValueError(
                    f"The rate of {name!r} must be an amount in nano-dollars, not {nanos!r}."
                )


def check_service_tiers(factor_millionths: int, tiers: object) -> None:
    """Raise ValueError unless they are factors in millionths by service tier name.

    Each, times the row's own factor, must be a whole number of millionths, so that only amounts of
    money are rounded.
    """
    if not isinstance(tiers, dict):
        raise ValueError("Service tiers must be an object of factors by name.")
    for name, millionths in tiers.items():
        if not _TIER_NAME.fullmatch(name) or name in STANDARD_TIERS:
            raise ValueError(f"{name!r} is not the name of a service tier, such as priority.")
        check_factor(millionths)
        if factor_millionths * millionths % ONE:
            raise ValueError(
                f"The factor of {name!r} times the price's own has more than six decimals."
            )

"""The priced components: the one table of what can have a price.

A charge has a line for each component that was used. A new component is one line in the table
below. With it, its rates can be set in the admin and in catalogue files, quotes hold for it,
charges have a line for it, `check_ledger` proves that line, and pages and price lists show it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from django.utils.translation import npgettext, pgettext

from billing.pricing.money import PER_MILLION

LARGEST_RATE_NANOS = 10**18  # $1,000,000,000, which a BIGINT still holds


@dataclass(frozen=True, kw_only=True)
class Component:
    """What has a rate of its own: so many nano-dollars for each `per` of it.

    `field` is the field of `Usage` that counts it. A component with a field has a column for its
    rate in `PriceVersion` and `RouteCost`, and a field in `Rates`. Without one it is extra: counted
    in `Usage.units` and priced in `extra_rates`, each by its name.

    `singular`, `plural` and `rest_label` are its names in English, which catalogues translate.

    `part_of` names the component within which it is counted, and as which it is charged where a
    price version has no rate for it; both have the same `per`. `rest_label` is the label of such a
    whole where parts of it have lines of their own. `summary` is the column of the usage record
    that the amount is added to.
    """

    name: str
    singular: str
    plural: str
    per: int = 1
    part_of: str = ""
    rest_label: str = ""
    field: str = ""
    summary: str = "units_nanos"

    @property
    def rate_column(self) -> str:
        """The name of its rate in `Rates`, in `PriceVersion` and in `RouteCost`."""
        return f"{self.name}_nanos" + ("" if self.per == 1 else "_per_million")

    @property
    def title(self) -> str:
        """What much of it is called in the reader's language, such as `images`."""
        return pgettext("component", self.plural)

    @property
    def rest_title(self) -> str:
        """`rest_label` in the reader's language, if there is one."""
        return pgettext("component", self.rest_label) if self.rest_label else ""

    def label(self, quantity: int) -> str:
        """Return what is written beside so many of it, in the reader's language."""
        return npgettext("component", self.singular, self.plural, quantity)


COMPONENTS = {
    component.name: component
    for component in (
        Component(
            name="input",
            singular="input token",
            plural="input tokens",
            per=PER_MILLION,
            rest_label="input tokens, not cached",
            field="input_tokens",
            summary="input_nanos",
        ),
        Component(
            name="cached_input",
            singular="cached input token",
            plural="cached input tokens",
            per=PER_MILLION,
            part_of="input",
            field="cached_tokens",
            summary="cached_nanos",
        ),
        Component(
            name="cache_write",
            singular="input token written to the cache",
            plural="input tokens written to the cache",
            per=PER_MILLION,
            part_of="input",
            summary="input_nanos",
        ),
        Component(
            name="cache_write_1h",
            singular="input token written to the cache for an hour",
            plural="input tokens written to the cache for an hour",
            per=PER_MILLION,
            part_of="input",
            summary="input_nanos",
        ),
        Component(
            name="output",
            singular="output token",
            plural="output tokens",
            per=PER_MILLION,
            rest_label="output tokens, the answer",
            field="output_tokens",
            summary="output_nanos",
        ),
        Component(
            name="reasoning",
            singular="reasoning token",
            plural="reasoning tokens",
            per=PER_MILLION,
            part_of="output",
            field="reasoning_tokens",
            summary="reasoning_nanos",
        ),
        Component(
            name="image",
            singular="image",
            plural="images",
            field="images",
        ),
        Component(
            name="second",
            singular="second",
            plural="seconds",
            field="seconds",
        ),
        Component(
            name="piece",
            singular="video",
            plural="videos",
            field="pieces",
        ),
        Component(
            name="request",
            singular="answered request",
            plural="answered requests",
            field="requests",
        ),
        Component(
            name="search_unit",
            singular="search unit",
            plural="search units",
        ),
        Component(
            name="character",
            singular="character",
            plural="characters",
            per=PER_MILLION,
        ),
        Component(
            name="audio_second",
            singular="second of audio",
            plural="seconds of audio",
        ),
    )
}


def extra_components() -> list[Component]:
    """Return the components whose rates have no columns of their own."""
    return [component for component in COMPONENTS.values() if not component.field]


def counter_of(component: Component) -> Callable[[Any], int]:
    """Return the function that reads the component's count from a `Usage`.

    It is the same object each time, so that compiled rates compare equal.
    """
    return _field(component.field) if component.field else _unit(component.name)


@cache
def _field(name: str) -> Callable[[Any], int]:
    return attrgetter(name)


@cache
def _unit(name: str) -> Callable[[Any], int]:
    return lambda usage: usage.units.get(name, 0)


def check_extra_rates(rates: object) -> None:
    """Raise ValueError unless `rates` maps names of extra components to rates in nano-dollars."""
    if not isinstance(rates, Mapping):
        raise ValueError("Extra rates are an object of components and nano-dollars.")
    known = {component.name for component in extra_components()}
    for name, nanos in rates.items():
        if name not in known:
            raise ValueError(f"{name!r} is not a component with an extra rate.")
        if type(nanos) is not int or not 0 <= nanos <= LARGEST_RATE_NANOS:
            raise ValueError(f"The rate of {name!r} is not an amount of nano-dollars: {nanos!r}.")

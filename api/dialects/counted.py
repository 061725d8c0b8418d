"""Metering of what is counted in units of its own: search units, characters, seconds of audio."""

from collections.abc import Mapping
from typing import Any

from api.dialects.usage import Metered, MeteringLimits
from billing.pricing.charge import Usage
from billing.pricing.components import COMPONENTS, counter_of


def meter_counted(found: Mapping[str, object], limits: MeteringLimits) -> Metered:
    """Return the usage of an answer, from the counts that were `found`, by component.

    A count of what was sent is a positive whole number within what was held for, and one of output
    may be 0; any other says nothing. Where a count with a price is missing, there is no usage, and
    all of it is estimated.
    """
    counts = {
        name: count
        for name, count in found.items()
        if type(count) is int
        and (count > 0 or name == "output")
        and 0 <= count <= _most(name, limits)
    }
    priced = limits.prices.bounds.keys() - {"request"}
    if not priced <= counts.keys():
        return Metered(None, is_empty=False)
    fields: dict[str, Any] = {
        field: counts.pop(name) for name in list(counts) if (field := COMPONENTS[name].field)
    }
    return Metered(Usage(**fields, units=counts), is_empty=False)


def _most(name: str, limits: MeteringLimits) -> int:
    return 0 if limits.most is None else counter_of(COMPONENTS[name])(limits.most)

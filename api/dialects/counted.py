"""Metering of what is counted in units of its own: search units, characters, seconds of audio."""

from collections.abc import Mapping
from typing import Any

from api.dialects.figures import rejection
from api.dialects.usage import Metered, MeteringLimits
from billing.pricing.charge import Usage
from billing.pricing.components import COMPONENTS, counter_of


def meter_counted(found: Mapping[str, object], limits: MeteringLimits) -> Metered:
    """Return the usage of an answer, from the counts that were `found`, by component.

    A count of what was sent is a positive whole number within what was held for, and one of output
    may be 0. Input tokens above that bound are charged at it, unless no prompt could have as many;
    any other count that can't be true is rejected. Where a count with a price is then missing,
    there is no usage, and all of it is estimated.
    """
    priced = limits.prices.bounds.keys() - {"request"}
    counts: dict[str, int] = {}
    rejected: list[str] = []
    for name, count in found.items():
        most = _most(name, limits)
        if type(count) is int and (count > 0 or name == "output") and 0 <= count <= most:
            counts[name] = count
        elif count and name in priced:
            rejected.append(rejection(name, count))
            if name == "input" and type(count) is int and most < count <= limits.most_tokens:
                counts[name] = most
    if not priced <= counts.keys():
        return Metered(None, is_empty=False, rejected=tuple(rejected))
    fields: dict[str, Any] = {
        field: counts.pop(name) for name in list(counts) if (field := COMPONENTS[name].field)
    }
    usage = Usage(**fields, units=counts)
    return Metered(usage, is_empty=False, is_estimated=bool(rejected), rejected=tuple(rejected))


def _most(name: str, limits: MeteringLimits) -> int:
    return 0 if limits.most is None else counter_of(COMPONENTS[name])(limits.most)

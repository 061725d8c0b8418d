"""Versions of rates: the one in force at a moment, and those that a catalogue file asks for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import QuerySet

from api.catalogue.file import CostTable, RatesTable
from billing.models import RatesRow
from billing.pricing.components import COMPONENTS

Version = TypeVar("Version", bound=RatesRow)


def in_force(versions: QuerySet[Version], moment: datetime) -> Version | None:
    """Return the version in force at `moment` (aware), or None."""
    return versions.filter(effective_from__lte=moment).order_by("-effective_from").first()


def missing_version(
    table: CostTable, versions: Sequence[RatesRow], now: datetime
) -> dict[str, Any] | None:
    """Return the columns of the row to add for a table, or None if the versions have its rates.

    A table without a moment means now. Raise ValueError if the table's moment has passed, or
    already has other rates: versions are never rewritten.
    """
    figures, at = figures_of(table), table.effective_from
    known = {one.effective_from: one for one in versions}
    begun = [moment for moment in known if moment <= now]
    in_force = known[max(begun)] if begun else None
    if at is not None and at in known:
        if not _has(known[at], figures):
            raise ValueError(
                f"other rates stand from {at:%Y-%m-%d %H:%M} on and are never rewritten;"
                " name another moment, or none for now"
            )
        return None
    if in_force and (at is None or at <= now):
        if _has(in_force, figures):
            return None
        if at is not None:
            raise ValueError(
                f"{at:%Y-%m-%d %H:%M} has passed and other rates are in force;"
                " name a moment to come, or none for now"
            )
    return {**figures, "effective_from": at or now}


def numbered(name: str, tables: Iterable[CostTable]) -> Iterator[tuple[str, CostTable]]:
    """Yield the tables of a list, each with its place in the file."""
    for index, table in enumerate(tables):
        yield f"{name}[{index}]", table


def figures_of(table: CostTable) -> dict[str, Any]:
    """Return the columns of a row of rates, in nano-dollars.

    What is not in the file is free; a part, such as cached input, then costs as its whole does.
    """
    figures: dict[str, Any] = {
        "extra_rates": _plain(table),
        "factor_millionths": int(table.factor),
        "context_tiers": context_tiers_of(table),
        "service_tiers": {name: int(factor) for name, factor in table.service_tiers.items()},
    }
    for component in COMPONENTS.values():
        if component.field:
            nanos = getattr(table, component.name)
            default = None if component.part_of else 0
            figures[component.rate_column] = default if nanos is None else int(nanos)
    return figures


def context_tiers_of(table: CostTable) -> list[dict[str, Any]]:
    """Return the context tiers as a price version stores them, the shortest input first."""
    tiers = sorted(table.context_tiers, key=lambda tier: tier.above_input_tokens)
    return [
        {"above_input_tokens": tier.above_input_tokens, "rates": _named_rates(tier)}
        for tier in tiers
    ]


def _named_rates(table: RatesTable) -> dict[str, int]:
    """Return the table's rates by component."""
    named = {each.name: getattr(table, each.name) for each in COMPONENTS.values() if each.field}
    return {name: int(nanos) for name, nanos in named.items() if nanos is not None} | _plain(table)


def _plain(table: RatesTable) -> dict[str, int]:
    """Return the extra rates as plain integers."""
    return {name: int(nanos) for name, nanos in table.extra.items()}


def _has(version: RatesRow, figures: Mapping[str, Any]) -> bool:
    """Return whether a row has these figures."""
    return all(getattr(version, column) == nanos for column, nanos in figures.items())

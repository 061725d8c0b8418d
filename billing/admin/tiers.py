"""Context tiers and service tiers as text, one per line, and the form field for them."""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.pricing.components import COMPONENTS
from billing.pricing.money import (
    dollars_short_text,
    factor_from_text,
    factor_text,
    nanos_from_dollars,
)

_CONTEXT_TIER = re.compile(r"(\d[\d,]*)\s*:\s*(.+)", re.ASCII)


class LinesField(forms.CharField):
    """A value entered as lines of text, which may be empty.

    `as_lines` returns a stored value's lines; `parse` returns the value of entered lines, or raises
    ValidationError that quotes the line with the mistake.
    """

    def __init__(
        self,
        as_lines: Callable[[Any], list[str]],
        parse: Callable[[list[str]], Any],
        **options: Any,
    ) -> None:
        self._as_lines, self._parse = as_lines, parse
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})
        super().__init__(required=False, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        """Return the input's value: what is stored as lines, entered text unchanged."""
        if isinstance(value, str):
            return value
        return "\n".join(self._as_lines(value)) if value else ""

    def clean(self, value: Any) -> Any:
        """Return what is stored. Raise ValidationError."""
        lines = [line.strip() for line in super().clean(value).splitlines()]
        return self._parse([line for line in lines if line])

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether what was entered differs from what is stored."""
        try:
            return bool(initial != self.clean(data))
        except forms.ValidationError:
            return True


def context_tier_texts(tiers: list[dict[str, Any]]) -> list[str]:
    """Return stored context tiers as the form takes them."""
    return [
        f"{tier['above_input_tokens']:,}: "
        + ", ".join(f"{name} {dollars_short_text(nanos)}" for name, nanos in tier["rates"].items())
        for tier in tiers
    ]


def service_tier_texts(tiers: dict[str, int]) -> list[str]:
    """Return stored factors of service tiers as the form takes them."""
    return [f"{name} {factor_text(millionths)}" for name, millionths in tiers.items()]


def _context_tier(line: str) -> dict[str, Any]:
    found = _CONTEXT_TIER.fullmatch(line)
    if not found:
        raise forms.ValidationError(
            f"{line!r} does not look like '200,000: input 2.50, output 15'."
        )
    rates: dict[str, int] = {}
    for part in found[2].split(","):
        name, _, dollars = part.strip().partition(" ")
        if name not in COMPONENTS:
            raise forms.ValidationError(f"{name!r} is not one of {', '.join(COMPONENTS)}.")
        try:
            rates[name] = nanos_from_dollars(dollars.strip().removeprefix("$"))
        except ValueError as error:
            raise forms.ValidationError(f"{line!r}: {error}") from None
    return {"above_input_tokens": int(found[1].replace(",", "")), "rates": rates}


def parse_context_tiers(lines: list[str]) -> list[dict[str, Any]]:
    """Return the tiers as a price version keeps them. Raise ValidationError."""
    tiers = [_context_tier(line) for line in lines]
    return sorted(tiers, key=lambda tier: tier["above_input_tokens"])


def parse_service_tiers(lines: list[str]) -> dict[str, int]:
    """Return the factors in millionths by name. Raise ValidationError."""
    tiers: dict[str, int] = {}
    for line in lines:
        name, _, factor = line.partition(" ")
        if name in tiers:
            raise forms.ValidationError(f"{name!r} occurs twice.")
        try:
            tiers[name] = factor_from_text(factor.strip())
        except ValueError as error:
            raise forms.ValidationError(f"{line!r}: {error}") from None
    return tiers

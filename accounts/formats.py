"""Numbers, amounts and days as the active language writes them (Unicode's CLDR is the source)."""

from typing import NamedTuple

from django.utils import translation


class _Format(NamedTuple):
    """How a language writes numbers and days; these are in the terms of `strftime`."""

    thousands: str = ","
    decimals: str = "."
    day: str = "%Y-%m-%d"
    day_of_year: str = "%m-%d"
    is_dollar_after: bool = False


_ENGLISH = _Format()
_FORMATS = {
    "cs": _Format("\u00a0", ",", "%-d. %-m. %Y", "%-d. %-m.", is_dollar_after=True),
    "ru": _Format("\u00a0", ",", "%d.%m.%Y", "%d.%m", is_dollar_after=True),
}


def _active() -> _Format:
    return _FORMATS.get(translation.get_language() or "", _ENGLISH)


def number_text(english: str) -> str:
    """Return a number that was written in English, `1,204.5`, in the active language."""
    active = _active()
    if active is _ENGLISH:
        return english
    return english.translate({ord(","): active.thousands, ord("."): active.decimals})


def whole_text(number: int) -> str:
    """Return a whole number with its thousands apart: `1,204`."""
    return number_text(f"{number:,}")


def dollars_text(english: str) -> str:
    """Return an amount that was written in English, `-$1,204.50`, in the active language."""
    active = _active()
    if not active.is_dollar_after:
        return english
    return number_text(english.replace("$", "")) + "\u00a0$"


def day_format() -> str:
    """Return the format of a day, for `strftime`: `2026-11-21`."""
    return _active().day


def day_of_year_format() -> str:
    """Return the format of a day without its year, for `strftime`: `11-21`."""
    return _active().day_of_year


def typed_number(text: str) -> str:
    """Return a number or an amount that was typed in the active language in English: `12,50 $`.

    A point is one in each language: who types `12.50` means it.
    """
    active, typed = _active(), text.strip()
    if active.decimals != "," or "." in typed:
        return typed
    return "".join(typed.removesuffix("$").split()).replace(",", ".")

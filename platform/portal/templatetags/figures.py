"""Figures as people read them: counts, milliseconds, shares, moments in UTC, prices."""

from datetime import UTC, datetime

from django import template
from django.utils.translation import gettext

from accounts.formats import day_format, number_text, whole_text
from portal.ui.money import dollars

register = template.Library()


@register.filter
def count(number: int | None) -> str:
    """Return a whole number with its thousands apart: `1,204`."""
    return "" if number is None else whole_text(number)


@register.filter
def duration(milliseconds: float | None) -> str:
    """Return a time as `312 ms`, `4.2 s` or `3 min 5 s`; `none` for None."""
    if milliseconds is None:
        return gettext("none")
    if milliseconds < 1000:
        return gettext("{number} ms").format(number=f"{milliseconds:.0f}")
    if milliseconds < 59_950:
        return gettext("{number} s").format(number=number_text(f"{milliseconds / 1000:.1f}"))
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return gettext("{minutes} min {seconds} s").format(minutes=whole_text(minutes), seconds=seconds)


@register.filter
def share(percent: float | None) -> str:
    """Return a percentage: `2.5%`, `<0.1%`; `none` for None."""
    if percent is None:
        return gettext("none")
    number = "<0.1" if 0 < percent < 0.1 else f"{percent:.1f}".removesuffix(".0")
    return gettext("{number}%").format(number=number_text(number))


@register.filter
def utc(moment: datetime | None) -> str:
    """Return a moment as `2026-11-21 14:03:22`, in UTC: say so in the heading above it."""
    return "" if moment is None else moment.astimezone(UTC).strftime(f"{day_format()} %H:%M:%S")


@register.filter
def utc_day(moment: datetime) -> str:
    """Return a moment's day in UTC: `2026-11-21`."""
    return moment.astimezone(UTC).strftime(day_format())


@register.filter
def per_million(nanos_per_million: int) -> str:
    """Return a token price: `$0.70 per million`."""
    return gettext("{price} per million").format(price=dollars(nanos_per_million))

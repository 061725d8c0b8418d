"""Figures as people read them: counts, milliseconds, shares, moments in UTC, prices."""

from datetime import UTC, datetime

from django import template

from portal.ui.money import dollars

register = template.Library()


@register.filter
def count(number: int | None) -> str:
    """Return a whole number with its thousands apart: `1,204`."""
    return "" if number is None else f"{number:,}"


@register.filter
def duration(milliseconds: float | None) -> str:
    """Return a time as `312 ms`, `4.2 s` or `3 min 5 s`; `none` for None."""
    if milliseconds is None:
        return "none"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes:,} min {seconds} s"


@register.filter
def share(percent: float | None) -> str:
    """Return a percentage: `2.5%`, `<0.1%`; `none` for None."""
    if percent is None:
        return "none"
    if 0 < percent < 0.1:
        return "<0.1%"
    return f"{percent:.1f}".removesuffix(".0") + "%"


@register.filter
def utc(moment: datetime | None) -> str:
    """Return a moment as `2026-11-21 14:03:22`, in UTC: say so in the heading above it."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@register.filter
def per_million(nanos_per_million: int) -> str:
    """Return a token price: `$0.70 per million`."""
    return f"{dollars(nanos_per_million)} per million"

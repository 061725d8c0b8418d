"""Readers' time zones, by their IANA names, and times formatted in them."""

from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.utils import timezone, translation

from accounts.formats import day_format

_AREAS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)
UTC_NAME = "UTC"


@cache
def zone_names() -> tuple[str, ...]:
    """Return the zones to choose from: UTC, then those named after places."""
    places = sorted(name for name in available_timezones() if name.startswith(_AREAS))
    return (UTC_NAME, *places)


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo | None:
    """Return the zone of that name, or None for any other text."""
    return ZoneInfo(name) if name in _known() else None


def validate_zone(name: str) -> None:
    """Raise ValidationError unless it names a zone."""
    if zone_of(name) is None:
        raise ValidationError("Choose a time zone, such as Europe/Prague.", "zone")


def moment_text(moment: datetime, zone: tzinfo | None = None) -> str:
    """Return a moment as `2026-11-21 14:03:22 CET`, in the zone given, or else the reader's."""
    local = moment.astimezone(zone or timezone.get_current_timezone())
    # Zones without an abbreviation are named by their offset.
    name = local.tzname() or "UTC"
    name = name if name[:1].isalpha() else f"UTC{name}"
    return f"{local.strftime(day_format())} {local:%H:%M:%S} {name}"


def moment_for(moment: datetime, zone_name: str, language: str = "") -> str:
    """Return a moment in the zone and the language of a profile, for emails.

    It is in UTC if the profile has no zone, and in the active language if it has none of its own.
    """
    with translation.override(language or translation.get_language()):
        return moment_text(moment, zone_of(zone_name) or UTC)


def day_text(moment: datetime) -> str:
    """Return the day that a moment is on in the reader's zone: `2026-11-21`."""
    return moment.astimezone(timezone.get_current_timezone()).strftime(day_format())

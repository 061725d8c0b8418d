"""Spans of whole days in UTC, which forms and pages have in common."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.utils import timezone

MOST_DAYS = 366


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`, both of them whole, in UTC."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        """Its first moment."""
        return midnight(self.first)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        return midnight(self.last + timedelta(days=1))

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first} to {self.last}" if self.days > 1 else f"{self.first}"


def today() -> date:
    """Returns the day that it is in UTC."""
    return timezone.now().astimezone(UTC).date()


def last_days(days: int) -> Period:
    """Returns the last days, today among them."""
    return Period(today() - timedelta(days=days - 1), today())


def month_of(day: date) -> Period:
    """Returns the whole month that the day is in."""
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def midnight(day: date) -> datetime:
    """Returns the day's first moment in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC)

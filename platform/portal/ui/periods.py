"""Periods of whole UTC days, and the form fields that choose one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy

from accounts.formats import day_format

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
        """The number of days."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        first, last = self.first.strftime(day_format()), self.last.strftime(day_format())
        if self.days == 1:
            return first
        return gettext("{first} to {last}").format(first=first, last=last)


def today() -> date:
    """Return the day that it is in UTC."""
    return timezone.now().astimezone(UTC).date()


def last_days(days: int) -> Period:
    """Return the last days, today among them."""
    return Period(today() - timedelta(days=days - 1), today())


def month_of(day: date) -> Period:
    """Return the whole month that the day is in."""
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def midnight(day: date) -> datetime:
    """Return the day's first moment in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC)


class DayRangeForm(forms.Form):
    """Two days that make a period; the subclass says when they are needed."""

    first = forms.DateField(
        label=pgettext_lazy("day", "From"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    last = forms.DateField(
        label=pgettext_lazy("day", "To"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def own_range(self, cleaned: dict[str, Any]) -> Period | None:
        """Return the period of the two days, or None after an error that says what is wrong."""
        for name in ("first", "last"):
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, gettext("Choose a day."))
        if self.errors:
            return None
        first: date = cleaned["first"]
        last: date = cleaned["last"]
        if last < first:
            self.add_error("last", gettext("Choose a day on or after the first."))
        elif (last - first).days >= MOST_DAYS:
            self.add_error("last", gettext("Choose at most {days} days.").format(days=MOST_DAYS))
        elif last.year >= 9999:
            self.add_error("last", gettext("Choose an earlier day."))
        else:
            return Period(first, last)
        return None

    def offer(self, name: str, choices: Sequence[tuple[str, str | Promise]]) -> None:
        """Make a field of choices one of these."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type alone)
        field.choices = choices

"""The period of a statement."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from portal.ui.periods import DayRangeForm, Period, month_of, today

OWN_RANGE = "own"
GROUPINGS = [("day", _("Usage by day")), ("transfer", _("All transfers"))]


class StatementForm(DayRangeForm):
    """A month since the account was opened, or a range of days; usage by day or one by one."""

    month = forms.ChoiceField(label=_("Month"), required=False)
    by = forms.ChoiceField(label=_("Show"), choices=GROUPINGS, required=False)

    def __init__(self, data: Any, opened_on: date) -> None:
        super().__init__({"month": f"{today():%Y-%m}", "by": "day"} | data.dict())
        months = [
            (f"{month:%Y-%m}", date_format(month, "YEAR_MONTH_FORMAT"))
            for month in _months_since(opened_on)
        ]
        self.offer("month", [*months, (OWN_RANGE, _("Custom range"))])

    def clean(self) -> dict[str, Any]:
        """Make `cleaned_data["span"]`, the period that is asked for."""
        cleaned: dict[str, Any] = super().clean() or {}
        month = cleaned.get("month") or f"{today():%Y-%m}"
        if month == OWN_RANGE:
            cleaned["span"] = self.own_range(cleaned)
        else:
            cleaned["span"] = month_of(date.fromisoformat(f"{month}-01"))
        return cleaned

    @property
    def span(self) -> Period:
        """The period of a form that is valid."""
        span: Period = self.cleaned_data["span"]
        return span

    @property
    def is_by_day(self) -> bool:
        """Whether a day's usage is one line."""
        return self.cleaned_data.get("by") != "transfer"


def _months_since(opened_on: date) -> list[date]:
    """Return the first days of the months from today's back to that of a day."""
    months = [today().replace(day=1)]
    while months[-1] > opened_on.replace(day=1):
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months

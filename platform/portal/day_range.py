"""The form of a period: two days, as usage and statement ask for them."""

from datetime import date
from typing import Any

from django import forms

from portal.periods import MOST_DAYS, Period


class DayRangeForm(forms.Form):
    """Two days that make a period; the subclass says when they are needed."""

    first = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    last = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )

    def own_range(self, cleaned: dict[str, Any]) -> Period | None:
        """Returns the period of the two days, or None after an error that says what is wrong."""
        for name in ("first", "last"):
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, "Choose a day.")
        if self.errors:
            return None
        first: date = cleaned["first"]
        last: date = cleaned["last"]
        if last < first:
            self.add_error("last", "Choose a day that is not before the first.")
        elif (last - first).days >= MOST_DAYS:
            self.add_error("last", f"Choose at most {MOST_DAYS} days.")
        elif last.year >= 9999:
            self.add_error("last", "Choose an earlier day.")
        else:
            return Period(first, last)
        return None

    def offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        """Makes a field of choices one of these."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type alone)
        field.choices = choices

"""Form fields that several areas share."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from billing.pricing.money import cents_text, dollars_short_text, nanos_from_dollars
from portal.ui.money import cents_of

MOST_NANOS = nanos_from_dollars(1_000_000)


class OneLineField(forms.CharField):
    """A text without line breaks, which mail headers could not hold."""

    def to_python(self, value: Any) -> str:
        """Return the text with each run of white space as one space."""
        return " ".join(str(super().to_python(value) or "").split())


class CentsField(forms.CharField):
    """An amount that is typed in dollars, and is cents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)
        self.widget.attrs.update(inputmode="decimal", autocomplete="off")

    def prepare_value(self, value: Any) -> Any:
        """Return what the field shows: cents as dollars, a typed text as it is."""
        if not isinstance(value, int):
            return value
        return cents_text(value).removesuffix(".00")

    def clean(self, value: Any) -> int:
        """Return cents. Raise ValidationError."""
        cents = cents_of(super().clean(value))
        if cents is None:
            raise forms.ValidationError(_("Enter an amount in dollars, such as 25 or 12.50."))
        return cents


class NanosField(forms.CharField):
    """An amount typed in dollars, in nano-dollars to the program."""

    def prepare_value(self, value: Any) -> Any:
        """Return what the input shows: an amount in dollars, a typed text as it is."""
        return dollars_short_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int:
        """Return nano-dollars. Raise ValidationError."""
        text = super().clean(value).strip().removeprefix("$")
        try:
            nanos = nanos_from_dollars(text) if len(text) <= 20 else -1
        except ValueError:
            nanos = -1
        if not 0 < nanos <= MOST_NANOS:
            raise forms.ValidationError(
                _("Enter an amount in dollars, such as 5 or 2.50, up to 1000000.")
            )
        return nanos

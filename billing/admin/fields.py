"""Money in the admin: displayed and entered in dollars, stored in nano-dollars or cents."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from accounts.staff_rules import ReadOnly
from billing.pricing.money import (
    NANOS_PER_CENT,
    cents_text,
    dollars_short_text,
    dollars_text,
    factor_from_text,
    factor_text,
    nanos_from_dollars,
    typed_cents_text,
)
from billing.pricing.rates import check_factor

_MAX_NANOS = nanos_from_dollars(1_000_000_000)


def dollars(field: str, title: str = "") -> Callable[[Any], str]:
    """Return a list column that displays a field of nano-dollars in dollars."""

    @admin.display(description=title or _title(field), ordering=field, empty_value="")
    def column(row: Any) -> str:
        value = getattr(row, field)
        return "" if value is None else f"${dollars_text(value)}"

    # The admin's checks and its CSS classes use the name.
    column.__name__ = f"{field}_in_dollars"
    return column


def dollars_of_cents(field: str, title: str = "") -> Callable[[Any], str]:
    """Return a list column that displays a field of cents in dollars."""
    name = field.removesuffix("_cents").replace("_", " ").capitalize()

    @admin.display(description=title or f"{name}, $", ordering=field)
    def column(row: Any) -> str:
        return cents_text(getattr(row, field))

    column.__name__ = f"{field}_in_dollars"
    return column


class DecimalAdminField(forms.CharField):
    """A decimal number that is stored as an integer, such as of nano-dollars; `clean` converts."""

    widget = UnfoldAdminTextInputWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the entered number differs from the stored one."""
        try:
            return bool(initial != self.clean(data))
        except forms.ValidationError:
            return True


class NanosAdminField(DecimalAdminField):
    """An amount entered in dollars and stored in nano-dollars."""

    def prepare_value(self, value: Any) -> Any:
        """Return the input's value: a stored amount in dollars, entered text unchanged."""
        return dollars_short_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """Return nano-dollars, or None for an empty input. Raise ValidationError."""
        text = super().clean(value).removeprefix("$").strip()
        if not text:
            return None
        try:
            nanos = nanos_from_dollars(text) if len(text) <= 20 else -1
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not 0 <= nanos <= _MAX_NANOS:
            raise forms.ValidationError("Enter an amount from 0 to 1,000,000,000 dollars.")
        return nanos


class CentsAdminField(NanosAdminField):
    """An amount entered in dollars and stored in cents."""

    def __init__(self, *, min_cents: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._min_cents = min_cents

    def prepare_value(self, value: Any) -> Any:
        """Return the input's value: a stored amount in dollars, entered text unchanged."""
        return typed_cents_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """Return cents. Raise ValidationError for fractions of a cent, or below the minimum."""
        nanos = super().clean(value) or 0
        if nanos % NANOS_PER_CENT or nanos < self._min_cents * NANOS_PER_CENT:
            least = typed_cents_text(self._min_cents)
            suffix = f", at least {least} dollars" if self._min_cents else ""
            raise forms.ValidationError(f"Enter whole cents{suffix}.")
        return nanos // NANOS_PER_CENT


class FactorAdminField(DecimalAdminField):
    """A factor entered as a decimal number and stored in millionths; an empty input is 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        """Return the input's value: a stored factor as a decimal, entered text unchanged."""
        return factor_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int:
        """Return millionths. Raise ValidationError for anything but a factor."""
        try:
            millionths = factor_from_text(super().clean(value).strip() or "1")
            check_factor(millionths)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return millionths


class PublishTimeField(forms.SplitDateTimeField):
    """The time from which new rates apply. An empty input is now."""

    widget = UnfoldAdminSplitDateTimeWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False, label="Publish at (UTC)", help_text="Empty: now.", **options
        )

    def clean(self, value: Any) -> datetime:
        """Return the time. Raise ValidationError for one in the past."""
        moment: datetime = super().clean(value) or timezone.now()
        if moment < timezone.now() - timedelta(minutes=1):
            raise forms.ValidationError("This time has passed. Leave it empty to publish now.")
        return moment


class MoneyAdmin(ModelAdmin):
    """A model admin that shows nano-dollars in dollars, and millionths as decimals."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Return the form field of a model field."""
        if db_field.name.endswith(("_nanos", "_nanos_per_million")):
            return NanosAdminField(
                label=_title(db_field.name),
                required=not db_field.null,
                help_text=db_field.help_text,
                initial=db_field.get_default(),
            )
        if db_field.name.endswith("_millionths"):
            return FactorAdminField(
                label=_title(db_field.name),
                help_text=db_field.help_text,
                initial=db_field.get_default(),
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class ReadOnlyAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold's annotations
    """A model admin for rows that only the application's own functions may write."""

    show_full_result_count = False  # it would count the whole table on every page

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse to filter by an excluded column: its value could be guessed bit by bit."""
        is_excluded = lookup.partition("__")[0] in (self.exclude or ())
        return not is_excluded and bool(super().lookup_allowed(lookup, value, request))


def _title(field: str) -> str:
    name, million, _ = field.partition("_nanos_per_million")
    if name.endswith("_millionths"):
        return name.removesuffix("_millionths").replace("_", " ").capitalize()
    name = name.removesuffix("_nanos").replace("_", " ").capitalize()
    return f"{name}, $ per million" if million else f"{name}, $"

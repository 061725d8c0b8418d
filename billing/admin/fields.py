"""Money in the admin: shown and typed in dollars, kept in nano-dollars."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.pricing.money import (
    NANOS_PER_CENT,
    cents_text,
    dollars_text,
    nanos_from_dollars,
    typed_cents_text,
)

_MOST_NANOS = nanos_from_dollars(1_000_000_000)


def dollars(field: str, title: str = "") -> Callable[[Any], str]:
    """Returns a list column that shows a field of nano-dollars in dollars."""

    @admin.display(description=title or _title(field), ordering=field, empty_value="")
    def column(row: Any) -> str:
        value = getattr(row, field)
        return "" if value is None else f"${dollars_text(value)}"

    # The admin's checks and its column classes go by the name.
    column.__name__ = f"{field}_in_dollars"
    return column


def dollars_of_cents(field: str, title: str = "") -> Callable[[Any], str]:
    """Returns a list column that shows a field of cents in dollars."""
    name = field.removesuffix("_cents").replace("_", " ").capitalize()

    @admin.display(description=title or f"{name}, $", ordering=field)
    def column(row: Any) -> str:
        return cents_text(getattr(row, field))

    column.__name__ = f"{field}_in_dollars"
    return column


class DollarsField(forms.CharField):
    """An amount in dollars on the form, in nano-dollars in the row."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        """Returns what the input shows: a row's amount in dollars, a typed text as it is."""
        return dollars_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """Returns nano-dollars, or None for nothing. Raises ValidationError."""
        text = super().clean(value).removeprefix("$").strip()
        if not text:
            return None
        try:
            nanos = nanos_from_dollars(text) if len(text) <= 20 else -1
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not 0 <= nanos <= _MOST_NANOS:
            raise forms.ValidationError("Give an amount from 0 to 1000000000 dollars.")
        return nanos

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tells whether the typed amount is another than the row's."""
        try:
            return bool(initial != self.clean(data))
        except forms.ValidationError:
            return True


class CentsField(DollarsField):
    """An amount in dollars on the form, in cents in the row."""

    def __init__(self, *, least_cents: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._least_cents = least_cents

    def prepare_value(self, value: Any) -> Any:
        """Returns what the input shows: a row's amount in dollars, a typed text as it is."""
        return typed_cents_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """Returns cents. Raises ValidationError for what is none, and for less than the least."""
        nanos = super().clean(value) or 0
        if nanos % NANOS_PER_CENT or nanos < self._least_cents * NANOS_PER_CENT:
            least = typed_cents_text(self._least_cents)
            suffix = f", {least} dollars at least" if self._least_cents else ""
            raise forms.ValidationError(f"Give whole cents{suffix}.")
        return nanos // NANOS_PER_CENT


class MoneyAdmin(ModelAdmin):
    """Shows every field of nano-dollars in dollars."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Returns the form's field for a column."""
        if db_field.name.endswith(("_nanos", "_nanos_per_million")):
            return DollarsField(
                label=_title(db_field.name),
                required=not db_field.null,
                help_text=db_field.help_text,
                initial=db_field.get_default(),
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class ReadOnlyAdmin(ModelAdmin):
    """Rows that staff read and nobody writes here: only the ledger's own functions do."""

    show_full_result_count = False  # It counts the whole table on every page.

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False


def _title(field: str) -> str:
    name, million, _ = field.partition("_nanos_per_million")
    name = name.removesuffix("_nanos").replace("_", " ").capitalize()
    return f"{name}, $ per million" if million else f"{name}, $"

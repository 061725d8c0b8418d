"""The base of admin pages for rows of rates, such as prices: all in dollars."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from billing.admin.fields import MoneyAdmin, NanosAdminField, dollars
from billing.admin.tiers import (
    LinesField,
    context_tier_texts,
    parse_context_tiers,
    parse_service_tiers,
    service_tier_texts,
)
from billing.models import RatesRow
from billing.pricing.components import COMPONENTS, extra_components
from billing.pricing.money import dollars_text, factor_text

# The columns of lists of rates.
RATE_COLUMNS = (
    dollars("input_nanos_per_million", "Input, $/1M"),
    dollars("cached_input_nanos_per_million", "Cached, $/1M"),
    dollars("output_nanos_per_million", "Output, $/1M"),
    "factors_and_tiers",
    "source",
)
_TIERED = ("factor_millionths", "context_tiers", "service_tiers")


class RatesForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A form that stores the rates of extra components in the row's `extra_rates`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, (name, _) in extra_rate_fields().items():
            if field in self.fields:
                self.initial.setdefault(field, self.instance.extra_rates.get(name))

    def clean(self) -> Any:
        """Put the extra rates into the row; an empty field means a component without a rate."""
        cleaned = super().clean()
        rates: dict[str, int] = {}
        for field, (name, _) in extra_rate_fields().items():
            nanos = self.cleaned_data.get(field)
            if nanos is not None:
                rates[name] = nanos
        self.instance.extra_rates = rates
        return cleaned


def rates_form(model: type[RatesRow], base: type[RatesForm] = RatesForm) -> type[RatesForm]:
    """Return the form class for a model, with a field for each extra component."""
    columns = [
        field.name
        for field in model._meta.fields
        if field.editable and field.name not in {"id", "extra_rates"}
    ]
    meta = type("Meta", (), {"model": model, "fields": columns})
    fields = {
        field: NanosAdminField(label=label, required=False)
        for field, (_, label) in extra_rate_fields().items()
    }
    return type("RatesForm", (base,), {"Meta": meta, **fields})


def extra_rate_fields() -> dict[str, tuple[str, str]]:
    """Return the component's name and the label of each extra rate, by form field."""
    fields = {}
    for component in extra_components():
        unit = "" if component.per == 1 else f" per {component.per:,}"
        label = f"{component.singular.capitalize()}, ${unit}"
        fields[f"rate_{component.name}"] = (component.name, label)
    return fields


def initial_rates(row: RatesRow) -> dict[str, Any]:
    """Return a row's rates, factor and tiers as the initial values of a form."""
    columns = [component.rate_column for component in COMPONENTS.values() if component.field]
    initial = {name: getattr(row, name) for name in (*columns, *_TIERED)}
    return initial | {f"rate_{name}": nanos for name, nanos in row.extra_rates.items()}


class RatesAdmin(MoneyAdmin):
    """Rows of rates. One that has taken effect can't be changed: add a new version instead."""

    rates_title = "Prices"
    readonly_fields: ClassVar[Any] = ("created_at",)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return a form with a field for each rate, of extra components as well."""
        return super().get_form(request, obj, change, **{"form": rates_form(self.model), **kwargs})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's fields; a version that can't change only shows its extra rates."""
        fields = super().get_fields(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fields
        shown = [name for name in fields if name not in {*extra_rate_fields(), *_TIERED}]
        shown += ["shown_extra_rates"] if obj.extra_rates else []
        return [*shown, "factors_and_tiers"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that are only shown."""
        return (*self.readonly_fields, "shown_extra_rates", "factors_and_tiers")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's fields in sections: rates separate from factor and tiers."""
        sections: dict[str | None, list[str]] = {
            None: [],
            self.rates_title: [],
            "Factor and tiers": [],
        }
        for name in self.get_fields(request, obj):
            sections[self._section_of(str(name))].append(name)
        return [(title, {"fields": names}) for title, names in sections.items() if names]

    def _section_of(self, field: str) -> str | None:
        """Return the title of the section that a field belongs to; None for the first one."""
        if field in {*_TIERED, "factors_and_tiers"}:
            return "Factor and tiers"
        is_rate = "nanos" in field or field in {*extra_rate_fields(), "shown_extra_rates"}
        return self.rates_title if is_rate else None

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Return the form field of a model field; tiers are entered as lines."""
        if not db_field.name.endswith(("context_tiers", "service_tiers")):
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        as_lines: Any
        parse: Any
        if db_field.name.endswith("context_tiers"):
            as_lines, parse = context_tier_texts, parse_context_tiers
            example = "200,000: input 2.50, output 15"
        else:
            as_lines, parse = service_tier_texts, parse_service_tiers
            example = "priority 1.75"
        return LinesField(
            as_lines,
            parse,
            label=db_field.verbose_name.capitalize(),
            help_text=f"{db_field.help_text} A line each, such as <code>{example}</code>.",
        )

    @admin.display(description="Other components, $")
    def shown_extra_rates(self, row: Any) -> str:
        """Show the rates of components without columns."""
        return "; ".join(
            f"{label}: ${dollars_text(row.extra_rates[name])}"
            for name, label in extra_rate_fields().values()
            if name in row.extra_rates
        )

    @admin.display(description="Factor and tiers")
    def factors_and_tiers(self, row: Any) -> str:
        """Show the factor of the rates, and their values at each tier."""
        texts = [f"Factor {factor_text(row.factor_millionths)}"]
        texts += [f"above {text}" for text in context_tier_texts(row.context_tiers)]
        texts += [f"service tier {text}" for text in service_tier_texts(row.service_tiers)]
        return "; ".join(texts)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow changes of a version only until it takes effect."""
        is_open = obj is None or not obj.has_begun
        return is_open and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deleting a version only until it takes effect."""
        is_open = obj is None or not obj.has_begun
        return is_open and super().has_delete_permission(request, obj)

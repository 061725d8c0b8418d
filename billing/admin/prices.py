"""Admin pages for products and their prices, in dollars whatever the component."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from billing.admin.fields import MoneyAdmin, NanosAdminField, dollars
from billing.admin.tiers import (
    LinesField,
    context_tier_texts,
    parse_context_tiers,
    parse_service_tiers,
    service_tier_texts,
)
from billing.models import PriceVersion, Product
from billing.pricing.components import extra_components
from billing.pricing.money import dollars_text, factor_text

_TIERED = ("factor_millionths", "context_tiers", "service_tiers")


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Keeps the rates of extra components in the version's two objects of them."""

    class Meta:
        model = PriceVersion
        fields = [
            field.name
            for field in PriceVersion._meta.fields
            if field.editable and field.name not in {"id", "extra_rates", "extra_cost_rates"}
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, (column, name, _) in extra_rate_fields().items():
            if field in self.fields:
                self.initial.setdefault(field, getattr(self.instance, column).get(name))

    def clean(self) -> Any:
        """Put the extra rates into the version; an empty field is a component without a rate."""
        cleaned = super().clean()
        rates: dict[str, dict[str, int]] = {"extra_rates": {}, "extra_cost_rates": {}}
        for field, (column, name, _) in extra_rate_fields().items():
            nanos = self.cleaned_data.get(field)
            if nanos is not None:
                rates[column][name] = nanos
        for column, by_name in rates.items():
            setattr(self.instance, column, by_name)
        return cleaned


def price_form() -> type[PriceForm]:
    """Return the form's class with the fields of today's extra components."""
    fields = {
        field: NanosAdminField(label=label, required=False)
        for field, (_, _, label) in extra_rate_fields().items()
    }
    return type("PriceForm", (PriceForm,), fields)


def extra_rate_fields() -> dict[str, tuple[str, str, str]]:
    """Return the form's fields of extra rates: (column, component's name, label) of each."""
    fields = {}
    for column, prefix, infix in (
        ("extra_rates", "rate", ""),
        ("extra_cost_rates", "cost", " cost"),
    ):
        for component in extra_components():
            unit = "" if component.per == 1 else f" per {component.per:,}"
            label = f"{component.singular.capitalize()}{infix}, ${unit}"
            fields[f"{prefix}_{component.name}"] = (column, component.name, label)
    return fields


def _section_of(field: str) -> str | None:
    """Return the title of the form's section that a field belongs to; None for the first one."""
    is_cost = field.startswith("cost_") or "_cost_" in field
    if field.endswith((*_TIERED, "factors_and_tiers")):
        return "Upstream cost factor and tiers" if is_cost else "Price factor and tiers"
    if is_cost:
        return "Upstream cost"
    return "Prices" if field.startswith(("rate_", "extra_")) or "nanos" in field else None


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Products. Their prices are separate, versioned rows."""

    list_display = ("sku", "created_at")
    list_filter = ("created_at",)
    search_fields = ("sku",)
    readonly_fields = ("created_at",)


@admin.register(PriceVersion)
class PriceVersionAdmin(MoneyAdmin):
    """Prices. One that has taken effect can't be changed: add a new version instead."""

    list_display = (
        "product",
        "effective_from",
        dollars("input_nanos_per_million", "Input, $/1M"),
        dollars("cached_input_nanos_per_million", "Cached, $/1M"),
        dollars("output_nanos_per_million", "Output, $/1M"),
        dollars("input_cost_nanos_per_million", "Input cost, $/1M"),
        dollars("output_cost_nanos_per_million", "Output cost, $/1M"),
        "factors_and_tiers",
        "source",
    )
    list_filter = ("effective_from",)
    list_select_related = ("product",)
    search_fields = ("product__sku", "source")
    autocomplete_fields = ("product",)
    readonly_fields = ("created_at",)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return a form with a field for each rate, of extra components as well."""
        return super().get_form(request, obj, change, **{"form": price_form(), **kwargs})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's fields; a version that can't change only shows its extra rates."""
        fields = super().get_fields(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fields
        shown = [name for name in fields if name not in extra_rate_fields()]
        shown = [name for name in shown if not str(name).endswith(_TIERED)]
        shown += ["extra_prices"] if obj.extra_rates or obj.extra_cost_rates else []
        return [*shown, "factors_and_tiers", "cost_factors_and_tiers"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's fields, prices apart from the upstream's costs."""
        sections: dict[str | None, list[str]] = {
            None: [],
            "Prices": [],
            "Price factor and tiers": [],
            "Upstream cost": [],
            "Upstream cost factor and tiers": [],
        }
        for name in self.get_fields(request, obj):
            sections[_section_of(str(name))].append(name)
        return [(title, {"fields": names}) for title, names in sections.items() if names]

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

    @admin.display(description="Extra prices, $")
    def extra_prices(self, version: PriceVersion) -> str:
        """Show the rates of components without columns, and what they cost us."""
        return "; ".join(
            f"{label}: ${dollars_text(getattr(version, column)[name])}"
            for column, name, label in extra_rate_fields().values()
            if name in getattr(version, column)
        )

    @admin.display(description="Factor and tiers")
    def factors_and_tiers(self, version: PriceVersion) -> str:
        """Show by what the prices are multiplied, and what they are at each tier."""
        return _factors_and_tiers(
            version.factor_millionths, version.context_tiers, version.service_tiers
        )

    @admin.display(description="Cost factor and tiers")
    def cost_factors_and_tiers(self, version: PriceVersion) -> str:
        """Show the same of what the upstream asks."""
        return _factors_and_tiers(
            version.cost_factor_millionths,
            version.cost_context_tiers,
            version.cost_service_tiers,
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow changes of a version only until it takes effect."""
        return _is_future(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deleting a version only until it takes effect."""
        return _is_future(obj) and super().has_delete_permission(request, obj)


def _factors_and_tiers(
    factor_millionths: int, context_tiers: list[dict[str, Any]], service_tiers: dict[str, int]
) -> str:
    texts = [f"Factor {factor_text(factor_millionths)}"]
    texts += [f"above {text}" for text in context_tier_texts(context_tiers)]
    texts += [f"service tier {text}" for text in service_tier_texts(service_tiers)]
    return "; ".join(texts)


def _is_future(version: PriceVersion | None) -> bool:
    return version is None or version.effective_from > timezone.now()

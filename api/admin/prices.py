"""Admin pages for products and their prices: a price is reviewed before it is published."""

import hashlib
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanWidget

from api.catalogue.price_review import (
    Supplier,
    customers_of,
    free_components,
    losses_of,
    price_at,
    suppliers_of,
)
from billing.admin.fields import PublishTimeField
from billing.admin.rates import (
    RATE_COLUMNS,
    RatesAdmin,
    RatesForm,
    initial_rates,
    rates_form,
)
from billing.models import PriceVersion, Product
from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS, Component
from billing.pricing.margins import rate_text
from billing.pricing.money import dollars_text


class ProductChoice(forms.Form):
    """The choice of the product to price."""

    product = forms.ModelChoiceField(
        Product.objects.order_by("sku"), widget=UnfoldAdminSelectWidget
    )


class PriceForm(RatesForm):
    """A new or scheduled price. It refuses what is free or below cost by accident."""

    effective_from = PublishTimeField()
    is_free = forms.BooleanField(
        label="Free on purpose", required=False, widget=UnfoldBooleanWidget
    )
    is_loss = forms.BooleanField(
        label="Below cost on purpose", required=False, widget=UnfoldBooleanWidget
    )
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for component in COMPONENTS.values():
            if (field := self.fields.get(_field_of(component))) is not None:
                field.widget.attrs["aria-label"] = field.label or component.name

    def _post_clean(self) -> None:
        """Check the price as a whole, once its fields are in the row."""
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, which the stubs leave out
        if self.errors:
            return
        price: PriceVersion = self.instance
        free = free_components(price, price_at(price.product, price.effective_from))
        if free and not self.cleaned_data["is_free"]:
            names = ", ".join(component.plural for component in free)
            self.add_error("is_free", f"This would be free: {names}. Check the box if it should.")
        losses = losses_of(price, suppliers_of(price.product, price.effective_from))
        if losses and not self.cleaned_data["is_loss"]:
            self.add_error("is_loss", [*losses, "Check the box to sell below cost."])

    @property
    def digest(self) -> str:
        """A digest of what was entered, so that what is published is what was reviewed."""
        entered = sorted(
            (name, value)
            for name, value in self.data.items()
            if name not in {"csrfmiddlewaretoken", "reviewed"}
        )
        return hashlib.sha256(repr(entered).encode()).hexdigest()

    @property
    def is_reviewed(self) -> bool:
        """Whether exactly these figures have been shown with their effects."""
        return bool(self.data.get("reviewed") == self.digest)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Products. Their prices are separate, versioned rows."""

    list_display = ("sku", "created_at")
    list_filter = ("created_at",)
    search_fields = ("sku",)
    readonly_fields = ("created_at",)
    actions_detail: Any = ("set_price",)

    @action(description="Set price", url_path="set-price")  # type: ignore[operator]  # unfold's
    def set_price(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the form of a new price."""
        return redirect(f"{reverse('admin:billing_priceversion_add')}?product={object_id}")


@admin.register(PriceVersion)
class PriceVersionAdmin(RatesAdmin):
    """Prices. One that has taken effect can't be changed: add a new version instead."""

    list_display: Any = ("product", "effective_from", *RATE_COLUMNS)
    list_filter = ("effective_from",)
    list_select_related = ("product",)
    search_fields = ("product__sku", "source")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form of a price."""
        form = rates_form(PriceVersion, PriceForm)
        return super().get_form(request, obj, change, **{**kwargs, "form": form})

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out the product: it is chosen first, and doesn't change."""
        is_shown = obj is not None and not self.has_change_permission(request, obj)
        return () if is_shown else ("product",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's fields; a price that can only be read has no boxes to check."""
        sections = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return sections
        hidden = {"is_free", "is_loss", "reviewed", "announces"}
        return [
            (title, {"fields": [name for name in options["fields"] if name not in hidden]})
            for title, options in sections
        ]

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form of a price that can still be set; show others as they are."""
        price = self.get_object(request, unquote(object_id)) if object_id else None
        if object_id and (price is None or not self.has_change_permission(request, price)):
            return super().changeform_view(request, object_id, form_url, extra_context)
        if price is None and not self.has_add_permission(request):
            raise PermissionDenied
        if price is None:
            choice = ProductChoice({"product": request.GET.get("product")})
            if not choice.is_valid():
                return self._choose_product(request)
            price = PriceVersion(product=choice.cleaned_data["product"])
        return self._edit(request, price)

    def _choose_product(self, request: HttpRequest) -> HttpResponse:
        """Show the choice of the product to price."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Set a price",
            "opts": self.model._meta,
            "form": ProductChoice(),
        }
        return TemplateResponse(request, "admin/api/choose_product.html", context)

    def _edit(self, request: HttpRequest, price: PriceVersion) -> HttpResponse:
        """Show the form and what it would do, or publish what was reviewed."""
        is_new = price.pk is None
        current = price_at(price.product, timezone.now())
        start = price if not is_new else _latest(price.product) or current
        form = self.get_form(request, None if is_new else price, change=not is_new)(
            request.POST or None, instance=price, initial=_initial(start, is_new=is_new)
        )
        if form.is_valid() and form.is_reviewed:
            with transaction.atomic():
                form.save()
                self._log(request, price, current, is_new=is_new)
            messages.success(request, _published_text(price))
            return redirect("admin:billing_priceversion_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Price of {price.product}",
            "subtitle": None,
            "opts": self.model._meta,
            "media": self.media + form.media,
            "original": None if is_new else price,
            "form": form,
            "is_reviewed": form.is_bound and form.is_valid(),
            "has_rates": _has_rates(form),
            **_review(form, price, current),
        }
        return TemplateResponse(request, "admin/api/price_form.html", context)

    def _log(
        self,
        request: HttpRequest,
        price: PriceVersion,
        current: PriceVersion | None,
        *,
        is_new: bool,
    ) -> None:
        """Write the change of each rate to the staff log."""
        text = f"{_published_text(price)} {_change_text(price, current)}"
        (self.log_addition if is_new else self.log_change)(request, price, text)


def _latest(product: Product) -> PriceVersion | None:
    """Return the price that a new one follows: the latest, even if it is scheduled."""
    return product.price_versions.order_by("-effective_from").first()


def _initial(start: PriceVersion | None, *, is_new: bool) -> dict[str, Any]:
    """Return the form's initial values: those of the price that the new one follows."""
    if start is None:
        return {}
    if is_new:
        return initial_rates(start)
    return initial_rates(start) | {"effective_from": start.effective_from, "source": start.source}


def _has_rates(form: forms.ModelForm) -> bool:  # type: ignore[type-arg]
    """Return whether valid rates were entered, be they free or below cost."""
    return form.is_bound and form.errors.keys() <= {"is_free", "is_loss"}


def _field_of(component: Component) -> str:
    return component.rate_column if component.field else f"rate_{component.name}"


def _rate_text(price: PriceVersion | None, name: str) -> str:
    rate = price.rates.of(name) if price else None
    return "\N{EN DASH}" if rate is None else f"${rate_text(rate * ONE)}"


def _review(
    form: forms.ModelForm,  # type: ignore[type-arg]
    price: PriceVersion,
    current: PriceVersion | None,
) -> dict[str, Any]:
    """Return the tables of the page: each rate with its suppliers, and the largest customers."""
    moment = price.effective_from or timezone.now()
    suppliers = suppliers_of(price.product, moment)
    shown = price if _has_rates(form) else (current or price)
    pairs = [supplier.pairs(shown) for supplier in suppliers]
    rows = []
    for name, component in COMPONENTS.items():
        per = "" if component.per == 1 else " \N{MULTIPLICATION SIGN} 1M"
        cells: list[Any] = [
            f"{component.plural.capitalize()}{per}",
            _rate_text(current, name),
            _cell(form[_field_of(component)]),
        ]
        cells += [_margin_text(found.get(name)) for found in pairs]
        rows.append(cells)
    tables: dict[str, Any] = {
        "rates": {
            "headers": ["Component", "Now", "New, $", *map(_supplier_title, suppliers)],
            "rows": rows,
        },
        "other_fields": [
            form[name] for name in ("factor_millionths", "context_tiers", "service_tiers")
        ],
    }
    if _has_rates(form):
        tables["change"] = _change_text(price, current)
        tables["customers"] = {
            "headers": ["Team", "Requests", "Paid", "At the new price", "Change", "Contract"],
            "rows": [
                [
                    each.team,
                    f"{each.requests:,}",
                    f"${dollars_text(each.charged_nanos)[:-3]}",
                    f"${dollars_text(each.would_nanos)[:-3]}",
                    "" if each.change_percent is None else f"{each.change_percent:+.1f}%",
                    each.contract,
                ]
                for each in customers_of(price)
            ],
        }
    return tables


def _cell(field: forms.BoundField) -> str:
    """Return an input with its errors."""
    context = {"field": field, "errors": field.errors}
    return render_to_string("admin/api/rate_cell.html", context)


def _supplier_title(supplier: Supplier) -> str:
    return supplier.label if supplier.cost else f"{supplier.label} (no cost known)"


def _margin_text(pair: Any) -> str:
    if pair is None:
        return "\N{EN DASH}"
    cost = rate_text(pair.cost)
    if pair.margin_percent is None:
        return f"${cost}"
    return f"${cost} \N{RIGHTWARDS ARROW} {pair.margin_percent:.0f}%"


def _change_text(price: PriceVersion, current: PriceVersion | None) -> str:
    """Return each rate that changes, such as `input tokens $0.70 → $0.80`."""
    changes = [
        f"{component.plural} {_rate_text(current, name)} \N{RIGHTWARDS ARROW} "
        f"{_rate_text(price, name)}"
        for name, component in COMPONENTS.items()
        if _rate_text(current, name) != _rate_text(price, name)
    ]
    return "; ".join(changes) or "No rate changes."


def _published_text(price: PriceVersion) -> str:
    moment = price.effective_from
    if price.has_begun:
        return f"The price of {price.product} is in force."
    return f"The price of {price.product} takes effect on {moment:%Y-%m-%d at %H:%M} UTC."

"""The catalogue in the admin: the service, models, routes, costs."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action

from accounts import keys
from api.admin import export_page
from api.admin.routing import (
    DrainAdmin,
    route_state,
    with_route_state,
)
from api.catalogue.export import export_catalogue
from api.models import (
    Model,
    ModelAlias,
    Route,
    RouteCost,
    Service,
)
from billing.admin.rates import RATE_COLUMNS, RatesAdmin, initial_rates


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of the service's row, with a check of the key prefix."""

    def clean_key_prefix(self) -> str:
        """Return the prefix. Raise ValidationError for one that the logs could not mask."""
        prefix: str = self.cleaned_data["key_prefix"]
        if not keys.is_prefix(prefix):
            raise forms.ValidationError(
                "Use up to 20 letters, digits and dashes, ending in a dash: logs mask keys by it."
            )
        return prefix


@admin.register(Service)
class ServiceAdmin(ModelAdmin):
    """The service's one row."""

    form = ServiceForm
    list_display = ("name", "key_prefix", "contact_email", "catalogue", "is_open")
    list_filter = ("is_open",)
    search_fields = ("name",)
    readonly_fields = ("catalogue",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow adding the row if no catalogue was loaded yet."""
        return not Service.objects.exists() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion."""
        return False


class AliasesOfModel(TabularInline):
    """A model's aliases."""

    model = ModelAlias
    extra = 0


class RoutesOfModel(TabularInline):
    """A model's routes."""

    model = Route
    extra = 0
    autocomplete_fields = ("upstream",)


@admin.register(Model)
class ModelAdminPage(ModelAdmin):
    """Models."""

    list_display = (
        "name",
        "title",
        "owner",
        "kind",
        "product",
        "context_tokens",
        "max_output_tokens",
        "is_enabled",
        "is_coding",
    )
    list_filter = ("kind", "is_enabled", "is_coding")
    list_select_related = ("product",)
    search_fields = ("name", "title", "owner", "aliases__name")
    autocomplete_fields = ("product",)
    inlines = (AliasesOfModel, RoutesOfModel)
    actions_detail: Any = ("set_price",)
    actions_list: Any = ("export",)

    @action(description="Export and compare", url_path="export")  # type: ignore[operator]
    def export(self, request: HttpRequest) -> HttpResponse:
        """Show the catalogue as a file, download it, or compare another file with it."""
        export_page.require_permissions(request)
        if "download" in request.GET:
            return export_page.download()
        form = export_page.CompareForm(request.POST or None, request.FILES or None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Export and compare",
            "opts": self.model._meta,
            "form": form,
            "is_compared": form.is_valid(),
            "text": export_catalogue(),
        }
        return TemplateResponse(request, "admin/api/export_catalogue.html", context)

    @action(description="Set price", url_path="set-price")  # type: ignore[operator]  # unfold's
    def set_price(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the form of the model's new price."""
        model = get_object_or_404(Model, pk=object_id)
        return redirect(f"{reverse('admin:billing_priceversion_add')}?product={model.product_id}")


@admin.register(ModelAlias)
class ModelAliasAdmin(ModelAdmin):
    """Aliases of models."""

    list_display = ("name", "model")
    list_filter = ("model__kind",)
    list_select_related = ("model",)
    search_fields = ("name", "model__name")
    autocomplete_fields = ("model",)


@admin.register(Route)
class RouteAdmin(DrainAdmin):
    """Routes of models to upstreams."""

    list_display = ("model", "upstream", "upstream_model", "priority", "weight", "state")
    list_filter = (
        *("is_enabled", ("drains_at", admin.EmptyFieldListFilter)),
        *("upstream", "reasoning_dialect"),
    )
    search_fields = ("model__name", "upstream__name", "upstream_model")
    autocomplete_fields = ("model", "upstream")
    actions_detail: Any = ("set_cost",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows with their states."""
        return with_route_state(super().get_queryset(request))

    @admin.display(description="State")
    def state(self, route: Route) -> str:
        """Return whether the route gets calls."""
        return route_state(route)

    @action(description="Set cost", url_path="set-cost")  # type: ignore[operator]  # unfold's
    def set_cost(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the form of the route's new cost."""
        return redirect(f"{reverse('admin:api_routecost_add')}?route={object_id}")


@admin.register(RouteCost)
class RouteCostAdmin(RatesAdmin):
    """What upstreams charge us. A version that has taken effect can't be changed."""

    rates_title = "Cost"
    list_display: Any = ("route", "effective_from", *RATE_COLUMNS)
    list_filter = ("effective_from", "route__upstream")
    list_select_related = ("route__model", "route__upstream")
    search_fields = ("route__model__name", "route__upstream__name", "source")
    autocomplete_fields = ("route",)

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        """Return the form's initial values: the route's latest cost, from now on."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        route = initial.get("route", "")
        cost = RouteCost.objects.filter(route=route).first() if route.isdecimal() else None
        first = initial_rates(cost) if cost else {}
        return initial | {"effective_from": timezone.now(), **first}

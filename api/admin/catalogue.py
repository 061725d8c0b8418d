"""The catalogue in the admin: the service, upstreams, models, routes."""

from collections import Counter
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts import keys
from api import upstream_keys
from api.admin import export_page
from api.admin.import_page import ImportForm, preview_table, require_permissions
from api.admin.routing import (
    DrainAdmin,
    route_state,
    upstream_state,
    with_route_state,
    with_upstream_state,
)
from api.catalogue.export import export_catalogue
from api.catalogue.import_models import PlannedModel, make_import, plan_import
from api.dialects import DIALECTS
from api.models import (
    Model,
    ModelAlias,
    Route,
    RouteCost,
    Service,
    Upstream,
)
from api.upstream_check import check_upstream
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


class UpstreamForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of an upstream. A key can be typed, and never comes back."""

    new_key = forms.CharField(
        required=False,
        max_length=4_000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Typed once, stored encrypted, never shown again. Empty: the key stays as it is.",
    )
    forgets_key = forms.BooleanField(
        label="Delete the key",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Requests are sent without a key from then on.",
    )

    class Meta:
        model = Upstream
        fields = (
            *("name", "is_enabled", "drains_at", "dialect", "base_url", "max_concurrency"),
            *("connect_timeout_seconds", "first_token_timeout_seconds", "idle_timeout_seconds"),
            *("total_timeout_seconds", "drains_on_disconnect"),
        )

    def clean_new_key(self) -> str:
        """Return the key. Raise ValidationError for one that no header can carry."""
        key: str = self.cleaned_data["new_key"]
        if not (key.isascii() and key.isprintable()):
            raise forms.ValidationError("A key can only have printable ASCII characters.")
        return key

    def clean(self) -> Any:
        """Raise ValidationError for a change that would send the key to another address."""
        cleaned = super().clean()
        key, forgets_key = self.cleaned_data.get("new_key"), self.cleaned_data["forgets_key"]
        if key and forgets_key:
            self.add_error("forgets_key", "Enter a key, or delete the stored one.")
        has_key = self.instance.encrypted_key or self.instance.api_key_env
        if has_key and "base_url" in self.changed_data and not (key or forgets_key):
            self.add_error(
                "new_key",
                "The stored key belongs to the previous URL. Enter the key for the new one.",
            )
        return cleaned


class TestForm(forms.Form):
    """The model that a test calls."""

    model = forms.CharField(
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text=(
            "The upstream's name for the model. Empty: the model of its first route, or else the "
            "first one that it lists."
        ),
    )


@admin.register(Upstream)
class UpstreamAdmin(DrainAdmin):
    """Upstreams. Their keys are encrypted, and bound to their addresses."""

    form = UpstreamForm
    list_display = ("name", "dialect", "base_url", "key", "state", "max_concurrency")
    list_filter = (
        *("is_enabled", ("drains_at", admin.EmptyFieldListFilter)),
        *("dialect", "drains_on_disconnect"),
    )
    search_fields = ("name", "base_url")
    readonly_fields = ("key",)
    actions_detail: Any = ("test", "import_models")
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "drains_at", "dialect", "base_url")}),
        ("Key", {"fields": ("key", "new_key", "forgets_key")}),
        (
            "Limits",
            {
                "fields": (
                    *("max_concurrency", "connect_timeout_seconds", "first_token_timeout_seconds"),
                    *("idle_timeout_seconds", "total_timeout_seconds", "drains_on_disconnect"),
                )
            },
        ),
    )

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Test", url_path="test", permissions=["change"]
    )
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of a test, or run the test and show its result."""
        upstream = get_object_or_404(Upstream, pk=object_id)
        form = TestForm(request.POST or None)
        report = None
        if request.method == "POST" and form.is_valid():
            report = check_upstream(upstream, form.cleaned_data["model"])
            self.log_change(request, upstream, f"Tested: {'good' if report.is_good else 'failed'}.")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Test {upstream}",
            "opts": self.model._meta,
            "original": upstream,
            "form": form,
            "report": report,
            "back_url": reverse("admin:api_upstream_change", args=[upstream.pk]),
        }
        return TemplateResponse(request, "admin/api/upstream_test.html", context)

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Import models", url_path="import", permissions=["change"]
    )
    def import_models(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of an import, preview the import, or run it."""
        require_permissions(request)
        upstream = get_object_or_404(Upstream, pk=object_id)
        form = ImportForm(request.POST or None, request.FILES or None)
        planned: list[PlannedModel] = []
        if form.is_valid():
            data = form.cleaned_data
            options = (upstream, form.list, form.rule, data["moment"])
            planned = plan_import(*options, reprices=data["reprices"])
            if any("below cost" in plan.problems for plan in planned) and not data["is_loss"]:
                form.add_error("is_loss", "Some models would be sold below cost: see the preview.")
            elif "_import" in request.POST:
                source = f"import from {upstream}"
                planned = make_import(*options, reprices=data["reprices"], source=source)
                text = f"Imported {len(planned)} models from {upstream}."
                self.log_change(request, upstream, text)
                messages.success(request, text)
                return redirect("admin:api_model_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Import models from {upstream}",
            "opts": self.model._meta,
            "original": upstream,
            "form": form,
            "media": form.media,
            "planned": planned,
            "table": preview_table(planned),
            "counts": dict(Counter(plan.state for plan in planned)),
            "back_url": reverse("admin:api_upstream_change", args=[upstream.pk]),
        }
        return TemplateResponse(request, "admin/api/import_models.html", context)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows with their states."""
        return with_upstream_state(super().get_queryset(request))

    @admin.display(description="State")
    def state(self, upstream: Upstream) -> str:
        """Return whether the upstream gets calls."""
        return upstream_state(upstream)

    @admin.display(description="Key")
    def key(self, upstream: Upstream) -> str:
        """Tell where an upstream's key is, and its last characters."""
        if upstream.encrypted_key:
            end = f"…{upstream.key_end}, " if upstream.key_end else ""
            return f"{end}stored {upstream.key_set_at:%Y-%m-%d}"
        name = upstream.api_key_env
        return f"variable {upstream_keys.variable_of(name)}" if name else "none"

    @method_decorator(sensitive_post_parameters("new_key"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show or save the form; error reports leave out the key."""
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row, with the key that was typed, or without one.

        What its variable holds is for the address of its catalogue file: it is forgotten, too.
        """
        key = form.cleaned_data["new_key"]
        if key or form.cleaned_data["forgets_key"]:
            obj.encrypted_key = upstream_keys.encrypt_key(key, obj.base_url) if key else ""
            obj.key_end = upstream_keys.end_of(key)
            obj.key_set_at = timezone.now() if key else None
            obj.api_key_env = ""
        super().save_model(request, obj, form, change)

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Return the form's field of a column: the dialect is one of those that exist."""
        if db_field.name == "dialect":
            return forms.ChoiceField(
                choices=[(name, name) for name in DIALECTS],
                initial=db_field.default,
                help_text=db_field.help_text,
                widget=UnfoldAdminSelectWidget,
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


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

"""Upstreams in the admin.

An upstream's own page is enough for its only key; several have pages of their own
(api/admin/upstream_keys.py).
"""

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
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from api import upstream_keys
from api.admin.import_page import ImportForm, preview_table, require_permissions
from api.admin.routing import (
    DrainAdmin,
    upstream_state,
    with_upstream_state,
)
from api.admin.upstream_keys import LINK, KeysOfUpstream, NewKeyField, secret_text
from api.catalogue.import_models import PlannedModel, make_import, plan_import
from api.dialects import DIALECTS
from api.models import Upstream, UpstreamKey
from api.upstream_check import check_upstream


class UpstreamForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of an upstream. Its only key can be typed, and never comes back."""

    new_key = NewKeyField(
        required=False,
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keys = list(self.instance.keys.order_by("pk")) if self.instance.pk else []

    def clean(self) -> Any:
        """Raise ValidationError for a change that would send a key to another address."""
        cleaned = super().clean()
        key, forgets_key = self.cleaned_data.get("new_key"), self.cleaned_data["forgets_key"]
        is_moved = "base_url" in self.changed_data
        if len(self.keys) > 1:
            self.cleaned_data |= {"new_key": "", "forgets_key": False}
            if is_moved:
                self.add_error(
                    "base_url",
                    "The upstream's keys belong to the previous URL. Delete all but one of them, "
                    "or add another upstream.",
                )
            return cleaned
        if key and forgets_key:
            self.add_error("forgets_key", "Enter a key, or delete the stored one.")
        has_key = any(each.has_secret for each in self.keys)
        if has_key and is_moved and not (key or forgets_key):
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
    actions_detail: Any = ("test", "add_key", "import_models")
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

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Add key", url_path="add-key", permissions=["change"]
    )
    def add_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the form of another key."""
        return redirect(f"{reverse('admin:api_upstreamkey_add')}?upstream={object_id}")

    def get_inlines(self, request: HttpRequest, obj: Upstream | None) -> Any:
        """Return the table of keys, if the upstream has several."""
        return [KeysOfUpstream] if obj is not None and obj.keys.count() > 1 else []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form's sections; of several keys none can be typed here."""
        fieldsets = super().get_fieldsets(request, obj)
        has_several = bool(self.get_inlines(request, obj))
        return [each for each in fieldsets if not (has_several and each[0] == "Key")]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows with their states."""
        return with_upstream_state(super().get_queryset(request)).prefetch_related("keys")

    @admin.display(description="State")
    def state(self, upstream: Upstream) -> str:
        """Return whether the upstream gets calls."""
        return upstream_state(upstream)

    @admin.display(description="Key")
    def key(self, upstream: Upstream) -> str:
        """Tell where an upstream's key is, and its last characters; of several, how many are used.

        The only key's page, with its limits, is linked.
        """
        keys = list(upstream.keys.all())
        if len(keys) > 1:
            return f"{sum(key.is_enabled for key in keys)} of {len(keys)} keys enabled"
        if not keys:
            return "none"
        url = reverse("admin:api_upstreamkey_change", args=[keys[0].pk])
        text = secret_text(keys[0])
        return format_html('{} <a class="{}" href="{}">Limits</a>', text, LINK, url)

    @method_decorator(sensitive_post_parameters("new_key"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show or save the form; error reports leave out the key."""
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row, with the only key that was typed, or without one."""
        super().save_model(request, obj, form, change)
        secret = form.cleaned_data["new_key"]
        if secret:
            key = form.keys[0] if form.keys else UpstreamKey()
            key.upstream = obj
            upstream_keys.store_secret(key, secret, timezone.now())
            key.save()
        elif form.cleaned_data["forgets_key"]:
            UpstreamKey.objects.filter(pk__in=[each.pk for each in form.keys]).delete()

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

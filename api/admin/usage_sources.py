"""Admin pages of the APIs that upstreams' own usage is read from, and of what they reported."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from api import usage_reports
from api.admin.upstream_keys import NewKeyField
from api.models import ReportedUsage, UsageSource
from billing.admin.fields import ReadOnlyAdmin, dollars


class UsageSourceForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of a source. Its key can be typed, and never comes back."""

    new_key = NewKeyField(
        required=False,
        help_text="OpenAI: an admin key. OpenRouter: a management key. Typed once, stored "
        "encrypted, never shown again. Empty: the key stays as it is.",
    )

    class Meta:
        model = UsageSource
        fields = ("upstream", "kind", "base_url", "is_enabled")

    def clean(self) -> Any:
        """Require a key for a new address. Raise ValidationError."""
        cleaned = super().clean()
        is_moved = bool({"kind", "base_url"} & set(self.changed_data))
        has_key = bool(self.instance.encrypted_key) and not is_moved
        if not has_key and not self.cleaned_data.get("new_key"):
            self.add_error("new_key", "Enter the key for this address.")
        return cleaned


@admin.register(UsageSource)
class UsageSourceAdmin(ModelAdmin):
    """Sources of upstreams' own usage. Their keys are encrypted, and bound to their addresses."""

    form = UsageSourceForm
    list_display = ("upstream", "kind", "base_url", "is_enabled", "read_at", "error")
    list_filter = ("kind", "is_enabled")
    list_select_related = ("upstream",)
    search_fields = ("upstream__name", "base_url")
    readonly_fields = ("key", "read_at", "error")
    fieldsets = (
        (None, {"fields": ("upstream", "kind", "base_url", "is_enabled")}),
        ("Key", {"fields": ("key", "new_key")}),
        ("State", {"fields": ("read_at", "error")}),
    )

    @admin.display(description="Key")
    def key(self, source: UsageSource) -> str:
        """Return when the key was stored, and its last characters."""
        if not source.encrypted_key or source.key_set_at is None:
            return "none"
        end = f"…{source.key_end}, " if source.key_end else ""
        return f"{end}stored {source.key_set_at:%Y-%m-%d}"

    @method_decorator(sensitive_post_parameters("new_key"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show or save the form; error reports leave out the key."""
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row with the key that was typed."""
        if key := form.cleaned_data["new_key"]:
            usage_reports.store_key(obj, key, timezone.now())
        super().save_model(request, obj, form, change)


@admin.register(ReportedUsage)
class ReportedUsageAdmin(ReadOnlyAdmin):
    """What upstreams reported, by day and model."""

    list_display = (
        *("day", "source", "model", "requests", "input_tokens", "output_tokens"),
        dollars("cost_nanos"),
    )
    list_filter = ("source__upstream", "day")
    list_select_related = ("source__upstream",)
    search_fields = ("model", "source__upstream__name")
    ordering = ("-day", "model")

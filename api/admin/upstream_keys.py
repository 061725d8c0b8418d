"""Upstreams' keys in the admin: typed once, stored encrypted, and never shown again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import TabularInline
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
)

from api import upstream_keys
from api.admin.routing import (
    DrainAdmin,
    key_state,
    with_key_state,
)
from api.models import UpstreamKey

LINK = "text-primary-600 dark:text-primary-500"


def checked_key(key: str) -> str:
    """Return a typed key. Raise ValidationError for one that no header can carry."""
    if not (key.isascii() and key.isprintable()):
        raise forms.ValidationError("A key can only have printable ASCII characters.")
    return key


class NewKeyField(forms.CharField):
    """A key that is typed, and never comes back."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
        super().__init__(max_length=4_000, widget=widget, **options)

    def clean(self, value: Any) -> str:
        """Return the key. Raise ValidationError for one that no header can carry."""
        return checked_key(super().clean(value))


def secret_text(key: UpstreamKey) -> str:
    """Return where a key is stored, and its last characters."""
    if key.encrypted_key and key.key_set_at:
        end = f"…{key.key_end}, " if key.key_end else ""
        return f"{end}stored {key.key_set_at:%Y-%m-%d}"
    return f"variable {upstream_keys.variable_of(key.api_key_env)}" if key.api_key_env else "none"


class KeysOfUpstream(TabularInline):
    """An upstream's keys, each with a link to its page."""

    model = UpstreamKey
    extra = 0
    can_delete = False
    fields = readonly_fields = (
        *("page", "secret", "state", "weight", "max_concurrency"),
        *("requests_per_minute", "tokens_per_minute"),
    )
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows with their states."""
        return with_key_state(super().get_queryset(request))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refer to the key's own form."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refer to the key's own form."""
        return False

    @admin.display(description="Name")
    def page(self, key: UpstreamKey) -> str:
        """Return the key's name, with a link to its page."""
        url = reverse("admin:api_upstreamkey_change", args=[key.pk])
        return format_html('<a class="{}" href="{}">{}</a>', LINK, url, key.name)

    @admin.display(description="Key")
    def secret(self, key: UpstreamKey) -> str:
        """Return where the key is stored, and its last characters."""
        return secret_text(key)

    @admin.display(description="State")
    def state(self, key: UpstreamKey) -> str:
        """Return whether the key is used."""
        return key_state(key)


class UpstreamKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of a key: it can be typed, and never comes back."""

    new_key = NewKeyField(help_text="Typed once, stored encrypted, never shown again.")

    class Meta:
        model = UpstreamKey
        fields = (
            *("upstream", "name", "is_enabled", "drains_at", "weight", "max_concurrency"),
            *("requests_per_minute", "tokens_per_minute"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields["new_key"].required = False
            self.fields["new_key"].help_text += " Empty: the key stays as it is."

    def clean(self) -> Any:
        """Raise ValidationError for a name that another key of the upstream has."""
        cleaned = super().clean()
        upstream = self.cleaned_data.get("upstream") or self.instance.upstream_id
        named = UpstreamKey.objects.filter(upstream=upstream, name=self.cleaned_data.get("name"))
        if upstream and named.exclude(pk=self.instance.pk).exists():
            self.add_error("name", "Another key of the upstream has this name.")
        return cleaned


@admin.register(UpstreamKey)
class UpstreamKeyAdmin(DrainAdmin):
    """Upstreams' keys, with limits of their own."""

    form = UpstreamKeyForm
    list_display = (
        *("name", "upstream", "secret", "state", "weight", "max_concurrency"),
        *("requests_per_minute", "tokens_per_minute"),
    )
    list_filter = ("is_enabled", ("drains_at", admin.EmptyFieldListFilter), "upstream")
    search_fields = ("name", "upstream__name", "=key_end")
    autocomplete_fields = ("upstream",)
    ordering = ("upstream__name", "pk")
    actions = (*DrainAdmin.actions, "disable", "enable")
    fieldsets = (
        (None, {"fields": ("upstream", "name", "is_enabled", "drains_at")}),
        ("Key", {"fields": ("secret", "new_key")}),
        (
            "Limits",
            {
                "fields": (
                    *("weight", "max_concurrency", "requests_per_minute", "tokens_per_minute"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the rows with their states."""
        return with_key_state(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields: a key stays with the upstream that it was typed for."""
        return ("secret",) if obj is None else ("upstream", "secret")

    @admin.display(description="Key")
    def secret(self, key: UpstreamKey) -> str:
        """Return where the key is stored, and its last characters."""
        return secret_text(key)

    @admin.display(description="State")
    def state(self, key: UpstreamKey) -> str:
        """Return whether the key is used."""
        return key_state(key)

    @method_decorator(sensitive_post_parameters("new_key"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show or save the form; error reports leave out the key."""
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row, with the key that was typed."""
        if secret := form.cleaned_data["new_key"]:
            upstream_keys.store_secret(obj, secret, timezone.now())
        super().save_model(request, obj, form, change)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, keys: QuerySet[UpstreamKey]) -> None:
        """Stop using the chosen keys at once."""
        self._enable(request, keys, False, "Disabled.")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, keys: QuerySet[UpstreamKey]) -> None:
        """Use the chosen keys again."""
        self._enable(request, keys, True, "Enabled.")

    def _enable(
        self, request: HttpRequest, keys: QuerySet[UpstreamKey], is_enabled: bool, text: str
    ) -> None:
        changed = list(keys.exclude(is_enabled=is_enabled))
        for key in changed:
            key.is_enabled = is_enabled
            key.save(update_fields=["is_enabled"])
            self.log_change(request, key, text)
        messages.info(request, f"{text} Rows changed: {len(changed)}.")

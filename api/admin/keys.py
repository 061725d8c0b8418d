"""Customers' API keys and settings in the admin."""

from typing import Any, cast

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts import api_keys, audit, key_actions
from accounts.models import ApiKey, NotificationSettings, User
from accounts.staff_rules import is_superuser, may_act_on
from api.service import current_service
from billing.admin.fields import MoneyAdmin, ReadOnlyAdmin, dollars


@admin.register(ApiKey)
class ApiKeyAdmin(MoneyAdmin):
    """API keys. Superusers create them; the plaintext is shown once, on the page after."""

    list_display = (
        "__str__",
        "team",
        "scope",
        "created_by",
        "created_at",
        "expires_at",
        "revoked_at",
        dollars("budget_month_nanos"),
    )
    list_filter = (
        "scope",
        ("revoked_at", admin.EmptyFieldListFilter),
        ("expires_at", admin.EmptyFieldListFilter),
        "created_at",
    )
    list_select_related = ("team", "created_by")
    search_fields = ("name", "=prefix", "=last_four", "team__name", "team__slug")
    autocomplete_fields = ("team",)
    ordering = ("-id",)
    actions = ("revoke",)
    _rules = (
        "name",
        "expires_at",
        "allowed_models",
        "requests_per_minute",
        "tokens_per_minute",
        "budget_day_nanos",
        "budget_month_nanos",
        "budget_total_nanos",
    )
    _facts = (
        *("team", "scope", "prefix", "last_four", "created_by", "created_at", "revoked_at"),
        *("frozen_at", "source", "renewable_until"),
    )

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Return the form's fields: team and scope can be set only on a new key."""
        return ("team", "scope", *self._rules) if obj is None else (*self._facts, *self._rules)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Return the read-only fields; among them the expiry of a frozen key, or of a token."""
        if obj is None:
            return ()
        is_fixed = obj.frozen_at or obj.renewable_until
        return (*self._facts, "expires_at") if is_fixed else self._facts

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow superusers only: who creates a key can use it."""
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid changes of a key of a team that the user belongs to."""
        if obj is not None and not may_act_on(request, obj.team):
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion: the books refer to the key. Revoke it instead."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save a key's rules, or create a key, with an entry in the team's audit log."""
        staff = audit.Staff(obj.team, cast(User, request.user))
        if change:
            # Only what was changed: a revocation or a renewal in the meantime stays.
            obj.save(update_fields=form.changed_data)
            if form.changed_data:
                detail = {"fields": sorted(form.changed_data)}
                audit.record(staff, "key.updated", str(obj), detail=detail)
            return
        obj.created_by = staff.user
        plaintext = api_keys.save_with_new_secret(obj, current_service().key_prefix)
        audit.record(staff, "key.created", str(obj), detail={"scope": str(obj.scope)})
        setattr(request, _PLAINTEXT, plaintext)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new key in the response itself: a message would be stored in the session."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key created",
            "key": obj,
            "plaintext": getattr(request, _PLAINTEXT),
            "back_url": reverse("admin:accounts_apikey_changelist"),
        }
        response = TemplateResponse(request, "accounts/key_shown_once.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Revoke the keys, with entries in their teams' audit logs."""
        with transaction.atomic():
            for key in keys.select_related("team"):
                key_actions.revoke_key(audit.Staff(key.team, cast(User, request.user)), key)
                self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Revoked: {len(keys)}.", messages.SUCCESS)


_PLAINTEXT = "_plaintext_of_new_api_key"


@admin.register(NotificationSettings)
class NotificationSettingsAdmin(ReadOnlyAdmin):
    """Users' own notification settings. A user without a row gets all emails."""

    list_display = ("user", "low_balance", dollars("low_balance_nanos"), "budget_reached")
    list_filter = ("low_balance", "budget_reached", "key_created", "new_sign_in")
    list_select_related = ("user",)
    search_fields = ("user__email", "user__name")

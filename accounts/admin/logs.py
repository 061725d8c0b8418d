"""Admin pages of the logs, and the base class for pages that write to teams' audit logs."""

import json
from collections.abc import Iterable
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts import audit
from accounts.models import AppAuthorization, AuditEntry, DeviceSignIn, SentNotice, Team, User
from accounts.staff_rules import ReadOnly


class AuditedAdmin(ModelAdmin):
    """The base class for pages whose rows belong to teams: staff actions go to their audit logs.

    They also go to Django's own log, which staff read.
    """

    audit_name = ""  # of the action in the audit log: `member` makes `member.changed`

    def teams_of(self, obj: Any) -> Iterable[Team]:
        """Return the teams that a row belongs to; by default, that of its column `team`."""
        return [obj.team]

    def subject_of(self, obj: Any) -> str:
        """Return what the audit log calls a row."""
        return str(obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log an addition in both logs."""
        self.record(request, obj, "added")
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log a change in both logs, with the names of the fields."""
        fields = _changed_fields(message)
        if fields:
            self.record(request, obj, "changed", {"fields": fields})
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Log deletions in both logs before the rows are deleted."""
        for obj in queryset:
            self.record(request, obj, "removed")
        return super().log_deletions(request, queryset)

    def record(
        self, request: HttpRequest, obj: Any, verb: str, detail: dict[str, Any] | None = None
    ) -> None:
        """Record the staff action in each team's audit log."""
        for team in self.teams_of(obj):
            staff = audit.Staff(team, cast(User, request.user))
            audit.record(staff, f"{self.audit_name}.{verb}", self.subject_of(obj), detail=detail)


class LogAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold's annotations
    """The base class for the logs' pages."""

    show_full_result_count = False  # it would count the whole table on every page


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    """The audit log."""

    list_display = ("created_at", "team", "actor_label", "action", "subject", "ip_address")
    list_filter = ("action", "created_at")
    list_select_related = ("team",)
    search_fields = ("actor_label", "subject", "team__name", "team__slug")
    date_hierarchy = "created_at"


@admin.register(SentNotice)
class SentNoticeAdmin(LogAdmin):
    """Sent emails."""

    list_display = ("created_at", "user", "team", "kind", "reference")
    list_filter = ("kind", "created_at")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "team__name", "team__slug", "reference")


@admin.register(DeviceSignIn)
class DeviceSignInAdmin(LogAdmin):
    """Devices that asked to sign in, without their codes and tokens."""

    list_display = ("created_at", "client", "ip_address", "key", "decided_at", "exchanged_at")
    list_filter = ("client", "created_at", ("key", admin.EmptyFieldListFilter))
    list_select_related = ("key",)
    search_fields = ("=ip_address", "key__name", "key__team__name")


@admin.register(AppAuthorization)
class AppAuthorizationAdmin(LogAdmin):
    """Keys that were approved for apps, without their codes."""

    list_display = ("created_at", "key", "expires_at", "key_expires_at", "exchanged_at")
    list_filter = (("exchanged_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("key",)
    search_fields = ("key__name", "key__source", "key__team__name")


@admin.register(LogEntry)
class LogEntryAdmin(LogAdmin):
    """The staff log: who did what in the admin. It has the fields' names, not their values."""

    list_display = ("action_time", "user", "action", "content_type", "object_repr", "changes")
    list_filter = (
        "action_flag",
        "action_time",
        "content_type",
        ("user", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "=object_id", "user__email")
    date_hierarchy = "action_time"
    list_before_template: Any = "console/staff_log_export.html"
    fields = readonly_fields = (
        *("action_time", "user", "action", "content_type", "object_id", "object_repr", "changes"),
    )

    @admin.display(description="Action", ordering="action_flag")
    def action(self, entry: LogEntry) -> str:
        """Return whether the object was added, changed or deleted."""
        return str(entry.get_action_flag_display())

    @admin.display(description="Changes")
    def changes(self, entry: LogEntry) -> str:
        """Return the changed fields in words."""
        return entry.get_change_message()


def _changed_fields(message: Any) -> list[str]:
    """Return the changed fields' names from a message of Django's log."""
    parts = json.loads(message) if isinstance(message, str) and message[:1] == "[" else message
    if isinstance(parts, str):
        return [parts]
    return [str(name) for part in parts for name in part.get("changed", {}).get("fields", ())]

"""Admin pages for plans, teams, memberships and invitations."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from accounts.admin.logs import AuditedAdmin, LogAdmin
from accounts.models import Invitation, Membership, Plan, StaffInvitation, StaffNote, Team
from accounts.staff_rules import ReadOnly, SuperusersOnly, may_act_on


class MembershipInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold's annotations
    """Memberships, read-only; they are changed on their own pages."""

    model = Membership
    extra = 0
    fields = readonly_fields = ("user", "team", "role", "created_at")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Membership]":
        """Return the memberships with their users and teams."""
        return super().get_queryset(request).select_related("user", "team")


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    """Plans. New teams start on the default one."""

    list_display = (
        "title",
        "name",
        "requests_per_minute",
        "tokens_per_minute",
        "concurrent_requests",
        "max_keys",
        "is_default",
    )
    list_filter = ("is_default",)
    search_fields = ("name", "title")


@admin.register(Team)
class TeamAdmin(AuditedAdmin):
    """Teams: the customers."""

    audit_name = "team"
    list_display = ("name", "slug", "plan", "is_personal", "suspended_at", "created_at")
    list_filter = (
        "plan",
        "is_personal",
        ("suspended_at", admin.EmptyFieldListFilter),
        "created_at",
    )
    list_select_related = ("plan",)
    search_fields = ("name", "slug", "memberships__user__email")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("created_at",)
    inlines = (MembershipInline,)

    def teams_of(self, obj: Team) -> Iterable[Team]:
        """Return the team itself."""
        return [obj]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid changes of a team that the user belongs to."""
        if obj is not None and not may_act_on(request, obj):
            return False
        return super().has_change_permission(request, obj)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields filled in from others, if the form can be saved."""
        is_shown = obj is not None and not self.has_change_permission(request, obj)
        return {} if is_shown else super().get_prepopulated_fields(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion: a team's books are kept. Suspend it instead."""
        return False


@admin.register(Membership)
class MembershipAdmin(SuperusersOnly, AuditedAdmin):  # type: ignore[misc]  # unfold's annotations
    """Memberships. Only superusers may change them: a membership gives access to a team."""

    audit_name = "member"
    list_display = ("user", "team", "role", "created_at")
    list_filter = ("role", "created_at")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "team__name", "team__slug")
    autocomplete_fields = ("user", "team")
    readonly_fields = ("created_at",)

    def subject_of(self, obj: Membership) -> str:
        """Return the member."""
        return str(obj.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields: for an existing membership, all but the role."""
        shown = tuple(super().get_readonly_fields(request, obj))
        return shown if obj is None else ("user", "team", *shown)


@admin.register(Invitation)
class InvitationAdmin(LogAdmin):
    """Invitations and what became of them."""

    list_display = ("email", "team", "role", "invited_by", "expires_at", "accepted_at")
    list_filter = ("role", "created_at", ("accepted_at", admin.EmptyFieldListFilter))
    list_select_related = ("team", "invited_by")
    search_fields = ("email", "team__name", "team__slug")


@admin.register(StaffInvitation)
class StaffInvitationAdmin(LogAdmin):
    """Invitations of staff and what became of them; they are made on a page of the console."""

    list_display = ("email", "role", "state", "invited_by", "expires_at", "accepted_by")
    list_filter = ("role", "created_at", ("accepted_at", admin.EmptyFieldListFilter))
    list_select_related = ("role", "invited_by", "accepted_by")
    search_fields = ("email", "invited_by__email")


@admin.register(StaffNote)
class StaffNoteAdmin(LogAdmin):
    """Staff notes about teams, which are added on the customer's page."""

    list_display = ("created_at", "team", "author", "text")
    list_filter = ("created_at", ("author", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("team", "author")
    search_fields = ("text", "team__name", "team__slug")
    ordering = ("-id",)

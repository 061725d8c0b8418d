"""The admin's pages for users, teams and plans.

API keys and notification settings are in `api/admin.py`: they need the service's prefix and
billing's money fields, which this app may not import.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.models import AuditEntry, Invitation, Membership, Plan, SentNotice, Team, User

# Staff permissions: only a superuser grants them.
_PERMISSIONS = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    """A new user: email address and password."""

    class Meta:
        model = User
        fields = ("email", "name")


class ChangedUserForm(UserChangeForm):
    """A user, whose password is behind a link."""

    class Meta:
        model = User
        fields = "__all__"


class TeamsOfUser(TabularInline):
    """The teams of a user."""

    model = Membership
    extra = 0
    autocomplete_fields = ("team",)


class MembersOfTeam(TabularInline):
    """The members of a team."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(User)
class UserAdmin(BaseUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # unfold's annotations
    """Users. Only superusers grant permissions or change superusers."""

    form = ChangedUserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "last_login", "created_at")
    list_filter = ("is_active", "is_staff", "is_superuser", "created_at")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "created_at")
    filter_horizontal = ("groups", "user_permissions")
    inlines = (TeamsOfUser,)
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "is_active")}),
        ("Staff", {"fields": _PERMISSIONS, "classes": ("tab",)}),
        ("Times", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = (  # type: ignore[assignment]
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "name", "usable_password", "password1", "password2"),
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields: for staff, the permissions too."""
        shown = tuple(super().get_readonly_fields(request, obj))
        return shown if _is_superuser(request) else (*shown, *_PERMISSIONS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow changes of superusers, passwords included, to superusers only."""
        if obj is not None and obj.is_superuser and not _is_superuser(request):
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion: a user is deactivated, since the books refer to them."""
        return False


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold's annotations
    """Groups of staff permissions."""


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
class TeamAdmin(ModelAdmin):
    """Teams: the customers."""

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
    inlines = (MembersOfTeam,)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion: a team's books are kept. Suspend it instead."""
        return False


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):
    """Memberships of teams."""

    list_display = ("user", "team", "role", "created_at")
    list_filter = ("role", "created_at")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "team__name", "team__slug")
    autocomplete_fields = ("user", "team")
    readonly_fields = ("created_at",)


class LogAdmin(ModelAdmin):
    """The base of pages whose rows the software writes: read-only."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Forbid adding rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid changing rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deleting rows."""
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    """The audit log."""

    list_display = ("created_at", "team", "actor_label", "action", "subject", "ip_address")
    list_filter = ("action", "created_at")
    list_select_related = ("team",)
    search_fields = ("actor_label", "subject", "team__name", "team__slug")
    date_hierarchy = "created_at"


@admin.register(Invitation)
class InvitationAdmin(LogAdmin):
    """Invitations and their outcome."""

    list_display = ("email", "team", "role", "invited_by", "expires_at", "accepted_at")
    list_filter = ("role", "created_at", ("accepted_at", admin.EmptyFieldListFilter))
    list_select_related = ("team", "invited_by")
    search_fields = ("email", "team__name", "team__slug")


@admin.register(SentNotice)
class SentNoticeAdmin(LogAdmin):
    """Sent emails."""

    list_display = ("created_at", "user", "team", "kind", "reference")
    list_filter = ("kind", "created_at")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "team__name", "team__slug", "reference")


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser

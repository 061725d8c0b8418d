"""Admin pages for users and groups of staff permissions."""

from collections.abc import Iterable
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.admin.logs import AuditedAdmin
from accounts.admin.teams import MembershipInline
from accounts.models import Team, User
from accounts.staff_rules import SuperusersOnly, is_superuser

_POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    """A new user: email address and password."""

    class Meta:
        model = User
        fields = ("email", "name")


class ChangedUserForm(UserChangeForm):
    """An existing user; the password is changed on a page of its own."""

    class Meta:
        model = User
        fields = "__all__"


@admin.register(User)
class UserAdmin(BaseUserAdmin, AuditedAdmin):  # type: ignore[misc,type-arg]  # unfold's annotations
    """Users. Staff may rename, deactivate and reactivate customers; superusers, anything."""

    audit_name = "account"
    form = ChangedUserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "last_login", "created_at")
    list_filter = ("is_active", "is_staff", "is_superuser", "created_at")
    search_fields = ("email", "name")
    readonly_fields = ("second_factors", "last_login", "created_at")
    filter_horizontal = ("groups", "user_permissions")
    inlines = (MembershipInline,)
    actions = ("remove_second_factors",)
    fieldsets = (
        (None, {"fields": ("email", "name", "zone", "password", "is_active", "second_factors")}),
        ("Staff", {"fields": _POWERS, "classes": ("tab",)}),
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

    @admin.display(description="Second factors")
    def second_factors(self, user: User) -> str:
        """Return the types of the user's second factors, or `none`."""
        kinds = Authenticator.objects.filter(user=user).order_by("pk")
        return ", ".join(str(each.get_type_display()) for each in kinds) or "none"

    def teams_of(self, obj: User) -> Iterable[Team]:
        """Return the teams that the user is a member of."""
        return obj.teams.all()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets: only superusers see the password."""
        fieldsets = super().get_fieldsets(request, obj)
        if is_superuser(request):
            return fieldsets
        return [
            (title, {**part, "fields": [each for each in part["fields"] if each != "password"]})
            for title, part in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields, which include email and permissions unless superuser."""
        shown = tuple(super().get_readonly_fields(request, obj))
        return shown if is_superuser(request) else (*shown, "email", *_POWERS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow superusers only: other users sign up or are invited."""
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow only superusers to change a user who is staff."""
        if obj is not None and (obj.is_staff or obj.is_superuser) and not is_superuser(request):
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion: the books refer to the user. Deactivate them instead."""
        return False

    def has_superuser_permission(self, request: HttpRequest) -> bool:
        """Return whether the user is a superuser (for `permissions=["superuser"]` of actions)."""
        return is_superuser(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the user. A new email address replaces all previous ones, for sign-in too."""
        super().save_model(request, obj, form, change)
        if "email" in form.changed_data:
            EmailAddress.objects.filter(user=obj).delete()
            EmailAddress.objects.create(user=obj, email=obj.email, primary=True, verified=False)

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002  (Django's name)
        form_url: str = "",
    ) -> HttpResponse:
        """Show or save the password form. Raise PermissionDenied for anyone but a superuser."""
        if not is_superuser(request):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    @admin.action(description="Remove second factors", permissions=["superuser"])
    def remove_second_factors(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Remove the second factors and recovery codes of users who have lost them."""
        with transaction.atomic():
            for user in users:
                Authenticator.objects.filter(user=user).delete()
                self.log_change(request, user, _change_of("Second factors"))
        self.message_user(
            request, "These users can now sign in with just their password.", messages.SUCCESS
        )


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(SuperusersOnly, BaseGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold's
    """Groups of staff permissions. Only superusers may change them."""


def _change_of(field: str) -> list[dict[str, Any]]:
    """Return the message for Django's log about a change made without a form."""
    return [{"changed": {"fields": [field]}}]

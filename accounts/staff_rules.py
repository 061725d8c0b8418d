"""Limits on staff permissions: no permission lets its holder escalate their privileges.

Permissions cover work on customers. Whatever could escalate privileges (staff and superuser status,
groups, permissions, memberships, passwords, email addresses, new API keys, whose plaintext is
shown) is reserved for superusers, and so is changing a user who is staff. Only a superuser may act
on a team that they belong to. An invitation (`staff_invitations`) makes somebody staff with a role
that can do no more than its inviter. `tests/config/test_staff_powers.py` checks this for every
permission.
"""

from typing import Any

from django.http import HttpRequest

from accounts.models import Team, User


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the request is a superuser's."""
    return isinstance(request.user, User) and request.user.is_superuser


def may_act_on(request: HttpRequest, team: Team) -> bool:
    """Return whether the request's staff member may act on a team: not on one of their own."""
    user = request.user
    if not isinstance(user, User):
        return False
    return user.is_superuser or not team.memberships.filter(user=user).exists()


class ReadOnly:
    """A mixin for admin pages and inlines that show rows and change nothing."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False


class SuperusersOnly:
    """A mixin for admin pages whose rows only superusers may change."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow superusers only."""
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers only."""
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow superusers only."""
        return is_superuser(request)

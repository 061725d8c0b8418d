"""What staff may never do with a permission alone: become more than they are.

Permissions are for the customers' business. Whatever makes a person more (staff and superuser
status, groups, permissions, memberships, passwords, addresses, new API keys, whose plaintext is
shown) is for superusers, who have everything already, and so are changes of a user who is staff.
Nobody but a superuser acts on a team that they belong to. `tests/config/test_staff_powers.py` holds
this for every permission there is.
"""

from django.http import HttpRequest

from accounts.models import Team, User


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the request is a superuser's."""
    return isinstance(request.user, User) and request.user.is_superuser


def may_act_on(request: HttpRequest, team: Team) -> bool:
    """Return whether the staff of a request may act on a team: not on one of their own."""
    user = request.user
    if not isinstance(user, User):
        return False
    return user.is_superuser or not team.memberships.filter(user=user).exists()

"""The forms of a team, its members and its invitations."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.access import Actor
from accounts.models import Role
from portal.team.queries import AuditFilter
from portal.ui.fields import OneLineField

LARGEST_ID = 2**63 - 1

# Lazy: an invitation has them in its recipient's language.
ROLE_MEANINGS: dict[Role, Any] = {
    Role.OWNER: _("Full access, including management keys and owners."),
    Role.ADMIN: _("Manages keys, billing and members, except management keys and owners."),
    Role.DEVELOPER: _("Creates and manages their own keys. Sees the team's usage."),
    Role.BILLING: _("Sees statements and pays. Can't create keys."),
}


class TeamForm(forms.Form):
    """A team's name."""

    name = OneLineField(label=_("Team name"), max_length=120)


class RoleForm(forms.Form):
    """A member's role, of those that the actor may give."""

    role = forms.ChoiceField(label=_("Role"), widget=forms.RadioSelect)

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._field().choices = role_choices(actor)

    def _field(self) -> forms.ChoiceField:
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type alone)
        return field


class InvitationForm(RoleForm):
    """The address to invite, and the role."""

    email = forms.EmailField(
        label=_("Email address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(label=_("Role"), initial=Role.DEVELOPER)
    field_order = ("email", "role")


def role_choices(actor: Actor) -> list[tuple[str, str]]:
    """Return the roles that the actor may give, with their titles."""
    return [(role.value, str(role.label)) for role in actor.grantable_roles]


def read_audit_filter(query: QueryDict) -> AuditFilter:
    """Return the filter that the audit log's URL names; what makes no sense is left out."""
    return AuditFilter(
        action=query.get("action", "").replace("\0", ""),
        actor=query.get("actor", "").replace("\0", "").strip(),
        before=_read_id(query.get("before", "")),
        after=_read_id(query.get("after", "")),
    )


def _read_id(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= 19
    return min(int(text), LARGEST_ID) if is_number else None

"""The forms of a team, its members and its invitations."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.access import Actor
from accounts.api_keys import current
from accounts.models import ApiKey, Role
from billing.models import BudgetRule
from billing.pricing.money import budget_nanos
from portal.access import without_chat_keys
from portal.team.queries import AuditFilter
from portal.ui.fields import OneLineField
from portal.ui.paging import read_id

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


class BudgetForm(forms.Form):
    """A budget. Once it is valid, `key` and `member` are whose it is, `limit_nanos` the amount."""

    applies_to = forms.ChoiceField(label=_("Applies to"))
    period = forms.ChoiceField(
        label=_("Period"),
        choices=[
            ("day", _("Per day")),
            ("week", _("Per week")),
            ("month", _("Per month")),
            ("total", _("Total")),
        ],
        initial="month",
    )
    amount = forms.CharField(
        label=_("Amount ($)"), widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )
    is_hard = forms.ChoiceField(
        label=_("When it is used up"),
        choices=[("yes", _("Reject requests")), ("no", _("Only warn"))],
    )

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keys = without_chat_keys(current(actor.visible_keys())).order_by("-pk")
        self._keys = {str(key.pk): key for key in keys.filter(scope=ApiKey.Scope.INFERENCE)}
        people = actor.team.members.order_by("email")
        self._members = {str(user.pk): user for user in people}
        field = self.fields["applies_to"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type alone)
        of_keys = [
            ("key", _("A key")),
            ("session", _("Each session of a key")),
            ("end_user", _("Each end user of a key")),
        ]
        field.choices = [
            ("team", _("The team")),
            (_("A member’s keys"), [(f"member {pk}", str(u)) for pk, u in self._members.items()]),
            *(
                (title, [(f"{scope} {pk}", str(key)) for pk, key in self._keys.items()])
                for scope, title in of_keys
            ),
        ]

    def clean_amount(self) -> int:
        """Return the amount in nano-dollars. Raise ValidationError."""
        try:
            amount_nanos = budget_nanos(self.cleaned_data["amount"].strip().removeprefix("$"))
        except ValueError:
            amount_nanos = 0
        if amount_nanos <= 0:
            raise forms.ValidationError(_('Enter an amount in dollars, such as "12.50".'))
        return amount_nanos

    @property
    def rule(self) -> dict[str, Any]:
        """What `change_budget` takes."""
        scope, _, pk = self.cleaned_data["applies_to"].partition(" ")
        return {
            "scope": BudgetRule.Scope(scope),
            "period": BudgetRule.Period(self.cleaned_data["period"]),
            "limit_nanos": self.cleaned_data["amount"],
            "is_hard": self.cleaned_data["is_hard"] == "yes",
            "member": self._members[pk] if scope == "member" else None,
            "key": self._keys[pk] if scope in ("key", "session", "end_user") else None,
        }


def role_choices(actor: Actor) -> list[tuple[str, str]]:
    """Return the roles that the actor may give, with their titles."""
    return [(role.value, str(role.label)) for role in actor.grantable_roles]


def read_audit_filter(query: QueryDict) -> AuditFilter:
    """Return the filter that the audit log's URL names; what makes no sense is left out."""
    return AuditFilter(
        action=query.get("action", "").replace("\0", ""),
        actor=query.get("actor", "").replace("\0", "").strip(),
        before=read_id(query.get("before", "")),
        after=read_id(query.get("after", "")),
    )

"""The forms of staff's actions on a customer. Each has a reason, except notes and tags."""

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Q
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.invitations import open_invitations
from accounts.models import ApiKey, Plan, Team
from billing.admin.fields import NanosAdminField
from billing.models import ManualPosting
from billing.payments.manual_postings import PostingRequest
from portal.access import without_chat_keys


class ActionForm(forms.Form):
    """An action's reason, which every action on money, keys and members takes."""

    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept in the team's audit log, where the team can read it, and in the staff log.",
    )

    def __init__(self, team: Team, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.team = team
        self.offer()
        self.order_fields([name for name in self.fields if name != "reason"])

    def offer(self) -> None:
        """Set the choices and initial values, which are the team's."""


class PostingForm(ActionForm):
    """An amount of credits. A form that is submitted twice makes one posting."""

    kind = ManualPosting.Kind.GOODWILL
    id = forms.UUIDField(widget=forms.HiddenInput)
    amount = NanosAdminField(label="Amount, $")

    def offer(self) -> None:
        """Give the form its own id."""
        self.initial.setdefault("id", uuid.uuid4())

    def clean_amount(self) -> int:
        """Return the amount in nano-dollars. Raise ValidationError for zero."""
        amount_nanos: int = self.cleaned_data["amount"]
        if not amount_nanos:
            raise forms.ValidationError("Enter an amount above zero.")
        return amount_nanos

    def wanted(self) -> PostingRequest:
        """Return the posting that the form requests."""
        data = self.cleaned_data
        sign = -1 if data.get("direction") == "take" else 1
        days = data.get("days")
        return PostingRequest(
            id=data["id"],
            kind=self.kind,
            amount_nanos=sign * data["amount"],
            reason=data["reason"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )


class GrantForm(PostingForm):
    """Promotional credits, which may expire."""

    kind = ManualPosting.Kind.GRANT
    days = forms.IntegerField(
        label="Expire after days",
        required=False,
        min_value=1,
        max_value=3650,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Leave empty for credits that never expire.",
    )


class AdjustForm(PostingForm):
    """A correction of the balance, in either direction."""

    kind = ManualPosting.Kind.ADJUSTMENT
    direction = forms.ChoiceField(
        choices=[("give", "Add to the balance"), ("take", "Take from the balance")],
        widget=UnfoldAdminSelectWidget,
    )


class LimitsForm(ActionForm):
    """The team's own limits."""

    concurrent_requests = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Requests at the same time. Leave empty for the plan's limit.",
    )
    max_keys = forms.IntegerField(
        label="Maximum keys",
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Valid API keys. Leave empty for the plan's limit.",
    )

    def offer(self) -> None:
        """Begin with the limits that the team has."""
        self.initial.setdefault("concurrent_requests", self.team.concurrent_requests)
        self.initial.setdefault("max_keys", self.team.max_keys)


class PlanForm(ActionForm):
    """Another plan."""

    plan = forms.ModelChoiceField(
        Plan.objects.order_by("title"),
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
        help_text="This neither starts nor ends a subscription.",
    )

    def offer(self) -> None:
        """Begin with the plan that the team has."""
        self.initial.setdefault("plan", self.team.plan_id)


class KeyForm(ActionForm):
    """One of the team's keys, to freeze."""

    is_frozen = False
    key = forms.ModelChoiceField(
        ApiKey.objects.none(), label="API key", widget=UnfoldAdminSelectWidget
    )

    def offer(self) -> None:
        """Offer the team's keys that are frozen, or that are not."""
        keys = without_chat_keys(ApiKey.objects.filter(team=self.team, revoked_at__isnull=True))
        # Staff may also freeze a key that its team froze, and could unfreeze.
        by_staff = Q(frozen_at__isnull=False, is_frozen_by_team=False)
        keys = keys.filter(frozen_at__isnull=False) if self.is_frozen else keys.exclude(by_staff)
        self.fields["key"].queryset = keys.order_by("-id")  # type: ignore[attr-defined]


class FrozenKeyForm(KeyForm):
    """One of the team's frozen keys, to unfreeze."""

    is_frozen = True


class MemberForm(ActionForm):
    """One of the team's members."""

    member = forms.ModelChoiceField(Team.objects.none(), widget=UnfoldAdminSelectWidget)

    def offer(self) -> None:
        """Offer the team's members."""
        self.fields["member"].queryset = self.team.members.order_by("email")  # type: ignore[attr-defined]


class EmailForm(ActionForm):
    """An email to send: an invitation again, or a link to set a new password."""

    email = forms.ChoiceField(widget=UnfoldAdminSelectWidget)

    def offer(self) -> None:
        """Offer the open invitations, and a new password for each member."""
        invited = [
            (f"invitation:{each.pk}", f"Invitation to {each.email}")
            for each in open_invitations(self.team)
        ]
        members = [
            (f"password:{user.pk}", f"Password reset link to {user.email}")
            for user in self.team.members.filter(is_active=True).order_by("email")
        ]
        self.fields["email"].choices = [*invited, *members]  # type: ignore[attr-defined]


class NoteForm(forms.Form):
    """A note on a team, for staff only."""

    text = forms.CharField(
        label="Note",
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Visible to staff only.",
    )

    def __init__(self, team: Team, data: Any = None) -> None:
        super().__init__(data)


class TagsForm(forms.Form):
    """The tags of a team."""

    tags = forms.CharField(
        max_length=400,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Separated by commas. Visible to staff only; the search finds them.",
    )

    def __init__(self, team: Team, data: Any = None) -> None:
        super().__init__(data, initial={"tags": ", ".join(team.tags)})

    def clean_tags(self) -> list[str]:
        """Return the tags. Raise ValidationError for one that is too long."""
        tags = [each.strip() for each in self.cleaned_data["tags"].split(",") if each.strip()]
        if any(len(each) > 40 for each in tags):
            raise forms.ValidationError("A tag has at most 40 characters.")
        return tags

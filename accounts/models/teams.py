"""Teams, to which keys, credits and usage belong: plans, members, invitations, staff's notes."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User


class Plan(models.Model):
    """The limits of a team, and the default limits of its keys."""

    name = models.SlugField(unique=True)
    title = models.CharField(max_length=80)
    requests_per_minute = models.PositiveIntegerField(default=60)
    tokens_per_minute = models.PositiveBigIntegerField(default=120_000)
    concurrent_requests = models.PositiveIntegerField(
        default=100, db_default=100, help_text="Requests of a team at the same time."
    )
    max_keys = models.PositiveIntegerField(
        "maximum keys", default=100, db_default=100, help_text="API keys of a team that are valid."
    )
    is_default = models.BooleanField(default=False, help_text="New teams start on this plan.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="plan_one_default"
            )
        ]

    def __str__(self) -> str:
        return self.title


class Team(models.Model):
    """The customer: what owns credits, keys and usage."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=80, unique=True)
    is_personal = models.BooleanField(default=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="teams")
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="When set, all of the team's keys are rejected (403)."
    )
    suspended_reason = models.CharField(max_length=200, blank=True)
    concurrent_requests = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests at the same time. Empty: the plan's limit."
    )
    max_keys = models.PositiveIntegerField(
        "maximum keys", null=True, blank=True, help_text="Valid API keys. Empty: the plan's limit."
    )
    tags = ArrayField(
        models.CharField(max_length=40),
        default=list,
        db_default=[],
        blank=True,
        help_text="For staff alone, separated by commas.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="teams"
    )

    class Meta:
        permissions: ClassVar[Any] = [
            ("freeze_team", "Can freeze a team and its keys"),
            ("resend_emails", "Can send a team's emails again"),
            ("end_sessions", "Can end the sessions of a team's members"),
            ("view_as_customer", "Can view the portal as a team sees it"),
        ]

    def __str__(self) -> str:
        return self.name


class StaffNote(models.Model):
    """A staff note about a team, never shown to the team and never changed."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="staff_notes")
    author = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    text = models.TextField(max_length=2000)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.team}: {self.text[:60]}"


class Role(models.TextChoices):
    """A member's role in a team (`accounts/access.py` says what each may do)."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    DEVELOPER = "developer", _("Developer")
    BILLING = "billing", _("Billing")


class Membership(models.Model):
    """A user's membership of a team."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.DEVELOPER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} as {self.role}"


class Invitation(models.Model):
    """An invitation of an email address: open until accepted, withdrawn or expired.

    The token is in the email only; the row has its digest.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=Role)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "team",
                Lower("email"),
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="invitation_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.team} as {self.role}"

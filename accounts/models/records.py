"""The audit log, the choice of emails and what was sent."""

from django.db import models
from django.utils import timezone

from accounts.models.teams import Team
from accounts.models.users import User


class AuditEntry(models.Model):
    """An action and its actor in a team, with the names of that moment; never changed."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="audit_entries")
    actor = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    actor_label = models.CharField(
        max_length=254,
        help_text="The actor's email address at that time, or the key that acted for the team.",
    )
    action = models.CharField(max_length=60, help_text="key.created, member.removed, ...")
    subject = models.CharField(max_length=254, blank=True, help_text="The object of the action.")
    detail = models.JSONField(default=dict, blank=True)
    ip_address = models.GenericIPAddressField("IP address", null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        # The log is read newest first, with or without one of its two filters.
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="audit_by_team"),
            models.Index(fields=["team", "action", "-created_at", "-id"], name="audit_by_action"),
            models.Index(
                fields=["team", "actor_label", "-created_at", "-id"], name="audit_by_actor"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.subject}"


class NotificationSettings(models.Model):
    """The emails that a user wants. No row: all of them, with the default thresholds."""

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="notification_settings"
    )
    low_balance = models.BooleanField(default=True)
    low_balance_nanos = models.PositiveBigIntegerField(
        default=5_000_000_000, help_text="The balance below which an alert is sent."
    )
    budget_reached = models.BooleanField(default=True)
    key_created = models.BooleanField(default=True)
    new_sign_in = models.BooleanField(default=True)

    class Meta:
        verbose_name = verbose_name_plural = "notification settings"

    def __str__(self) -> str:
        return f"{self.user}"

    @classmethod
    def of(cls, user: User) -> "NotificationSettings":
        """Return the user's settings; the defaults, unsaved, for a user who has chosen nothing."""
        return cls.objects.filter(user=user).first() or cls(user=user)


class SentNotice(models.Model):
    """An email that was sent. Its reference names the event, so that nobody gets it twice."""

    class Kind(models.TextChoices):
        """The kinds of email that are sent at most once an event."""

        LOW_BALANCE = "low_balance"
        BUDGET_REACHED = "budget_reached"
        KEY_CREATED = "key_created"
        AUTO_TOP_UP = "auto_top_up"
        AUTO_TOP_UP_PROBLEM = "auto_top_up_problem"
        REFUND_MADE = "refund_made"
        KEYS_PAUSED = "keys_paused"
        PLAN_PAYMENT_FAILED = "plan_payment_failed"
        PLAN_ENDED = "plan_ended"
        PRICE_CHANGE = "price_change"
        WEBHOOK_DISABLED = "webhook_disabled"
        KEY_FLAGGED = "key_flagged"
        BUDGET_WARNING = "budget_warning"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind)
    reference = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "sent email"
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "reference"], name="notice_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.user}: {self.reference}"

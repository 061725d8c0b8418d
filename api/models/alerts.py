"""Where alerts go, and their deliveries."""

from django.db import models
from django.utils import timezone

from billing.models import LedgerAlert


class AlertTarget(models.Model):
    """An address that alerts are sent to: a mailbox, a Slack channel, or a webhook.

    The secret is the URL of a Slack channel's incoming webhook, or the key that a webhook's
    messages are signed with. It is encrypted for the address (`api/alert_targets.py`).
    """

    class Channel(models.TextChoices):
        """How alerts are sent."""

        EMAIL = "email", "Email"
        SLACK = "slack", "Slack (incoming webhook)"
        WEBHOOK = "webhook", "Signed webhook (Standard Webhooks)"

    class Severity(models.TextChoices):
        """Which alerts are sent."""

        WARNING = "warning", "All alerts"
        CRITICAL = "critical", "Critical alerts only"

    name = models.CharField(max_length=80, unique=True)
    channel = models.CharField(max_length=10, choices=Channel)
    address = models.CharField(
        max_length=500,
        blank=True,
        help_text="The email address, or the webhook's URL. Leave empty for Slack.",
    )
    encrypted_secret = models.TextField(blank=True, editable=False)
    secret_set_at = models.DateTimeField(null=True, blank=True, editable=False)
    least_severity = models.CharField(
        "sends", max_length=10, choices=Severity, default=Severity.WARNING
    )
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=200, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name


class AlertDelivery(models.Model):
    """The delivery of an alert to a target. Alerts of one kind that are due share a message."""

    class State(models.TextChoices):
        """`waiting` ends once, in one of the others."""

        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed", "given up"
        SKIPPED = "skipped", "skipped: acknowledged before it was sent"

    alert = models.ForeignKey(LedgerAlert, on_delete=models.CASCADE, related_name="deliveries")
    target = models.ForeignKey(AlertTarget, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    message_id = models.UUIDField(
        null=True, db_index=True, help_text="The same for each attempt: webhooks deduplicate by it."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alert", "target"], name="alertdelivery_once")
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state="waiting"),
                name="alertdelivery_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"{self.alert_id} to {self.target_id}: {self.state}"

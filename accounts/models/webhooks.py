"""A team's webhook endpoints, and the events for them with their deliveries (an outbox)."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class WebhookEndpoint(models.Model):
    """A customer's URL, to which their team's events are sent.

    `api/webhooks/endpoints.py` encrypts the secrets. After a rotation, messages are signed with the
    previous secret, too, until it expires.
    """

    class DisabledReason(models.TextChoices):
        """The reason for which an endpoint gets no events."""

        MEMBER = "member", "disabled by a member"
        FAILING = "failing", "failed for days"
        GONE = "gone", "answered 410 Gone"

    team = models.ForeignKey(
        "accounts.Team", on_delete=models.CASCADE, related_name="webhook_endpoints"
    )
    url = models.CharField("URL", max_length=500)
    events = ArrayField(
        models.CharField(max_length=40),
        default=list,
        blank=True,
        help_text="The types of events that it gets. Empty: all.",
    )
    low_balance_nanos = models.BigIntegerField(
        default=5_000_000_000, help_text="balance.low is sent below this balance."
    )
    # Set while the balance is below the threshold, so that each fall is one event.
    is_balance_low = models.BooleanField(default=False, editable=False)
    encrypted_secret = models.TextField(editable=False)
    encrypted_previous_secret = models.TextField(blank=True, default="", editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=10, choices=DisabledReason, blank=True)
    failing_since = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["team", "id"], name="webhookendpoint_by_team")]

    def __str__(self) -> str:
        return self.url

    @property
    def is_enabled(self) -> bool:
        """Whether it gets events."""
        return self.disabled_at is None


class WebhookEvent(models.Model):
    """An event, as endpoints receive it. It is committed with what it reports, or not at all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The unique constraint has an index that begins with the team.
    team = models.ForeignKey(
        "accounts.Team", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    type = models.CharField(max_length=40)
    data = models.JSONField()
    reference = models.CharField(  # noqa: DJ001  (events without an occasion are not unique)
        max_length=150, null=True, help_text="The occasion: a team has one event of a type for it."
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "type", "reference"], name="webhookevent_once")
        ]
        indexes = [models.Index(fields=["created_at"], name="webhookevent_by_age")]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the same for each attempt and each endpoint."""
        return f"msg_{self.id.hex}"


class WebhookDelivery(models.Model):
    """The delivery of an event to an endpoint, with the answer to its last attempt."""

    class State(models.TextChoices):
        """`waiting` ends in one of the others; a replay makes it wait again."""

        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"
        CANCELED = "canceled", "canceled: the endpoint was disabled"

    class Problem(models.TextChoices):
        """The reason for which an attempt got no answer."""

        ADDRESS = "address", "the URL leads to no public address"
        UNREACHABLE = "unreachable", "no connection"
        TLS = "tls", "the certificate is not valid"
        TIMEOUT = "timeout", "no answer in time"
        SECRET = "secret", "the signing secret can't be read"

    # Indexes of their own would serve nothing: those below begin with them.
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    attempts_before_replay = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    attempted_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status.")
    duration_ms = models.PositiveIntegerField(null=True, help_text="Milliseconds.")
    excerpt = models.CharField(max_length=500, blank=True, help_text="How the answer begins.")
    problem = models.CharField(max_length=12, choices=Problem, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhookdelivery_once")
        ]
        indexes = [
            models.Index(
                fields=["endpoint", "next_attempt_at"],
                condition=models.Q(state="waiting"),
                name="webhookdelivery_waiting",
            ),
            models.Index(fields=["endpoint", "-id"], name="webhookdelivery_by_endpoint"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}: {self.state}"

"""What staff publish about the service's state."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class MaintenanceMode(models.Model):
    """The one row that closes pages and API for maintenance (`api/maintenance.py`)."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    is_on = models.BooleanField(
        "maintenance mode is on",
        default=False,
        help_text="Pages show the text, and the API answers 503. Running requests continue; staff, "
        "Stripe's webhooks, /health and /status keep working. It stays on until it is cleared.",
    )
    text = models.CharField(
        max_length=300, blank=True, help_text="For customers: what is being done."
    )
    ends_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it is expected to end, for customers and for Retry-After.",
    )

    class Meta:
        verbose_name_plural = "maintenance mode"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="maintenance_one_row")]

    def __str__(self) -> str:
        return "Maintenance mode: on" if self.is_on else "Maintenance mode: off"


class StatusEvent(models.Model):
    """An incident, a maintenance window or an announcement that staff publish on `/status`."""

    class Kind(models.TextChoices):
        """The kind of an event."""

        INCIDENT = "incident", _("Incident")
        MAINTENANCE = "maintenance", _("Maintenance")
        ANNOUNCEMENT = "announcement", _("Announcement")

    class Impact(models.TextChoices):
        """What an incident means for the models that it names."""

        NONE = "none", "No impact on requests"
        DEGRADED = "degraded", "Degraded"
        OUTAGE = "outage", "Outage"

    kind = models.CharField(max_length=12, choices=Kind)
    title = models.CharField(max_length=120)
    impact = models.CharField(
        max_length=10,
        choices=Impact,
        default=Impact.DEGRADED,
        help_text="Of an incident. A maintenance window puts its models under maintenance.",
    )
    model_names = ArrayField(
        models.CharField(max_length=120),
        blank=True,
        default=list,
        help_text="Names of the models concerned, separated by commas. Empty: the whole service.",
    )
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it ended or will end. An announcement without an end is shown for 14 days.",
    )
    is_published = models.BooleanField(
        "published",
        default=False,
        help_text="Shown on /status, in the feed and on dashboards, and sent to subscribers.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["starts_at"], name="statusevent_starts_at")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gte=models.F("starts_at")),
                name="statusevent_ends_after_start",
                violation_error_message="It can't end before it starts.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.title}"

    def is_current(self, now: datetime) -> bool:
        """Return whether it has started and not ended."""
        return self.starts_at <= now and (self.ends_at is None or self.ends_at > now)

    def concerns(self, model: str) -> bool:
        """Return whether it is about a model, by its public name."""
        return not self.model_names or model in self.model_names


class StatusUpdate(models.Model):
    """What staff say about an event at one time. Each is sent to subscribers once."""

    event = models.ForeignKey(StatusEvent, on_delete=models.CASCADE, related_name="updates")
    text = models.TextField(max_length=2_000)
    created_at = models.DateTimeField("time", default=timezone.now)
    notified_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return f"{self.event_id} at {self.created_at:%Y-%m-%d %H:%M}"


class StatusSubscriber(models.Model):
    """An address that confirmed that it wants the updates. Unsubscribing deletes the row."""

    email = models.EmailField(unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.email

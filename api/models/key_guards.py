"""The guards of API keys: their settings, the networks that keys are used from, and incidents."""

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey


class KeyGuard(models.Model):
    """The reaction to unusual use of a key. No row: the defaults."""

    class Action(models.TextChoices):
        """`warn` notifies the team; `freeze` also rejects the key until a member unfreezes it."""

        OFF = "off"
        WARN = "warn"
        FREEZE = "freeze"

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="guard"
    )
    on_spike = models.CharField(max_length=6, choices=Action, default=Action.WARN)
    on_new_network = models.CharField(max_length=6, choices=Action, default=Action.OFF)

    def __str__(self) -> str:
        return f"{self.key_id}: {self.on_spike}, {self.on_new_network}"


class KeyNetwork(models.Model):
    """A network (IPv4: /24, IPv6: /48) that a key was used from. Times are to the hour."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+", db_index=False)
    network = models.GenericIPAddressField(help_text="Its first address.")
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    is_judged = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "network"], name="keynetwork_once")]
        indexes = [
            models.Index(
                fields=["id"], condition=models.Q(is_judged=False), name="keynetwork_unjudged"
            ),
            models.Index(fields=["last_seen_at"], name="keynetwork_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.key_id}: {self.network}"


class KeyIncident(models.Model):
    """Unusual use of a key, reported to its team. A spike's spend is usual from then on."""

    class Kind(models.TextChoices):
        """The kind of unusual use."""

        SPIKE = "spike", "spend far above what is usual"
        NEW_NETWORK = "new_network", "use from a new network"

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="incidents")
    kind = models.CharField(max_length=12, choices=Kind)
    reference = models.CharField(max_length=80, help_text="The occasion: it is reported once.")
    is_frozen = models.BooleanField("froze the key")
    spent_nanos = models.BigIntegerField(default=0, help_text="Spent in the hour until then.")
    usual_nanos = models.BigIntegerField(default=0, help_text="The most of an hour before.")
    network = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key", "kind", "reference"], name="keyincident_once")
        ]

    def __str__(self) -> str:
        return f"{self.key_id}: {self.kind} {self.reference}"

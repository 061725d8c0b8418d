"""Videos that are being made: what outlives the request that asked for one."""

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team
from api.models.catalogue import Upstream
from billing.models import CreditAccount, PriceVersion


class VideoJob(models.Model):
    """A video that an upstream was asked to make, from its submission to its one end.

    The row is written before the upstream is called, so that no job is forgotten; its id is the
    request's and the reservation's. Without `upstream_job_id` the upstream has not answered yet.
    """

    class State(models.TextChoices):
        """`processing` ends once, in one of the others, in the transaction that settles it."""

        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, help_text="The request's id.")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    price_version = models.ForeignKey(
        PriceVersion, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    model = models.CharField(max_length=120)
    surface = models.CharField(max_length=40)
    end_user = models.CharField(max_length=200, blank=True)
    seconds = models.IntegerField(default=0, help_text="Seconds requested, where they are priced.")
    cost_nanos = models.BigIntegerField(help_text="Held, and charged for the finished video.")
    upstream_cost_nanos = models.BigIntegerField(default=0)
    upstream = models.ForeignKey(
        Upstream, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    upstream_job_id = models.CharField(max_length=200, blank=True)
    attempts = models.JSONField(default=list, help_text="Each upstream call that was tried.")
    state = models.CharField(max_length=10, choices=State, default=State.PROCESSING)
    url = models.TextField("URL", blank=True, help_text="The video's address; never fetched by us.")
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="Not finished by then, it has failed.")
    next_poll_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="processing", ended_at__isnull=True)
                | (~models.Q(state="processing") & models.Q(ended_at__isnull=False)),
                name="videojob_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="completed") | ~models.Q(url=""),
                name="videojob_completed_has_url",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                condition=models.Q(state="processing"),
                name="videojob_to_poll",
            )
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.state}"

    @property
    def public_id(self) -> str:
        """Its id as customers see it; the upstream's is never shown."""
        return f"video-{self.id.hex}"

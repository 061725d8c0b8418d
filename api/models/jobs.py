"""Jobs: what outlives the request that asked for it."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team
from api.models.catalogue import RouteCost, Upstream
from api.models.upstream_keys import UpstreamKey
from billing.models import ContractPrice, CreditAccount, PriceVersion


class Job(models.Model):
    """What a request asked for, from its admission to its one end.

    Its id is the request's and the reservation's.
    """

    class State(models.TextChoices):
        """A job leaves `processing` once, in the transaction that settles it."""

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
    contract = models.ForeignKey(
        ContractPrice,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="The contract price that it was admitted at.",
    )
    model = models.CharField(max_length=120)
    surface = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=State, default=State.PROCESSING)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="Not finished by then, it has failed.")
    ended_at = models.DateTimeField(null=True)

    public_prefix: ClassVar[str]

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.public_id} {self.state}"

    @property
    def public_id(self) -> str:
        """The id that customers see; an upstream's is never shown."""
        return f"{self.public_prefix}-{self.id.hex}"


class VideoJob(Job):
    """A video that an upstream was asked to make.

    The row is written before the upstream is called, so that no job is forgotten. Without
    `upstream_job_id` the upstream has not answered yet.
    """

    public_prefix = "video"

    end_user = models.CharField(max_length=200, blank=True)
    seconds = models.IntegerField(default=0, help_text="Seconds requested, where they are priced.")
    cost_nanos = models.BigIntegerField(help_text="Held, and charged for the finished video.")
    upstream_cost_nanos = models.BigIntegerField(default=0)
    upstream = models.ForeignKey(
        Upstream, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    upstream_key = models.ForeignKey(
        UpstreamKey,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="The key that it was ordered with, and is polled with.",
    )
    route_cost = models.ForeignKey(
        RouteCost,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="The version that the upstream's cost is from.",
    )
    upstream_job_id = models.CharField(max_length=200, blank=True)
    attempts = models.JSONField(default=list, help_text="Each upstream call that was tried.")
    url = models.TextField("URL", blank=True, help_text="The video's address; never fetched by us.")
    next_poll_at = models.DateTimeField()

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


class ChatJob(Job):
    """A conversation that is answered asynchronously.

    The conversation is stored until it is answered, and the answer for a day. Of other requests no
    prompts are stored, and answers only for repeats (`IdempotentRequest`).
    """

    public_prefix = "chat"

    held_nanos = models.BigIntegerField(help_text="What the answer may cost at most.")
    body = models.TextField(blank=True, help_text="The request; empty once it has ended.")
    answer = models.TextField(blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    runs = models.PositiveIntegerField(default=0, help_text="How often a worker began with it.")
    next_run_at = models.DateTimeField(help_text="Until then a worker has it, or it waits.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="processing", ended_at__isnull=True)
                | (~models.Q(state="processing") & models.Q(ended_at__isnull=False, body="")),
                name="chatjob_ended_has_time_and_no_body",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="completed") | ~models.Q(answer=""),
                name="chatjob_completed_has_answer",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_run_at"],
                condition=models.Q(state="processing"),
                name="chatjob_to_run",
            ),
            models.Index(
                fields=["ended_at"],
                condition=~models.Q(state="processing"),
                name="chatjob_to_forget",
            ),
        ]

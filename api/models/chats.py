"""Asynchronous chats: the jobs that outlive their requests."""

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team
from billing.models import CreditAccount, PriceVersion


class ChatJob(models.Model):
    """A conversation that is answered asynchronously, from its request until the job ends.

    Its id is the request's and the reservation's. The conversation is stored until it is answered,
    and the answer for a day; no other request's prompts or answers are stored.
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
    model = models.CharField(max_length=120)
    surface = models.CharField(max_length=40)
    held_nanos = models.BigIntegerField(help_text="What the answer may cost at most.")
    body = models.TextField(blank=True, help_text="The request; empty once it has ended.")
    answer = models.TextField(blank=True)
    error = models.CharField(max_length=500, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.PROCESSING)
    runs = models.PositiveIntegerField(default=0, help_text="How often a worker began with it.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="Not answered by then, it has failed.")
    next_run_at = models.DateTimeField(help_text="Until then a worker has it, or it waits.")
    ended_at = models.DateTimeField(null=True)

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

    def __str__(self) -> str:
        return f"{self.public_id} {self.state}"

    @property
    def public_id(self) -> str:
        """The id that customers see."""
        return f"chat-{self.id.hex}"

"""Requests with an `Idempotency-Key`, and their answers for a repeat."""

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey


class IdempotentRequest(models.Model):
    """The claim of an API key on one of its idempotency keys, and the answer to its request.

    The gateway writes it (`api/gateway/idempotency.py`). Both digests and the answer's encryption
    key are derived from the API key, which is not in the database: the row alone tells neither the
    idempotency key nor the request nor the answer.
    """

    class State(models.TextChoices):
        """A claim is running until its process ends it or dies; it ends at most once."""

        RUNNING = "running"
        STORED = "stored"
        TOO_LARGE = "too_large", "too large to keep"
        INCOMPLETE = "incomplete", "ended early"

    id = models.CharField(primary_key=True, max_length=64, help_text="A digest of the key.")
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=64, help_text="A digest of the request.")
    request_id = models.UUIDField(help_text="The request that runs, or was charged.")
    endpoint = models.CharField(max_length=40)
    lease_id = models.IntegerField(help_text="The process that claimed it.")
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    answer = models.BinaryField(default=b"", help_text="Encrypted.")
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True, help_text="It is deleted after that.")

    def __str__(self) -> str:
        return f"{self.endpoint} {self.request_id.hex} {self.state}"

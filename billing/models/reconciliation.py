"""Upstreams' own usage: their exports, line by line, beside our records, and what was corrected."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from accounts.models import User
from billing.models.ledger import CreditAccount


class UpstreamStatement(models.Model):
    """An upstream's usage export that staff imported, and how it compares with our records.

    `columns` maps what we read (`request_id`, `time`, …) to the header's names. `drift` has the
    sums by day and model. A statement that failed keeps its file until it is discarded.
    """

    class State(models.TextChoices):
        """`queued` waits for Celery, `correcting` for the corrections that a person confirmed."""

        UPLOADED = "uploaded", "Columns to confirm"
        QUEUED = "queued", "Being read"
        FAILED = "failed", "Not read"
        READY = "ready", "Compared"
        CORRECTING = "correcting", "Being corrected"

    class CostUnit(models.TextChoices):
        """The unit of the export's costs; `other` is another currency or unit, at a rate."""

        DOLLAR = "dollar", "US dollars"
        CENT = "cent", "US cents"
        MICRO = "micro", "Millionths of a US dollar"
        OTHER = "other", "Another currency or unit"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    upstream = models.CharField(max_length=80)
    file_name = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    size_bytes = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.UPLOADED)
    columns = models.JSONField(default=dict, blank=True)
    cost_unit = models.CharField(max_length=10, choices=CostUnit, default=CostUnit.DOLLAR)
    unit_nanos = models.BigIntegerField(
        default=10**9, help_text="Nano-dollars in one unit of the export's costs."
    )
    cached_is_separate = models.BooleanField(
        default=False, help_text="Whether input tokens exclude the cached ones."
    )
    error = models.TextField(blank=True, default="")
    lines_read = models.IntegerField(default=0)
    lines_repeated = models.IntegerField(default=0, help_text="Imported before, or twice here.")
    lines_conflicting = models.IntegerField(
        default=0, help_text="Other figures than those imported before. The first ones count."
    )
    conflicts = models.JSONField(default=list, blank=True, help_text="Some of their numbers.")
    lines_without_id = models.IntegerField(default=0)
    without_id_nanos = models.BigIntegerField(default=0)
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    drift = models.JSONField(default=dict, blank=True)
    uploaded_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    compared_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        default_permissions = ("add", "view")
        permissions: ClassVar[Any] = [
            ("correct_usage", "Can correct estimated usage by an upstream's statement")
        ]
        constraints = [
            models.UniqueConstraint(fields=["upstream", "digest"], name="statement_file_once"),
            models.CheckConstraint(
                condition=models.Q(unit_nanos__gt=0), name="statement_unit_positive"
            ),
        ]
        indexes = [models.Index(fields=["upstream", "-created_at"], name="statement_by_upstream")]

    def __str__(self) -> str:
        return f"{self.upstream}: {self.file_name}"


class StatementChunk(models.Model):
    """A part of an uploaded file, for the worker that reads it; deleted once it is read."""

    statement = models.ForeignKey(
        UpstreamStatement, on_delete=models.CASCADE, related_name="chunks"
    )
    number = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["statement", "number"], name="statement_chunk_once")
        ]

    def __str__(self) -> str:
        return f"{self.statement_id}: {self.number}"


class StatementLine(models.Model):
    """A request as the upstream's export has it, beside our record of it.

    A record that the export lacks has a row without `line_number`. Token counts that the export
    does not have are null. `our_…` are what we recorded for this upstream.
    """

    class State(models.TextChoices):
        """The result of the comparison."""

        EQUAL = "equal"
        DIFFERENT = "different"
        MISSING_HERE = "missing_here", "Not in our records"
        MISSING_THERE = "missing_there", "Not in the export"

    class Correction(models.TextChoices):
        """Whether what the customer paid is corrected. `uncovered`: the balance was too low."""

        NONE = "none"
        OPEN = "open"
        POSTED = "posted"
        UNCOVERED = "uncovered"

    statement = models.ForeignKey(UpstreamStatement, on_delete=models.CASCADE, related_name="lines")
    upstream = models.CharField(max_length=80)
    line_number = models.IntegerField(null=True)
    upstream_request_id = models.CharField(max_length=200)
    at = models.DateTimeField()
    model = models.CharField(max_length=120, blank=True)
    input_tokens = models.BigIntegerField(null=True, help_text="Including cached ones.")
    cached_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    cost_nanos = models.BigIntegerField(null=True)
    request_id = models.UUIDField(null=True)
    our_input_tokens = models.BigIntegerField(default=0)
    our_cached_tokens = models.BigIntegerField(default=0)
    our_output_tokens = models.BigIntegerField(default=0)
    our_cost_nanos = models.BigIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)
    state = models.CharField(max_length=13, choices=State, default=State.MISSING_HERE)
    correction = models.CharField(max_length=9, choices=Correction, default=Correction.NONE)
    correction_nanos = models.BigIntegerField(
        default=0, help_text="Change of the customer's balance: negative is a further charge."
    )

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["upstream", "upstream_request_id"],
                condition=models.Q(line_number__isnull=False),
                name="statement_line_once",
            )
        ]
        indexes = [
            models.Index(fields=["statement", "state", "id"], name="statement_lines"),
            models.Index(
                fields=["statement", "id"],
                condition=models.Q(correction__in=["open", "uncovered"]),
                name="statement_open_corrections",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.upstream} {self.upstream_request_id}: {self.state}"


class UsageCorrection(models.Model):
    """A request whose estimated usage was replaced by its upstream's, and the charge with it.

    The request is the primary key, so it is corrected once at most. The transfer is an `adjustment`
    with the reference `correction:<request id>`.
    """

    request_id = models.UUIDField(primary_key=True)
    statement = models.ForeignKey(
        UpstreamStatement, on_delete=models.PROTECT, related_name="corrections"
    )
    line_number = models.IntegerField()
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="+")
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    charged_nanos = models.BigIntegerField(help_text="Before.")
    corrected_nanos = models.BigIntegerField(help_text="After.")
    confirmed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(corrected_nanos__gte=0)
                & ~models.Q(corrected_nanos=models.F("charged_nanos")),
                name="usagecorrection_changes_the_charge",
            )
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.charged_nanos} to {self.corrected_nanos} nanos"

    @property
    def amount_nanos(self) -> int:
        """What the customer got back; negative for a further charge."""
        return self.charged_nanos - self.corrected_nanos

"""Manual postings by staff: what was requested, why, and who confirmed it."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from accounts.models import Team, User
from billing.models.payments import Order


class ManualPosting(models.Model):
    """A grant, an adjustment, goodwill or a refund that a staff member requested.

    Its id is the ledger's reference (or the refund's id), so a form sent twice moves money once.
    """

    class Kind(models.TextChoices):
        """The kind of posting. A refund that needs no approval has no row here."""

        GRANT = "grant", "Credits granted"
        ADJUSTMENT = "adjustment", "Balance adjusted"
        GOODWILL = "goodwill", "Goodwill credits"
        REFUND = "refund", "Refund"

    class State(models.TextChoices):
        """`pending` waits for a second person; the others are final."""

        PENDING = "pending"
        POSTED = "posted"
        REJECTED = "rejected"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="manual_postings")
    kind = models.CharField(max_length=12, choices=Kind)
    amount_nanos = models.BigIntegerField(help_text="Negative: taken from the customer.")
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When granted credits expire."
    )
    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Refunds only.",
    )
    is_forced = models.BooleanField(default=False, help_text="Refunds only: even if it is spent.")
    reason = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        permissions: ClassVar[Any] = [
            ("grant_credits", "Can grant credits"),
            ("adjust_balance", "Can adjust a balance"),
            ("give_goodwill", "Can give goodwill credits"),
            ("approve_manualposting", "Can confirm what another member of staff requested"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nanos__gt=0)
                | models.Q(kind="adjustment", amount_nanos__lt=0),
                name="manualposting_amount",
            ),
            models.CheckConstraint(
                condition=models.Q(state="pending", decided_at__isnull=True)
                | (~models.Q(state="pending") & models.Q(decided_at__isnull=False)),
                name="manualposting_decided_has_time",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="refund", order__isnull=False)
                | (~models.Q(kind="refund") & models.Q(order__isnull=True)),
                name="manualposting_refund_has_order",
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-created_at"], name="manualposting_by_team"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(state="pending"),
                name="manualposting_pending",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.team}: {self.state}"

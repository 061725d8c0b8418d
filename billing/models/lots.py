"""What is left of each credit: promotional ones may expire, and only paid ones can be refunded."""

from django.db import models
from django.utils import timezone

from billing.models.ledger import CreditAccount, Transfer


class CreditLot(models.Model):
    """The credits that one transfer gave a customer, and what is left of them.

    Usage doesn't touch lots: a settlement writes nothing here. `remaining_nanos` is what was left
    at the last draw (for a new lot, an expiry, a refund); `billing_lots_left` computes what is left
    now, after the spending since (`billing/ledger/sql/`).
    """

    transfer = models.OneToOneField(
        Transfer, on_delete=models.PROTECT, primary_key=True, related_name="lot"
    )
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="lots", db_index=False
    )
    is_paid = models.BooleanField(help_text="Bought, so it is spent last and can be refunded.")
    amount_nanos = models.BigIntegerField()
    remaining_nanos = models.BigIntegerField()
    expired_nanos = models.BigIntegerField(default=0, help_text="Taken back when it expired.")
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    remaining_nanos__gte=0,
                    expired_nanos__gte=0,
                    amount_nanos__gte=models.F("remaining_nanos") + models.F("expired_nanos"),
                ),
                name="lot_within_its_amount",
            ),
            models.CheckConstraint(
                condition=models.Q(is_paid=False) | models.Q(expires_at__isnull=True),
                name="lot_paid_never_expires",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account"],
                condition=models.Q(remaining_nanos__gt=0),
                name="lot_left",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(remaining_nanos__gt=0, expires_at__isnull=False),
                name="lot_to_expire",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transfer_id}: {self.remaining_nanos} of {self.amount_nanos} nanos"


class LotMovement(models.Model):
    """What one transfer drew from a lot (negative), or returned to it (positive).

    Kept for transfers that can be reversed: refunds, claw-backs and collections draw from lots, and
    their reversals return to the same ones. Spending and expiry have none. Append-only.
    """

    transfer = models.ForeignKey(
        Transfer, on_delete=models.PROTECT, related_name="lot_movements", db_constraint=False
    )
    lot = models.ForeignKey(
        CreditLot, on_delete=models.PROTECT, related_name="movements", db_constraint=False
    )
    amount_nanos = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(amount_nanos=0), name="lot_movement_of_an_amount"
            ),
            models.UniqueConstraint(fields=["transfer", "lot"], name="lot_movement_once"),
        ]

    def __str__(self) -> str:
        return f"{self.transfer_id}: {self.amount_nanos} nanos of lot {self.lot_id}"

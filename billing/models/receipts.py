"""What proves charges to others: the keys that sign receipts, and the roots of closed days."""

from django.db import models
from django.utils import timezone

from billing.models.ledger import CreditAccount


class SigningKey(models.Model):
    """An Ed25519 key that receipts and day roots are signed with (`billing/receipts/keys.py`)."""

    id = models.CharField(
        primary_key=True, max_length=43, help_text="The public key's thumbprint (RFC 7638)."
    )
    public_key = models.CharField(max_length=43, help_text="In base64url, as in the JWKS.")
    encrypted_private_key = models.TextField(default="", db_default="", editable=False)
    signs_from = models.DateTimeField()
    withdrawn_at = models.DateTimeField(
        null=True, help_text="Set: it is not published any more, so what it signed is refused."
    )
    created_at = models.DateTimeField(default=timezone.now, db_default=models.functions.Now())

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.id


class DayRoot(models.Model):
    """The Merkle root of an account's transfers of one UTC day, never changed or deleted.

    The day's transfers are those with sequences from `first_sequence` to `last_sequence`. A day
    without transfers has no root.
    """

    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="day_roots", db_index=False
    )
    day = models.DateField()
    first_sequence = models.BigIntegerField()
    last_sequence = models.BigIntegerField()
    root = models.BinaryField(help_text="RFC 6962's Merkle tree hash of the transfers.")
    chain = models.BinaryField(help_text="The hash of the root and of the chain before it.")
    chunk_hashes = models.BinaryField(
        help_text="The roots of each 1,024 transfers, 32 bytes each, so that proofs are quick."
    )
    created_at = models.DateTimeField(default=timezone.now, db_default=models.functions.Now())

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["account", "day"], name="dayroot_once"),
            models.UniqueConstraint(
                fields=["account", "first_sequence"], name="dayroot_sequence_once"
            ),
            models.CheckConstraint(
                condition=models.Q(last_sequence__gte=models.F("first_sequence")),
                name="dayroot_has_transfers",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.day}"

    @property
    def size(self) -> int:
        """The number of transfers."""
        return self.last_sequence - self.first_sequence + 1

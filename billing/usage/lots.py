"""The lots of a team's balance, for display: grants with their expiry, and paid credits."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.models import CreditAccount


@dataclass(frozen=True)
class Lot:
    """The rest of one credit, in nano-dollars. A paid one never expires."""

    left_nanos: int
    is_paid: bool
    expires_at: datetime | None
    memo: str


def lots_left(account: CreditAccount) -> list[Lot]:
    """Return the account's lots with credits left, in the order in which they are spent.

    They add up to the posted balance, including what open requests hold.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.left_nanos, l.is_paid, l.expires_at, t.memo"
            " FROM billing_lots_left(%s) AS l JOIN billing_transfer t ON t.id = l.transfer_id"
            " WHERE l.left_nanos > 0 ORDER BY l.is_paid, l.expires_at NULLS LAST, l.transfer_id",
            [account.pk],
        )
        return [Lot(*row) for row in cursor.fetchall()]


def refundable_nanos(account: CreditAccount) -> int:
    """Return the nano-dollars of paid credit that are neither spent nor held."""
    paid = sum(lot.left_nanos for lot in lots_left(account) if lot.is_paid)
    return min(paid, CreditAccount.objects.get(pk=account.pk).available_nanos)

"""Signal receivers: a rotated key's spending carries over to its successor's budgets."""

from django.db import connection
from django.dispatch import receiver

from accounts.api_keys import key_rotated
from accounts.models import ApiKey


def carry_spend(key_id: int, successor_id: int) -> bool:
    """Start a successor's budget counters at those of the rotated key.

    Return whether anything was carried over; a repeat carries nothing.
    """
    with connection.cursor() as cursor:
        cursor.callproc("billing_carry_spend", [key_id, successor_id])
        (is_carried,) = cursor.fetchone()
    return bool(is_carried)


@receiver(key_rotated, dispatch_uid="billing_carry_spend")
def _on_key_rotated(sender: object, key: ApiKey, successor: ApiKey, **_: object) -> None:
    carry_spend(key.pk, successor.pk)

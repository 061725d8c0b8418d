"""Expiry, run by Celery: of reservations, dead processes' leases and promotional credit."""

from django.db import connection


def sweep(row_limit: int = 1000) -> int:
    """End up to `row_limit` reservations that have expired, or whose process's lease has ended.

    Return how many it ended.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_sweep(%s)", [row_limit])
        (ended,) = cursor.fetchone()
    return int(ended)


def end_dead_leases(lease_seconds: float) -> int:
    """End the leases that were neither renewed nor locked for twice `lease_seconds`.

    The first call after `lease_seconds` only suspects them. Return how many leases it ended.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_end_dead_leases(%s)", [lease_seconds])
        (ended,) = cursor.fetchone()
    return int(ended)


def expire_lots(row_limit: int = 1000) -> int:
    """Take back what is left of up to `row_limit` expired promotional credits. Return how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_expire_lots(%s)", [row_limit])
        (expired,) = cursor.fetchone()
    return int(expired)

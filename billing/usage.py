"""Usage as charts need it: rolled up by hour."""

from datetime import datetime

from django.db import connection


def roll_up(since: datetime) -> int:
    """Makes the roll-up of every hour from `since` on anew. Returns the rows written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_roll_up(%s)", [since])
        (written,) = cursor.fetchone()
    return int(written)

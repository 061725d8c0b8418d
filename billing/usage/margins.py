"""Margins: what customers paid less what upstreams charge us, by day, model, team or upstream.

By day, model and team from the hourly roll-up; by upstream and by request from the usage records,
since several upstreams may charge for one request.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from django.db import connection

By = Literal["day", "model", "team", "upstream", "request"]


class Margin(NamedTuple):
    """The margin of something, in nano-dollars."""

    name: str
    requests: int
    charged_nanos: int
    upstream_cost_nanos: int

    @property
    def margin_nanos(self) -> int:
        """What is left; negative for a loss."""
        return self.charged_nanos - self.upstream_cost_nanos

    @property
    def percent(self) -> float | None:
        """The margin in percent of what was paid; None if nothing was paid."""
        return 100 * self.margin_nanos / self.charged_nanos if self.charged_nanos else None


_FROM_HOURS = """
SELECT {name} AS name, sum(h.requests), sum(h.charged_nanos), sum(h.upstream_cost_nanos)
FROM billing_usagehour h
JOIN billing_creditaccount a ON a.id = h.account_id
LEFT JOIN accounts_team t ON t.id = a.team_id
WHERE h.hour >= %(since)s AND h.hour < %(until)s
GROUP BY 1 ORDER BY {order} LIMIT %(limit)s
"""
_LOSSES_FIRST = "sum(h.charged_nanos) - sum(h.upstream_cost_nanos), 1"
_QUERIES: dict[str, str] = {
    "day": _FROM_HOURS.format(
        name="to_char(h.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')", order="1 DESC"
    ),
    "model": _FROM_HOURS.format(name="h.model", order=_LOSSES_FIRST),
    "team": _FROM_HOURS.format(name="coalesce(t.slug, '')", order=_LOSSES_FIRST),
    # A request's revenue is that of the upstream that answered; records of an earlier release name
    # no other.
    "upstream": """
        SELECT name, sum(requests), sum(charged), sum(cost) FROM (
            SELECT upstream AS name, 1 AS requests, charged_nanos AS charged,
                   CASE WHEN cost_lines = '[]' THEN upstream_cost_nanos ELSE 0 END AS cost
            FROM billing_usagerecord WHERE created_at >= %(since)s AND created_at < %(until)s
            UNION ALL
            SELECT a.cost->>'upstream', 0, 0, (a.cost->>'amount_nanos')::bigint
            FROM billing_usagerecord, jsonb_array_elements(cost_lines) AS a(cost)
            WHERE created_at >= %(since)s AND created_at < %(until)s AND cost_lines <> '[]'
        ) AS part
        WHERE name <> ''
        GROUP BY 1 ORDER BY sum(charged) - sum(cost), 1 LIMIT %(limit)s
    """,
    "request": """
        SELECT request_id::text, 1, charged_nanos, upstream_cost_nanos FROM billing_usagerecord
        WHERE created_at >= %(since)s AND created_at < %(until)s
        ORDER BY charged_nanos - upstream_cost_nanos, created_at DESC LIMIT %(limit)s
    """,
}


def margins(by: By, since: datetime, until: datetime, limit: int = 100) -> list[Margin]:
    """Return the margins of what was used in a period: the smallest first, or the newest day.

    Where the roll-up is read, the period begins and ends on full hours. Requests are the `limit`
    with the smallest margin.
    """
    with connection.cursor() as cursor:
        cursor.execute(_QUERIES[by], {"since": since, "until": until, "limit": limit})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    as_int: Callable[[Any], int] = int
    return [Margin(name, *map(as_int, figures)) for name, *figures in rows]

"""The log of ejected routes, for staff: each process writes what its circuit breakers decided.

A row is an ejection until the route's breaker is closed, with the latest reason. A process that
starts reads the rows that are open, so that a deployment doesn't forget which routes fail.
"""

import psycopg

from api.catalogue.snapshot import parts_of_route_key
from api.gateway.breaker import Breakers, Ejection, Recovery
from api.gateway.shared_counts import SharedCounts

_EJECT = """
INSERT INTO api_routeejection AS current (
    route_id, key_id, ejected_at, retry_at, ejections, reason)
SELECT id, (SELECT id FROM api_upstreamkey WHERE id = %(key_id)s), now(),
    now() + %(seconds)s * interval '1 second', %(ejections)s, %(reason)s
FROM api_route WHERE id = %(route_id)s
ON CONFLICT (route_id, key_id) WHERE recovered_at IS NULL DO UPDATE SET
    retry_at = greatest(current.retry_at, excluded.retry_at),
    ejections = greatest(current.ejections, excluded.ejections),
    reason = excluded.reason
"""
_RECOVER = """
UPDATE api_routeejection SET recovered_at = now()
WHERE route_id = %s AND key_id IS NOT DISTINCT FROM %s AND recovered_at IS NULL
"""
_FORGET = "DELETE FROM api_routeejection WHERE recovered_at < now() - interval '31 days'"
_READ = """
SELECT route_id | (coalesce(key_id, 0) << 32), ejections,
    greatest(extract(epoch FROM retry_at - now()), 0.001)::float
FROM api_routeejection WHERE recovered_at IS NULL
"""


class EjectionLog(SharedCounts):
    """One process's breakers, and the part of the log that it writes, from `open` to `close`."""

    flush_seconds = 1.0
    unavailable_event = "ejection_log_unavailable"

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.breakers = Breakers()
        self._has_read = False

    async def flush(self) -> None:
        """Write what was decided since; it is kept where that fails. Raise psycopg.Error."""
        events = self.breakers.events
        if self._has_read and not events:
            return
        async with await self.connect() as connection:
            if not self._has_read:
                cursor = await connection.execute(_READ)
                for route_key, ejections, seconds in await cursor.fetchall():
                    self.breakers.add(route_key, ejections, seconds)
                self._has_read = True
            while events:
                await _write(connection, events[0])
                events.popleft()


async def _write(connection: psycopg.AsyncConnection, event: Ejection | Recovery) -> None:
    route_id, key_id = parts_of_route_key(event.route_key)
    if isinstance(event, Ejection):
        ids = {"route_id": route_id, "key_id": key_id}
        await connection.execute(_EJECT, event._asdict() | ids)
    else:
        await connection.execute(_RECOVER, [route_id, key_id])
        await connection.execute(_FORGET)

"""The relay's side of the videos' table: orders are written and read here, without the ORM.

Jobs end elsewhere (`api/videos.py`), by Celery. The pool is small and of its own: an order is a
rare thing, and asking for a video is one look-up by primary key.
"""

from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.relay.exchange import Exchange
from billing.pricing.charge import Usage, charge_of, upstream_cost_nanos

POOL_SIZE = 4
WAIT_SECONDS = 2.0

_BEGIN = """
INSERT INTO api_videojob (
    id, team_id, account_id, key_id, price_version_id, model, surface, end_user, seconds,
    cost_nanos, upstream_cost_nanos, upstream_job_id, attempts, state, url, error,
    created_at, expires_at, next_poll_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '[]', 'processing', '', '',
        now(), now() + make_interval(secs => %s), now() + make_interval(secs => %s))
ON CONFLICT (id) DO NOTHING
"""
_ACCEPT = """
UPDATE api_videojob SET upstream_id = %s, upstream_job_id = %s, attempts = %s::jsonb,
    next_poll_at = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'processing'
"""
_REFUSE = """
UPDATE api_videojob SET state = 'failed', error = %s, ended_at = now()
WHERE id = %s AND state = 'processing'
"""
_FIND = "SELECT state, url, error FROM api_videojob WHERE id = %s AND team_id = %s"


class Found(NamedTuple):
    """How a video is coming along: a state of `VideoJob.State`, its address, what went wrong."""

    state: str
    url: str
    error: str


class VideoStore:
    """The table of videos, as the relay uses it. Every method raises psycopg.Error.

    Every statement may be sent twice, and changes nothing the second time.
    """

    def __init__(self, database_url: str) -> None:
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            database_url,
            min_size=0,
            max_size=POOL_SIZE,
            timeout=WAIT_SECONDS,
            # Else attempts to connect that began in an outage come minutes after its end, and keep
            # a place in the pool until then.
            reconnect_timeout=WAIT_SECONDS,
            kwargs={"autocommit": True},
            open=False,
        )

    async def open(self) -> None:
        """Makes the pool ready; connections are made as they are needed."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.close(timeout=1)

    async def begin(self, exchange: Exchange) -> None:
        """Writes down an order, before the upstream is asked."""
        plan, verdict = exchange.plan, exchange.verdict
        units = plan.units or Usage()
        row = (
            exchange.request_id,
            verdict.team_id,
            verdict.account_id,
            verdict.key_id,
            plan.prices.version_id,
            plan.model.name,
            exchange.surface.name,
            plan.end_user[:200].replace("\0", ""),
            units.seconds,
            charge_of(plan.prices, units).total_nanos,
            upstream_cost_nanos(plan.prices, units),
            plan.job_seconds,
            # Whose order's answer has not come by then, that order's process is gone.
            plan.total_seconds,
        )
        await self._execute(_BEGIN, row)

    async def accept(self, exchange: Exchange, job_id: str, poll_seconds: float) -> None:
        """Writes down that an upstream took the order, and under which id."""
        upstream = exchange.route.upstream.id if exchange.route is not None else None
        attempts = msgspec.json.encode(exchange.attempts).decode()
        await self._execute(
            _ACCEPT, (upstream, job_id, attempts, poll_seconds, exchange.request_id)
        )

    async def refuse(self, request_id: str, error: str) -> None:
        """Writes down that no upstream took the order."""
        await self._execute(_REFUSE, (error[:500], request_id))

    async def find(self, request_id: str, team_id: int) -> Found | None:
        """Returns a team's video, or None."""
        rows = await self._execute(_FIND, (request_id, team_id))
        return Found(*rows[0]) if rows else None

    async def _execute(self, statement: str, row: tuple[object, ...]) -> list[Any]:
        """Returns the statement's rows, if it has any."""
        try:
            return await self._execute_once(statement, row)
        except PoolTimeout:
            raise
        except psycopg.OperationalError:
            # A restart of the database ends all idle connections. The pool's own check would find
            # one after the other, with a second's wait between them.
            await self._pool.check()
            return await self._execute_once(statement, row)

    async def _execute_once(self, statement: str, row: tuple[object, ...]) -> list[Any]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, row)
            return await cursor.fetchall() if cursor.description else []

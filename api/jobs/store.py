"""The gateway's access to the jobs' tables, without the ORM.

Jobs end in Celery (`api/jobs/poll.py`, `api/operations/async_chat_worker.py`). The store has a
small pool of its own: orders are rare, and finding a job is one look-up by primary key.
"""

from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.catalogue.snapshot import UpstreamEntry
from billing.pricing.charge import AttemptCost

POOL_SIZE = 4
WAIT_SECONDS = 2.0

_BEGIN = """
INSERT INTO api_videojob (
    id, team_id, account_id, key_id, price_version_id, contract_id, model, surface, end_user,
    seconds, cost_nanos, upstream_cost_nanos, upstream_job_id, attempts, state, url, error,
    created_at, expires_at, next_poll_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, '', '[]', 'processing', '', '',
        now(), now() + make_interval(secs => %s), now() + make_interval(secs => %s))
ON CONFLICT (id) DO NOTHING
"""
_ACCEPT = """
UPDATE api_videojob SET upstream_id = %s, upstream_key_id = %s, upstream_job_id = %s,
    attempts = %s::jsonb, route_cost_id = %s, upstream_cost_nanos = %s,
    next_poll_at = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'processing'
"""
_REFUSE = """
UPDATE api_videojob SET state = 'failed', error = %s, ended_at = now()
WHERE id = %s AND state = 'processing'
"""
_FIND = """
SELECT state, url, error, model, seconds, floor(extract(epoch FROM created_at))::bigint,
    floor(extract(epoch FROM ended_at))::bigint
FROM api_videojob WHERE id = %s AND team_id = %s
"""
_BEGIN_CHAT = """
INSERT INTO api_chatjob (
    id, team_id, account_id, key_id, price_version_id, contract_id, model, surface, held_nanos,
    body, answer, error, error_code, state, runs, created_at, expires_at, next_run_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '', '', 'processing', 0, now(),
        now() + make_interval(secs => %s), now())
ON CONFLICT (id) DO NOTHING
"""
_FIND_CHAT = """
SELECT state, answer, error, error_code, model FROM api_chatjob WHERE id = %s AND team_id = %s
"""


class JobOrder(NamedTuple):
    """An order as it is recorded before an upstream accepts it.

    `job_seconds` is how long the job may take, and `order_seconds` how long the upstream may take
    to accept it. `contract_id` names the contract price that applies, if any. `seconds` is the
    ordered length, where it is paid for.
    """

    request_id: str
    team_id: int
    account_id: int
    key_id: int
    price_version_id: int
    contract_id: int | None
    model: str
    surface: str
    end_user: str
    seconds: int
    cost_nanos: int
    job_seconds: float
    order_seconds: float


class JobState(NamedTuple):
    """A job's state (of `VideoJob.State`), the address of its result, and its error.

    `seconds` is the ordered length where it is paid for, else 0. Times are Unix seconds.
    """

    state: str
    url: str
    error: str
    model: str
    seconds: int
    created_at: int
    ended_at: int | None


class ChatOrder(NamedTuple):
    """A conversation to be answered within `job_seconds`; `body` is its request's JSON."""

    request_id: str
    team_id: int
    account_id: int
    key_id: int
    price_version_id: int
    contract_id: int | None
    model: str
    surface: str
    held_nanos: int
    body: str
    job_seconds: float


class ChatState(NamedTuple):
    """A chat's state (of `ChatJob.State`), its answer's JSON, and its error."""

    state: str
    answer: str
    error: str
    error_code: str
    model: str


class JobStore:
    """The table of jobs, as the gateway uses it. Every method raises psycopg.Error.

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
        """Open the pool; connections are made as needed."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close(timeout=1)

    async def begin(self, order: JobOrder) -> None:
        """Record an order, before the upstream is called."""
        await self.execute(
            _BEGIN,
            (
                order.request_id,
                order.team_id,
                order.account_id,
                order.key_id,
                order.price_version_id,
                order.contract_id,
                order.model,
                order.surface,
                order.end_user[:200].replace("\0", ""),
                order.seconds,
                order.cost_nanos,
                order.job_seconds,
                # An order whose answer has not come by then belongs to a dead process.
                order.order_seconds,
            ),
        )

    async def accept(
        self,
        request_id: str,
        upstream: UpstreamEntry | None,
        job_id: str,
        attempts: list[dict[str, object]],
        *,
        cost: AttemptCost | None,
        poll_seconds: float,
    ) -> None:
        """Record that an upstream accepted the order, its id for the job, and what it will charge.

        `cost` is None where that is unknown.
        """
        attempts_json = msgspec.json.encode(attempts).decode()
        place = (upstream.id, upstream.key_id or None) if upstream else (None, None)
        costs = (cost.route_cost, cost.amount_nanos) if cost else (None, 0)
        await self.execute(
            _ACCEPT, (*place, job_id, attempts_json, *costs, poll_seconds, request_id)
        )

    async def refuse(self, request_id: str, error: str) -> None:
        """Record that no upstream accepted the order."""
        await self.execute(_REFUSE, (error[:500], request_id))

    async def find(self, request_id: str, team_id: int) -> JobState | None:
        """Return a team's job, or None."""
        rows = await self.execute(_FIND, (request_id, team_id))
        return JobState(*rows[0]) if rows else None

    async def begin_chat(self, order: ChatOrder) -> None:
        """Store a conversation that is to be answered."""
        await self.execute(_BEGIN_CHAT, order)

    async def find_chat(self, request_id: str, team_id: int) -> ChatState | None:
        """Return the team's chat, or None if it has none with this id."""
        rows = await self.execute(_FIND_CHAT, (request_id, team_id))
        return ChatState(*rows[0]) if rows else None

    async def execute(self, statement: str, row: tuple[object, ...]) -> list[Any]:
        """Return the statement's rows, if it has any. It may be sent twice."""
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

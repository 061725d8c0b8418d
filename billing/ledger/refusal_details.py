"""More of why the ledger refuses: whether the key is frozen, and which budget is exceeded.

It is looked up only once a request is refused, so that other requests pay nothing for it, and over
one connection, so that a flood of refusals costs the database one small query at a time.
"""

import asyncio
from typing import Any

import msgspec
import psycopg

from billing.ledger.group_commit import CONNECT_TIMEOUT_SECONDS

# Beyond it the refusal says no more than its code.
LOOKUP_SECONDS = 2.0

# To the ledger's functions a frozen key has expired.
_IS_FROZEN = """
SELECT EXISTS (
    SELECT FROM accounts_apikey
    WHERE digest = ANY (SELECT decode(hex, 'hex') FROM unnest(%s::text[]) AS hex)
      AND revoked_at IS NULL AND frozen_at IS NOT NULL
      AND (unfrozen_expires_at IS NULL OR unfrozen_expires_at > now()))
"""
_TIGHTEST_BUDGET = """
SELECT scope, period, limit_nanos, left_nanos, resets_at FROM billing_tightest_budget(%s::jsonb)
"""


class TightestBudget(msgspec.Struct):
    """The hard budget that leaves a request the least.

    `scope` is `team`, `member`, `key`, `session` or `end_user`, and `period` `day`, `week`,
    `month` or `total`. `resets_at` is in unix seconds, None for `total`.
    """

    scope: str
    period: str
    limit_nanos: int
    left_nanos: int
    resets_at: int | None


class RefusalDetails:
    """What the database knows of refused requests."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()

    async def is_frozen(self, digests: list[str]) -> bool:
        """Return whether the key with one of these digests is frozen.

        Raise psycopg.Error, or TimeoutError after LOOKUP_SECONDS.
        """
        row = await self._row(_IS_FROZEN, digests)
        return row is not None and bool(row[0])

    async def tightest_budget(self, admission: bytes) -> TightestBudget | None:
        """Return the budget that a request exceeded, by its admission's JSON.

        Return None if it has none by now. Raise as `is_frozen` does.
        """
        row = await self._row(_TIGHTEST_BUDGET, admission.decode())
        return None if row is None else TightestBudget(*row)

    async def close(self) -> None:
        """Close the connection."""
        await self._disconnect()

    async def _row(self, query: str, parameter: Any) -> tuple[Any, ...] | None:
        async with asyncio.timeout(LOOKUP_SECONDS), self._lock:
            try:
                cursor = await (await self._connected()).execute(query, [parameter])
                return await cursor.fetchone()
            except BaseException:  # which may leave the query under way
                await self._disconnect()
                raise

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._database_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
            )
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

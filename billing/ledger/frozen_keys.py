"""Whether a key that the ledger refuses is frozen, for the refusal to say so.

To the ledger's functions a frozen key has expired. It is looked up only once it is refused, so that
other requests pay nothing for it, and over one connection, so that a flood of unknown keys costs
the database one small query at a time.
"""

import asyncio

import psycopg

from billing.ledger.group_commit import CONNECT_TIMEOUT_SECONDS

# Beyond it the refusal is the one of an unknown key.
LOOKUP_SECONDS = 2.0

_IS_FROZEN = """
SELECT EXISTS (
    SELECT FROM accounts_apikey
    WHERE digest = ANY (SELECT decode(hex, 'hex') FROM unnest(%s::text[]) AS hex)
      AND revoked_at IS NULL AND frozen_at IS NOT NULL
      AND (unfrozen_expires_at IS NULL OR unfrozen_expires_at > now()))
"""


class FrozenKeys:
    """The frozen keys of the database."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()

    async def has(self, digests: list[str]) -> bool:
        """Return whether the key with one of these digests is frozen.

        Raise psycopg.Error, or TimeoutError after LOOKUP_SECONDS.
        """
        async with asyncio.timeout(LOOKUP_SECONDS), self._lock:
            try:
                cursor = await (await self._connected()).execute(_IS_FROZEN, [digests])
                row = await cursor.fetchone()
            except BaseException:  # which may leave the query under way
                await self._disconnect()
                raise
        return row is not None and bool(row[0])

    async def close(self) -> None:
        """Close the connection."""
        await self._disconnect()

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

"""How the models do, from what the relay saw of them: the source of `/health`.

Each process counts by itself and adds its counts to the table every two seconds; what is shown is
the sum over all processes of the last five minutes. Without the database the last known is shown.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress

import psycopg
import structlog

from api.catalogue import Snapshot

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 2.0
SHOWN_FOR_SECONDS = 1.0
CONNECT_SECONDS = 2
# A model is degraded from one failure in five on, and offline from nine in ten on; a single failed
# request says nothing.
DEGRADED_SHARE = 0.2
OFFLINE_SHARE = 0.9
LEAST_FAILURES = 3

_ADD = """
WITH forgotten AS (DELETE FROM api_modelhealth WHERE minute < now() - interval '1 hour')
INSERT INTO api_modelhealth (model, minute, succeeded, failed)
SELECT model, date_trunc('minute', now()), succeeded, failed
FROM unnest(%s::text[], %s::int[], %s::int[]) AS seen (model, succeeded, failed)
ORDER BY model
ON CONFLICT (model, minute) DO UPDATE SET
    succeeded = api_modelhealth.succeeded + excluded.succeeded,
    failed = api_modelhealth.failed + excluded.failed
"""
_READ = """
SELECT model, sum(succeeded)::int, sum(failed)::int FROM api_modelhealth
WHERE minute > now() - interval '5 minutes' GROUP BY model
"""
_READ_VERSION = "SELECT version FROM billing_catalogueversion"


class Health:
    """One process's counts, and its view of everybody's."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._succeeded: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._seen: dict[str, tuple[int, int]] = {}
        self._read_at = float("-inf")
        self.catalogue_version = 0  # as it was when everybody's counts were read
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Starts adding this process's counts to the table."""
        self._task = asyncio.get_running_loop().create_task(self._flush_regularly())

    async def close(self) -> None:
        """Stops, after one last attempt to add what was counted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._flush()

    def succeeded(self, model: str) -> None:
        """Counts an answer."""
        self._succeeded[model] += 1

    def failed(self, model: str) -> None:
        """Counts a failure that is not the client's."""
        self._failed[model] += 1

    async def refresh(self) -> None:
        """Reads everybody's counts, if the last known are old; without the database they stay."""
        if time.monotonic() - self._read_at > SHOWN_FOR_SECONDS:
            self._read_at = time.monotonic()
            try:
                await self._read()
            except psycopg.Error as error:
                log.warning("health_unavailable", error=str(error))

    def states(self, snapshot: Snapshot) -> dict[str, str]:
        """Returns `operational`, `degraded` or `offline` for each model by its public name."""
        return {
            model.name: _state(*self._seen.get(model.name, (0, 0))) if model.routes else "offline"
            for model in snapshot.public_models()
        }

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._flush()
            except psycopg.Error as error:
                log.warning("health_unavailable", error=str(error))

    async def _flush(self) -> None:
        """Adds the counts to the table; they are kept where that fails. Raises psycopg.Error."""
        if not self._succeeded and not self._failed:
            return
        succeeded, self._succeeded = self._succeeded, Counter()
        failed, self._failed = self._failed, Counter()
        models = sorted(succeeded.keys() | failed.keys())
        rows = [models, [succeeded[model] for model in models], [failed[model] for model in models]]
        try:
            async with await self._connect() as connection:
                await connection.execute(_ADD, rows)
        except BaseException:
            self._succeeded += succeeded
            self._failed += failed
            raise

    async def _read(self) -> None:
        async with await self._connect() as connection:
            cursor = await connection.execute(_READ)
            self._seen = {model: (ok, bad) for model, ok, bad in await cursor.fetchall()}
            cursor = await connection.execute(_READ_VERSION)
            self.catalogue_version = (await cursor.fetchone() or (0,))[0]

    async def _connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self._database_url, autocommit=True, connect_timeout=CONNECT_SECONDS
        )


def _state(succeeded: int, failed: int) -> str:
    if failed < LEAST_FAILURES:
        return "operational"
    share = failed / (succeeded + failed)
    if share >= OFFLINE_SHARE:
        return "offline"
    return "degraded" if share >= DEGRADED_SHARE else "operational"

"""Maintenance mode: each process reads its row every second.

Requests look at `current`, which is in memory, so the mode costs them no query and no await. If the
row can't be read, the last known state stays.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
import structlog

from api.errors import ServiceUnavailableError
from api.phrases import Phrase

log = structlog.get_logger(__name__)

READ_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0
# The wait that clients are told if the end is unknown or past, and the longest.
RETRY_SECONDS = 60
MAX_RETRY_SECONDS = 3600

_READ = "SELECT is_on, text, ends_at FROM api_maintenancemode WHERE id = 1"


class Maintenance(NamedTuple):
    """The mode's row; `ends_at` is aware."""

    is_on: bool = False
    text: str = ""
    ends_at: datetime | None = None

    def retry_seconds(self) -> int:
        """Return how long a client should wait before it tries again."""
        if self.ends_at is None:
            return RETRY_SECONDS
        seconds = int((self.ends_at - datetime.now(UTC)).total_seconds()) + 1
        return min(seconds, MAX_RETRY_SECONDS) if seconds > 1 else RETRY_SECONDS

    def error(self) -> ServiceUnavailableError:
        """Return the API's answer to every request."""
        message: str = Phrase("The service is under maintenance.")
        if self.ends_at:
            message = Phrase(
                "The service is under maintenance until {time} UTC.",
                time=f"{self.ends_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            )
        if self.text:
            message = Phrase("{message} {note}", message=message, note=self.text)
        return ServiceUnavailableError(message, retry_after_seconds=self.retry_seconds())


class Watch:
    """Keeps `current` up to date, on one database connection, from `open` to `close`."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the row before the first request, and every second from now on."""
        await self._read()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            await self._read()

    async def _read(self) -> None:
        global current  # noqa: PLW0603  # one per process
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._database_url, autocommit=True
                    )
                cursor = await self._connection.execute(_READ)
                row = await cursor.fetchone()
        except (psycopg.Error, TimeoutError) as error:
            log.warning("maintenance_not_read", error=repr(error))
            await self._disconnect()
            return
        found = Maintenance(*row) if row is not None else Maintenance()
        if found.is_on != current.is_on:
            log.warning("maintenance_mode", is_on=found.is_on)
        current = found

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()


current = Maintenance()

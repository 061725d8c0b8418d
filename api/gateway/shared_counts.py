"""Counts that each process keeps in memory and adds to a table that all processes share."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import psycopg
import structlog

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 2


class SharedCounts(ABC):
    """One process's counts, flushed every `flush_seconds` from `open` to `close`."""

    flush_seconds: float
    unavailable_event: str
    """The log event of a flush that failed."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start flushing."""
        self._task = asyncio.get_running_loop().create_task(self._flush_regularly())

    async def close(self) -> None:
        """Stop, after one last flush."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.flush()

    @abstractmethod
    async def flush(self) -> None:
        """Add the counts to the table. Raise psycopg.Error."""

    async def connect(self) -> psycopg.AsyncConnection:
        """Return a new connection, which the caller closes. Raise psycopg.Error."""
        return await psycopg.AsyncConnection.connect(
            self._database_url, autocommit=True, connect_timeout=CONNECT_SECONDS
        )

    async def _flush_regularly(self) -> None:
        while True:
            try:
                await self.flush()
            except psycopg.Error as error:
                log.warning(self.unavailable_event, error=str(error))
            await asyncio.sleep(self.flush_seconds)

"""The snapshot that a process goes by at present, and its renewal."""

import asyncio
from collections.abc import Awaitable, Callable

from api.catalogue.snapshot import EMPTY, Snapshot


class Catalogue:
    """A process's current snapshot, refreshed by one read at a time."""

    def __init__(self, read: Callable[[], Awaitable[Snapshot]]) -> None:
        """`read` fetches a snapshot, such as `load` on a connection of a pool."""
        self.current: Snapshot = EMPTY
        self._read = read
        self._flight: asyncio.Task[None] | None = None

    async def refresh_to(self, version: int) -> Snapshot:
        """Return the snapshot after bringing it to `version` or later.

        Callers that come while a read is under way wait for that one; if it was of an older
        version, they share one more. A version that went backwards, as after a restored backup, is
        followed too. Raise what `read` raises, and the old snapshot stays.
        """
        for _ in range(2):
            if self.current.version == version:
                break
            if self._flight is None or self._flight.done():
                self._flight = asyncio.create_task(self._renew())
            # A caller that goes away must not end the read that others wait for.
            await asyncio.shield(self._flight)
            if self.current.version >= version:
                break
        return self.current

    async def _renew(self) -> None:
        self.current = await self._read()

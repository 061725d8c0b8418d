"""A process's lease: if the process dies, its holds end soon; while it is paused, they stay.

The lease is a row that is renewed every few seconds, and a database session that holds the row's
advisory lock (`sql/lease_v1.sql`). A paused process keeps its session, since the kernel answers for
it; a dead one has none. After a restart of PostgreSQL or a network failure the process takes the
lock again with its next renewal.
"""

import asyncio
import os
import socket

import psycopg
import structlog
from django.conf import settings

from billing.ledger.group_commit import CONNECT_TIMEOUT_SECONDS, STOP_SECONDS

log = structlog.get_logger(__name__)

RENEWALS_PER_LEASE = 4
# A host that lost power or its network is silent: the server probes its session this often, and
# ends it after so many unanswered probes. A paused process's kernel answers them.
SERVER_CHECKS = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=15000"
)


class ProcessLease:
    """The lease of this process, which names it in each admission.

    `id` is None until there is one, while the database is away at the start: a reservation without
    a lease only ends by its expiry.
    """

    def __init__(self, database_url: str) -> None:
        self.id: int | None = None
        self._database_url = database_url
        self._connection: psycopg.AsyncConnection | None = None
        self._is_locked = False
        self._task: asyncio.Task[None] | None = None
        self._process = f"{socket.gethostname()} {os.getpid()}"

    async def open(self) -> None:
        """Begin the lease; if the database is away, the renewing task does it later."""
        await self._renew()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop renewing; what the process still holds is released once its lease has ended."""
        while self._task is not None and not self._task.done():
            # As in `BatchQueue.stop`: a second cancellation ends a wait for a server that hangs.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(settings.LEASE_SECONDS / RENEWALS_PER_LEASE)
            await self._renew()

    async def _renew(self) -> None:
        """Renew the lease, or begin one where there is none or it has ended."""
        try:
            # Less than a lease lasts: a connection that hangs is replaced in time.
            async with asyncio.timeout(settings.LEASE_SECONDS / 2):
                await self._renew_or_begin(await self._connected())
        except (psycopg.Error, TimeoutError) as error:
            log.warning("lease_not_renewed", lease=self.id, error=repr(error))
            await self._disconnect()

    async def _renew_or_begin(self, connection: psycopg.AsyncConnection) -> None:
        if self.id is not None:
            cursor = await connection.execute(
                "SELECT goes_on, is_locked FROM billing_renew_lease(%s, %s)",
                [self.id, not self._is_locked],
            )
            goes_on, self._is_locked = await cursor.fetchone() or (False, False)
            if goes_on:
                return
            log.error("lease_lost", lease=self.id)
            self.id, self._is_locked = None, False
        cursor = await connection.execute("SELECT billing_begin_lease(%s)", [self._process])
        row = await cursor.fetchone()
        if row is not None:
            self.id, self._is_locked = row[0], True

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                self._connection = await psycopg.AsyncConnection.connect(
                    self._database_url, autocommit=True, options=SERVER_CHECKS
                )
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection, self._is_locked = self._connection, None, False
        if connection is not None:
            await connection.close()

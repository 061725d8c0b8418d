"""What a process needs to serve the API, and its life: open, shut down, close."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import psycopg
import structlog
from django.conf import settings

from api import errors
from api.catalogue import snapshot
from api.catalogue.snapshot import Catalogue, Snapshot
from api.relay.health import Health
from api.relay.upstream import Upstreams
from api.relay.video_store import VideoStore
from api.relay.watch import Clock
from billing.ledger.gate import AdmissionResult, Gate

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 3

Result = TypeVar("Result")


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """The settings that every request needs, read once: Django's own look-up takes 1 µs each."""

    max_body_bytes: int
    max_answer_bytes: int
    keepalive_seconds: float
    write_timeout_seconds: float
    settle_wait_seconds: float
    hold_grace_seconds: float
    video_max_seconds: float
    video_poll_seconds: float


class Relay:
    """One process's relay. Make it inside the running event loop."""

    def __init__(
        self,
        *,
        gate: Gate,
        snapshots: Catalogue,
        upstreams: Upstreams,
        health: Health,
        videos: VideoStore,
        limits: Limits,
    ) -> None:
        self.gate = gate
        self.catalogue = snapshots
        self.upstreams = upstreams
        self.health = health
        self.videos = videos
        self.limits = limits
        self.clock = Clock()
        self.is_shutting_down = False
        # The loop itself keeps only weak references to its tasks.
        self._background: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Starts the connections. A database that is away now is tried again by requests."""
        await self.gate.open()
        self.health.open()
        await self.videos.open()
        self.clock.start()
        try:
            self.catalogue.current = await read_catalogue()
        except psycopg.Error as error:
            log.warning("catalogue_unavailable", error=str(error))

    async def catalogue_of(self, verdict: AdmissionResult) -> Snapshot:
        """Returns the catalogue at the version that the ledger goes by, or later.

        Raises ServiceUnavailableError where it can't be read.
        """
        if self.catalogue.current.version == verdict.catalogue_version:
            return self.catalogue.current
        try:
            return await self.catalogue.refresh_to(verdict.catalogue_version)
        except psycopg.Error:
            raise errors.ServiceUnavailableError() from None

    def run_in_background(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Runs something that outlives its request, and returns its task."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def shut_down(self) -> None:
        """Ends the running requests: streams by an error event, each with its settlement."""
        self.is_shutting_down = True
        log.info("relay_shutting_down", requests=len(self.clock.watches))
        self.clock.abort_all("shutdown")
        for task in list(self._background):
            task.cancel()

    async def close(self, timeout_seconds: float) -> None:
        """Closes everything; settlements that can't be made in time go to the spool."""
        for task in list(self._background):
            task.cancel()
        if self._background:
            await asyncio.wait(self._background, timeout=1)
        self.clock.stop()
        await self.health.close()
        await self.videos.close()
        await self.gate.close(timeout_seconds)
        await self.upstreams.close()


def new_relay() -> Relay:
    """Returns a relay on the settings' database."""
    return Relay(
        gate=Gate(settings.DATABASE_URL),
        snapshots=Catalogue(read_catalogue),
        upstreams=Upstreams(),
        health=Health(settings.DATABASE_URL),
        videos=VideoStore(settings.DATABASE_URL),
        limits=limits_of_settings(),
    )


def limits_of_settings() -> Limits:
    """Returns the limits that the settings say."""
    return Limits(
        max_body_bytes=settings.MAX_BODY_BYTES,
        max_answer_bytes=settings.MAX_ANSWER_BYTES,
        keepalive_seconds=settings.KEEPALIVE_SECONDS,
        write_timeout_seconds=settings.WRITE_TIMEOUT_SECONDS,
        settle_wait_seconds=settings.SETTLE_WAIT_SECONDS,
        hold_grace_seconds=settings.HOLD_GRACE_SECONDS,
        video_max_seconds=settings.VIDEO_MAX_SECONDS,
        video_poll_seconds=settings.VIDEO_POLL_SECONDS,
    )


async def read_catalogue() -> Snapshot:
    """Returns the catalogue's snapshot. Raises psycopg.Error."""
    connection = await psycopg.AsyncConnection.connect(
        settings.DATABASE_URL, autocommit=True, connect_timeout=CONNECT_SECONDS
    )
    async with connection:
        return await snapshot.load(connection)

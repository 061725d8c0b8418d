"""The gateway of one process: what serving the API needs, opened, shut down and closed."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import psycopg
import structlog
from django.conf import settings

from api import errors
from api.catalogue import snapshot
from api.catalogue.current import Catalogue
from api.catalogue.snapshot import Snapshot
from api.gateway import tracing
from api.gateway.cancellations import Cancellations
from api.gateway.count_exchange import CountExchange
from api.gateway.deadlines import DeadlineTicker
from api.gateway.ejection_log import EjectionLog
from api.gateway.health import Health
from api.gateway.key_addresses import KeyAddresses
from api.gateway.metrics import Recorder
from api.gateway.refusals import RefusalLimit
from api.gateway.token_ratios import TokenRatios
from api.gateway.upstream import Upstreams
from api.jobs.store import JobStore
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
    free_requests_per_minute: int
    free_tokens_per_minute: int
    video_max_seconds: float
    video_poll_seconds: float
    async_chat_max_seconds: float
    hold_slice_tokens: int = 1_024
    https_only: bool = False
    behind_proxy: bool = False
    refusals_per_minute: int = 300
    address_refusals_per_minute: int = 600
    drain_seconds: float = 120
    drain_bytes: int = 4 * 1024 * 1024
    max_cancellations: int = 60
    cancellation_window_seconds: float = 600
    idempotency_seconds: float = 24 * 3600
    idempotency_max_bytes: int = 8 * 1024 * 1024


class Gateway:
    """One process's gateway. Create it inside the running event loop."""

    def __init__(
        self,
        *,
        gate: Gate,
        snapshots: Catalogue,
        upstreams: Upstreams,
        health: Health,
        jobs: JobStore,
        token_ratios: TokenRatios,
        ejection_log: EjectionLog,
        limits: Limits,
        valkey_url: str = "",
    ) -> None:
        self.gate = gate
        self.catalogue = snapshots
        self.upstreams = upstreams
        self.health = health
        self.jobs = jobs
        self.token_ratios = token_ratios
        self.limits = limits
        self.refusals = RefusalLimit(limits.refusals_per_minute, limits.address_refusals_per_minute)
        self.cancellations = Cancellations(
            limits.max_cancellations, limits.cancellation_window_seconds
        )
        self.ejection_log = ejection_log
        self.breakers = ejection_log.breakers
        # Without a URL, the limits and the breakers are this process's alone.
        self.exchange = (
            CountExchange(
                valkey_url,
                self.refusals,
                self.cancellations,
                self.breakers,
                upstreams.limits.rates,
            )
            if valkey_url
            else None
        )
        self.key_addresses = KeyAddresses(settings.DATABASE_URL)
        self.ticker = DeadlineTicker(upstreams.limits.tick)
        self.recorder = Recorder(self)
        # Models whose upstreams billed more output than came as text: their holds don't grow.
        self.hidden_output: set[str] = set()
        self.is_shutting_down = False
        # The loop itself keeps only weak references to its tasks.
        self._background: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Open the connections. If the database is unavailable, requests try it again."""
        await self.gate.open()
        self.health.open()
        self.token_ratios.open()
        self.ejection_log.open()
        self.key_addresses.open()
        if self.exchange is not None:
            self.exchange.open()
        await self.jobs.open()
        self.ticker.start()
        self.recorder.open()
        tracing.open_tracer(settings.TRACES_ENDPOINT)
        try:
            self.catalogue.current = await read_catalogue()
        except psycopg.Error as error:
            log.warning("catalogue_unavailable", error=str(error))

    async def catalogue_of(self, admission: AdmissionResult) -> Snapshot:
        """Return the catalogue at the ledger's version, or later.

        Raise ServiceUnavailableError if it can't be read.
        """
        if self.catalogue.current.version == admission.catalogue_version:
            return self.catalogue.current
        try:
            return await self.catalogue.refresh_to(admission.catalogue_version)
        except psycopg.Error:
            raise errors.ServiceUnavailableError() from None

    def run_in_background(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Run a coroutine that outlives its request, and return its task."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def shut_down(self) -> None:
        """End the running requests: streams with an error event, each with its settlement."""
        self.is_shutting_down = True
        log.info("gateway_shutting_down", requests=len(self.ticker.running))
        self.ticker.abort_all("shutdown")
        for task in list(self._background):
            task.cancel()

    async def close(self, timeout_seconds: float) -> None:
        """Close everything; settlements that can't be made in time go to the spool."""
        for task in list(self._background):
            task.cancel()
        if self._background:
            await asyncio.wait(self._background, timeout=1)
        self.ticker.stop()
        await self.health.close()
        await self.token_ratios.close()
        if self.exchange is not None:
            await self.exchange.close()
        await self.jobs.close()
        await self.gate.close(timeout_seconds)
        await self.key_addresses.close()
        await self.ejection_log.close()
        await self.recorder.close()
        await tracing.close_tracer()
        await self.upstreams.close()


def new_gateway() -> Gateway:
    """Return a gateway on the settings' database."""
    return Gateway(
        gate=Gate(settings.DATABASE_URL),
        snapshots=Catalogue(read_catalogue),
        upstreams=Upstreams(settings.MAX_ANSWER_BYTES),
        health=Health(settings.DATABASE_URL),
        jobs=JobStore(settings.DATABASE_URL),
        token_ratios=TokenRatios(settings.DATABASE_URL),
        ejection_log=EjectionLog(settings.DATABASE_URL),
        limits=_limits_of_settings(),
        valkey_url=settings.REDIS_URL,
    )


def _limits_of_settings() -> Limits:
    """Return the limits in the settings."""
    return Limits(
        max_body_bytes=settings.MAX_BODY_BYTES,
        max_answer_bytes=settings.MAX_ANSWER_BYTES,
        keepalive_seconds=settings.KEEPALIVE_SECONDS,
        write_timeout_seconds=settings.WRITE_TIMEOUT_SECONDS,
        settle_wait_seconds=settings.SETTLE_WAIT_SECONDS,
        hold_grace_seconds=settings.HOLD_GRACE_SECONDS,
        hold_slice_tokens=settings.HOLD_SLICE_TOKENS,
        free_requests_per_minute=settings.FREE_REQUESTS_PER_MINUTE,
        free_tokens_per_minute=settings.FREE_TOKENS_PER_MINUTE,
        video_max_seconds=settings.VIDEO_MAX_SECONDS,
        video_poll_seconds=settings.VIDEO_POLL_SECONDS,
        async_chat_max_seconds=settings.ASYNC_CHAT_MAX_SECONDS,
        https_only=settings.HTTPS,
        behind_proxy=settings.BEHIND_PROXY,
        refusals_per_minute=settings.REFUSALS_PER_MINUTE,
        address_refusals_per_minute=settings.ADDRESS_REFUSALS_PER_MINUTE,
        drain_seconds=settings.DRAIN_SECONDS,
        drain_bytes=settings.DRAIN_BYTES,
        max_cancellations=settings.MAX_CANCELLATIONS,
        cancellation_window_seconds=settings.CANCELLATION_WINDOW_SECONDS,
        idempotency_seconds=settings.IDEMPOTENCY_SECONDS,
        idempotency_max_bytes=settings.IDEMPOTENCY_MAX_BYTES,
    )


async def read_catalogue() -> Snapshot:
    """Return the catalogue's snapshot. Raise psycopg.Error."""
    connection = await psycopg.AsyncConnection.connect(
        settings.DATABASE_URL, autocommit=True, connect_timeout=CONNECT_SECONDS
    )
    async with connection:
        return await snapshot.load(connection)

"""The exchange among processes, through Valkey: refusals, cancellations, and ejected routes.

Each request checks limits and circuit breakers in its process's memory. Every half second a process
publishes what it has counted and decided since, and adds what the others have published, so that N
processes allow a key hardly more than one does, and a route that fails is left alone by all. This
is advice: nothing is stored, and without Valkey each process uses its own.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from heapq import nlargest
from typing import TypeVar

import msgspec
import redis.asyncio
import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from api.gateway.breaker import Breakers
from api.gateway.cancellations import Cancellations
from api.gateway.key_rates import KeyRates
from api.gateway.refusals import BucketKind, RefusalLimit

log = structlog.get_logger(__name__)

CHANNEL = "tollgate:counts"
INTERVAL_SECONDS = 0.5
TIMEOUT_SECONDS = 2.0
# How often an idle connection is checked.
CHECK_SECONDS = 10
RETRY_SECONDS = 2.0
# Per kind and message, the largest first. Limits per address don't stop an attack from more
# addresses than that in half a second anyway.
MOST_PUBLISHED = 2_000

Counted = TypeVar("Counted")
Amount = TypeVar("Amount", int, float)

_AWAY = (RedisError, OSError, TimeoutError)


class Counts(msgspec.Struct, array_like=True):
    """What one process counted since its last message, by bucket and by key id.

    `routes` are its breakers' changes: route key, ejections in a row, and seconds, 0 if closed;
    `rates` what upstreams' keys were used for: key id, requests and tokens.
    """

    sender: str
    refusals: list[tuple[BucketKind, str, float]]
    cancellations: list[tuple[int, int]]
    routes: list[tuple[int, int, float]] = []
    rates: list[tuple[int, int, int]] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Counts).decode


class CountExchange:
    """One process's part in the exchange, from `open` to `close`."""

    def __init__(
        self,
        url: str,
        refusals: RefusalLimit,
        cancellations: Cancellations,
        breakers: Breakers,
        rates: KeyRates,
    ) -> None:
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            health_check_interval=CHECK_SECONDS,
        )
        self._refusals = refusals
        self._cancellations = cancellations
        self._breakers = breakers
        self._rates = rates
        self._sender = uuid.uuid4().hex
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin the exchange."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End the exchange, after one last message."""
        if self._task is not None:
            # While it connects, redis-py may take a cancellation for a timeout of its own.
            while not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task], timeout=TIMEOUT_SECONDS)
            with suppress(*_AWAY):
                await self.publish()
        with suppress(*_AWAY):
            await self._client.aclose()

    async def publish(self) -> None:
        """Publish what was counted since the last message. If that fails, it is lost.

        Raise RedisError, OSError or TimeoutError.
        """
        counts = self._take()
        if counts.refusals or counts.cancellations or counts.routes or counts.rates:
            await self._client.publish(CHANNEL, _encode(counts))

    def merge(self, data: bytes) -> None:
        """Add what another process published. Ignore anything else."""
        try:
            counts = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            log.warning("counts_not_understood", size_bytes=len(data))
            return
        if counts.sender == self._sender:
            return
        for kind, name, amount in counts.refusals:
            self._refusals.add((kind, name), amount)
        for key_id, cancelled in counts.cancellations:
            self._cancellations.add(key_id, cancelled)
        for route_key, ejections, seconds in counts.routes:
            self._breakers.add(route_key, ejections, seconds)
        for key_id, requests, tokens in counts.rates:
            self._rates.add(key_id, requests, tokens)

    def _take(self) -> Counts:
        refused = _largest(self._refusals.take_changes())
        cancelled = _largest(self._cancellations.take_changes())
        return Counts(
            self._sender,
            [(kind, name, amount) for (kind, name), amount in refused],
            cancelled,
            [(route_key, *change) for route_key, change in self._breakers.take_changes().items()],
            [(key_id, *used) for key_id, used in self._rates.take_changes().items()],
        )

    async def _run(self) -> None:
        """Exchange counts until cancelled, and reconnect whenever Valkey was unavailable."""
        is_away = False
        while True:
            try:
                async with self._client.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    if is_away:
                        log.info("counts_shared_again")
                    is_away = False
                    await self._exchange(channel)
            except _AWAY as error:
                if not is_away:
                    log.warning("counts_not_shared", error=str(error))
                is_away = True
            # Once Valkey is back, these counts would be out of date.
            self._take()
            await asyncio.sleep(RETRY_SECONDS)

    async def _exchange(self, channel: PubSub) -> None:
        """Publish and merge. Raise RedisError, OSError or TimeoutError."""
        publish_at = 0.0
        while True:
            now = time.monotonic()
            if now >= publish_at:
                await self.publish()
                publish_at = now + INTERVAL_SECONDS
            wait_seconds = max(0.001, publish_at - now)
            message = await channel.get_message(
                ignore_subscribe_messages=True, timeout=wait_seconds
            )
            if message is not None:
                self.merge(message["data"])


def _largest(changes: Mapping[Counted, Amount]) -> list[tuple[Counted, Amount]]:
    """Return as many changes as a message may have, the largest first."""
    return nlargest(MOST_PUBLISHED, changes.items(), key=lambda change: abs(change[1]))

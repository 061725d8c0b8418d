"""The rates of upstreams' keys: how many requests and tokens a minute each may still be used for.

A request counts when it is sent, with its estimated tokens; once it is settled, the estimate is
corrected to what was used. Each process counts in memory and learns within a second what the others
counted (`count_exchange`), so a limit is kept by all processes together, give or take half a
second's traffic. What the upstream counts itself is decided by its 429.
"""

import math
import time
from collections.abc import Callable

from api.catalogue.snapshot import UpstreamEntry

SECONDS = 60.0
# Of keys; beyond it the oldest are forgotten.
MAX_KEYS = 10_000


class _Bucket:
    """A leaky bucket: use fills it, and a minute empties it of its size."""

    __slots__ = ("_at", "_level", "_waiting")

    def __init__(self, now: float) -> None:
        self._at, self._level, self._waiting = now, 0.0, 0.0

    def fill(self, amount: float) -> None:
        """Add what was used; `level` counts it, since only that knows the size."""
        self._waiting += amount

    def level(self, now: float, size: int) -> float:
        """Return how full the bucket is, of its `size`."""
        leaked = (now - self._at) * size / SECONDS
        self._level = max(0.0, max(0.0, self._level - leaked) + self._waiting)
        self._at, self._waiting = now, 0.0
        return self._level


class KeyRates:
    """One process's view of the keys' rates, by key id."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[int, tuple[_Bucket, _Bucket]] = {}
        self._changes: dict[int, tuple[int, int]] = {}

    def wait_seconds(self, upstream: UpstreamEntry) -> int:
        """Return in how many whole seconds the upstream's key can be used again: 0 for now.

        A request is let through while any token is left, so that one which needs more than a whole
        minute's is possible; what it used too much delays the next one.
        """
        buckets = self._buckets.get(upstream.key_id)
        if buckets is None:
            return 0
        now, wait = self._now(), 0.0
        limits = ((upstream.requests_per_minute, 1.0), (upstream.tokens_per_minute, 0.0))
        for bucket, (size, needed) in zip(buckets, limits, strict=True):
            if size:
                over = bucket.level(now, size) + needed - size
                if over > 0 or (over == 0 and not needed):
                    wait = max(wait, over * SECONDS / size, 0.001)
        return math.ceil(wait)

    def count(self, upstream: UpstreamEntry, requests: int, tokens: int) -> None:
        """Count what the upstream's key is used for; `tokens` below zero correct an estimate."""
        self.add(upstream.key_id, requests, tokens)
        before = self._changes.get(upstream.key_id, (0, 0))
        self._changes[upstream.key_id] = (before[0] + requests, before[1] + tokens)

    def add(self, key_id: int, requests: int, tokens: int) -> None:
        """Add what another process has used a key for."""
        buckets = self._buckets.get(key_id)
        if buckets is None:
            now = self._now()
            buckets = self._buckets[key_id] = _Bucket(now), _Bucket(now)
            if len(self._buckets) > MAX_KEYS:
                del self._buckets[next(iter(self._buckets))]
        buckets[0].fill(requests)
        buckets[1].fill(tokens)

    def take_changes(self) -> dict[int, tuple[int, int]]:
        """Return the requests and tokens that this process has counted since the last call."""
        changes, self._changes = self._changes, {}
        return changes

"""The limit of refused requests, per API key and per address.

A refused request counts against none of the ledger's limits but still costs time: a large body is
received and parsed before it is refused. Each process counts in memory, so that a check takes no
time, and learns within a second what the others count (`count_exchange`).
"""

import ipaddress
import math
import time
from typing import Literal

import structlog

from api import errors
from api.gateway.beside_loop import LARGE_BYTES

log = structlog.get_logger(__name__)

SECONDS = 60
# Of keys and addresses together; beyond it the oldest are forgotten.
MOST_COUNTED = 20_000

# ("key", its digest), or ("address", an IPv4 address or an IPv6 network).
BucketKind = Literal["key", "address"]
Bucket = tuple[BucketKind, str]


class TooManyRefusalsError(errors.RateLimitError):
    """The key, or the address, had too many requests refused."""

    default_message = (
        "Too many requests were rejected. Wait for the time in Retry-After, and fix the cause "
        "of the earlier errors."
    )


class RefusalLimit:
    """Leaky buckets: a refusal fills its key's and its address's, time and success empty them.

    `per_key` and `per_address` are both a bucket's size and what leaks from it in a minute.
    """

    def __init__(self, per_key: int, per_address: int) -> None:
        self._sizes: dict[BucketKind, int] = {"key": per_key, "address": per_address}
        # A bucket's level, and when it was last updated (time.monotonic() seconds). If there is no
        # entry, nothing was refused lately: there is nothing to check or to forgive.
        self.filled: dict[Bucket, tuple[float, float]] = {}
        self._changes: dict[Bucket, float] = {}

    def check(self, digest: str, address: str) -> None:
        """Raise TooManyRefusalsError where the key's bucket or the address's is full."""
        for bucket in _buckets(digest, address):
            size = self._sizes[bucket[0]]
            over = self._level(bucket) + 1 - size
            if over > 0:
                wait_seconds = math.ceil(over * SECONDS / size)
                raise TooManyRefusalsError(retry_after_seconds=wait_seconds)

    def count(self, error: errors.ApiError, digest: str, address: str, body_bytes: int) -> None:
        """Count a refused request; a large body counts once more for each 256 KiB.

        A request over the ledger's limits counts only by its body: its client is told to wait.
        """
        if error.status >= 500 or isinstance(error, TooManyRefusalsError):
            return
        weight = (error.status != 429) + body_bytes // LARGE_BYTES
        if not weight:
            return
        for bucket in _buckets(digest, address):
            level, size = self._level(bucket), self._sizes[bucket[0]]
            self._change(bucket, level, weight)
            if level + 1 <= size < level + 1 + weight:
                log.warning("refusals_limited", by=bucket[0], address=address, code=error.code)

    def forgive(self, digest: str, address: str) -> None:
        """Take one refusal back after a success, so that one bad request in two is no offence."""
        for bucket in _buckets(digest, address):
            if bucket in self.filled:
                level = self._level(bucket)
                self._change(bucket, level, -min(1.0, level))

    def take_changes(self) -> dict[Bucket, float]:
        """Return by how much this process has changed each bucket since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def add(self, bucket: Bucket, amount: float) -> None:
        """Apply another process's change of a bucket."""
        self._put(bucket, self._level(bucket) + amount)

    def _change(self, bucket: Bucket, level: float, amount: float) -> None:
        self._put(bucket, level + amount)
        self._changes[bucket] = self._changes.pop(bucket, 0.0) + amount
        if len(self._changes) > MOST_COUNTED:
            del self._changes[next(iter(self._changes))]

    def _level(self, bucket: Bucket) -> float:
        level, at = self.filled.get(bucket, (0.0, 0.0))
        return max(0.0, level - (time.monotonic() - at) * self._sizes[bucket[0]] / SECONDS)

    def _put(self, bucket: Bucket, level: float) -> None:
        self.filled.pop(bucket, None)
        if level > 0:
            self.filled[bucket] = level, time.monotonic()
            if len(self.filled) > MOST_COUNTED:
                del self.filled[next(iter(self.filled))]


def _buckets(digest: str, address: str) -> list[Bucket]:
    """Return the buckets of a request; without a well-formed key there is no key's."""
    keys: list[Bucket] = [("key", digest)] if digest else []
    return [*keys, ("address", _network(address))]


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 address, which is one customer's."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))

"""The models' health, from the results of requests: the source of `/health`.

Each process counts by itself and adds its counts to the tables every two seconds; what is shown is
the sum of all processes' last five minutes. Without the database, the last known sums are shown.
The counts by hour, with how long answers took, are kept for the status page.
"""

import time
from collections import defaultdict
from datetime import UTC, datetime

import psycopg
import structlog

from api.catalogue.snapshot import Snapshot
from api.gateway.shared_counts import SharedCounts

log = structlog.get_logger(__name__)

SHOWN_FOR_SECONDS = 1.0
# A model is degraded from one failure in ten on, and offline from nine in ten on; a single failed
# request says nothing.
DEGRADED_SHARE = 0.1
OFFLINE_SHARE = 0.9
LEAST_FAILURES = 3

_ADD = """
WITH forgotten AS (DELETE FROM api_modelhealth WHERE minute < now() - interval '1 hour'),
forgotten_hours AS (DELETE FROM api_modelhealthhour WHERE hour < now() - interval '31 days'),
seen AS (
    SELECT * FROM unnest(
        %s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::int[]
    ) AS seen (model, succeeded, failed, latency_ms, first_token_ms, first_tokens)
),
minutes AS (
    INSERT INTO api_modelhealth (model, minute, succeeded, failed)
    SELECT model, date_trunc('minute', now()), succeeded, failed FROM seen ORDER BY model
    ON CONFLICT (model, minute) DO UPDATE SET
        succeeded = api_modelhealth.succeeded + excluded.succeeded,
        failed = api_modelhealth.failed + excluded.failed
)
INSERT INTO api_modelhealthhour AS hours (
    model, hour, succeeded, failed, latency_ms_total, first_token_ms_total, first_token_count)
SELECT model, date_trunc('hour', now(), 'UTC'), succeeded, failed, latency_ms, first_token_ms,
       first_tokens
FROM seen ORDER BY model
ON CONFLICT (hour, model) DO UPDATE SET
    succeeded = hours.succeeded + excluded.succeeded,
    failed = hours.failed + excluded.failed,
    latency_ms_total = hours.latency_ms_total + excluded.latency_ms_total,
    first_token_ms_total = hours.first_token_ms_total + excluded.first_token_ms_total,
    first_token_count = hours.first_token_count + excluded.first_token_count
"""
_READ = """
SELECT model, sum(succeeded)::int, sum(failed)::int FROM api_modelhealth
WHERE minute > now() - interval '5 minutes' GROUP BY model
"""
_READ_VERSION = "SELECT version FROM billing_catalogueversion"


class Seen:
    """What one process saw of a model since it last told the table. Times are milliseconds."""

    __slots__ = ("failed", "first_token_count", "first_token_ms", "latency_ms", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.latency_ms = 0
        self.first_token_ms = 0
        self.first_token_count = 0

    def add(self, other: "Seen") -> None:
        """Add what was seen besides."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Health(SharedCounts):
    """One process's counts, and its copy of the sums of all processes."""

    flush_seconds = 2.0
    unavailable_event = "health_unavailable"

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self._unreported: defaultdict[str, Seen] = defaultdict(Seen)
        self._seen: dict[str, tuple[int, int]] = {}
        self._read_at = float("-inf")
        self.catalogue_version = 0  # as it was when the sums were read

    def succeeded(
        self, model: str, *, latency_ms: int = 0, first_token_ms: int | None = None
    ) -> None:
        """Count an answer, and how long it and its first token took."""
        seen = self._unreported[model]
        seen.succeeded += 1
        seen.latency_ms += latency_ms
        if first_token_ms is not None:
            seen.first_token_ms += first_token_ms
            seen.first_token_count += 1

    def failed(self, model: str) -> None:
        """Count a failure that is not the client's."""
        self._unreported[model].failed += 1

    async def refresh(self) -> None:
        """Read everybody's counts, if the last known are old; without the database they stay."""
        if time.monotonic() - self._read_at > SHOWN_FOR_SECONDS:
            self._read_at = time.monotonic()
            try:
                await self._read()
            except psycopg.Error as error:
                log.warning(self.unavailable_event, error=str(error))

    def states(self, snapshot: Snapshot) -> dict[str, str]:
        """Return `operational`, `degraded` or `offline` for each model by its public name."""
        now = datetime.now(UTC)
        return {
            model.name: state_of(*self._seen.get(model.name, (0, 0)))
            if model.in_service(now).routes
            else "offline"
            for model in snapshot.public_models()
        }

    async def flush(self) -> None:
        """Add the counts to the table; they are kept where that fails. Raise psycopg.Error."""
        if not self._unreported:
            return
        reported, self._unreported = self._unreported, defaultdict(Seen)
        models = sorted(reported)
        columns: list[list[str] | list[int]] = [models]
        columns += [
            [getattr(reported[model], name) for model in models]
            for name in ("succeeded", "failed", "latency_ms", "first_token_ms", "first_token_count")
        ]
        try:
            async with await self.connect() as connection:
                await connection.execute(_ADD, columns)
        except BaseException:
            for model, seen in reported.items():
                self._unreported[model].add(seen)
            raise

    async def _read(self) -> None:
        async with await self.connect() as connection:
            cursor = await connection.execute(_READ)
            self._seen = {model: (ok, bad) for model, ok, bad in await cursor.fetchall()}
            cursor = await connection.execute(_READ_VERSION)
            self.catalogue_version = (await cursor.fetchone() or (0,))[0]


def state_of(succeeded: int, failed: int) -> str:
    """Return `operational`, `degraded` or `offline` for counts of a few minutes or of an hour."""
    if failed < LEAST_FAILURES:
        return "operational"
    share = failed / (succeeded + failed)
    if share >= OFFLINE_SHARE:
        return "offline"
    return "degraded" if share >= DEGRADED_SHARE else "operational"

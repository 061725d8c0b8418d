"""How many tokens each model's upstreams count for one that we estimate.

Each process notes what upstreams report of prompts of text beside its own estimates, and every few
seconds adds it to a table that all share. The ratio of the sums calibrates later estimates. It is
advice: it changes limits by tokens and what is charged where no usage is reported, within bounds,
and never a hold.
"""

import asyncio
from collections import deque
from contextlib import suppress

import psycopg
import structlog

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 15.0
CONNECT_SECONDS = 2
# What is noted between two flushes, at most; what is beyond goes unnoticed.
MAX_SAMPLES = 10_000
# One request counts for no more than so many tokens, and for a ratio within these, so that no
# customer's odd prompts decide for the others.
MOST_TOKENS_OF_SAMPLE = 10_000
FURTHEST_SAMPLE = 4.0
# A ratio counts once this much was estimated, and within these bounds.
LEAST_TOKENS = 50_000
LOWEST, HIGHEST = 0.5, 2.0
# Beyond a sum of two million tokens the past fades.
_ADD = """
INSERT INTO api_tokenratio AS known (
    model, estimated_tokens, reported_tokens, updated_at)
SELECT model, estimated, reported, now()
FROM unnest(%s::text[], %s::float8[], %s::float8[]) AS seen (model, estimated, reported)
ORDER BY model
ON CONFLICT (model) DO UPDATE SET
    estimated_tokens = excluded.estimated_tokens + known.estimated_tokens
        * least(1, 2000000 / greatest(known.estimated_tokens, 1)),
    reported_tokens = excluded.reported_tokens + known.reported_tokens
        * least(1, 2000000 / greatest(known.estimated_tokens, 1)),
    updated_at = now()
"""
_READ = "SELECT model, estimated_tokens, reported_tokens FROM api_tokenratio"


# The model, the tokens of one prompt as they were estimated without a ratio, and as reported.
Sample = tuple[str, int, int]


class TokenRatios:
    """One process's samples, and the ratios that all processes share.

    `known` has the ratio of each model by its public name, once it counts. `samples` are noted by
    appending to them, which costs a request next to nothing.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self.known: dict[str, float] = {}
        self.samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start sharing."""
        self._task = asyncio.get_running_loop().create_task(self._share_regularly())

    async def close(self) -> None:
        """Stop, after one last attempt to share what was noted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.share()

    async def _share_regularly(self) -> None:
        while True:
            try:
                await self.share()
            except psycopg.Error as error:
                log.warning("token_ratios_unavailable", error=str(error))
            await asyncio.sleep(FLUSH_SECONDS)

    async def share(self) -> None:
        """Add this process's samples to the table, and read everybody's. Raise psycopg.Error."""
        samples, self.samples = self.samples, deque(maxlen=MAX_SAMPLES)
        sums = summed(samples)
        columns = [
            sorted(sums),
            [sums[model][0] for model in sorted(sums)],
            [sums[model][1] for model in sorted(sums)],
        ]
        connection = await psycopg.AsyncConnection.connect(
            self._database_url, autocommit=True, connect_timeout=CONNECT_SECONDS
        )
        async with connection:
            if sums:
                await connection.execute(_ADD, columns)
            cursor = await connection.execute(_READ)
            rows = await cursor.fetchall()
        self.known = {
            model: ratio_of(estimated, reported)
            for model, estimated, reported in rows
            if estimated >= LEAST_TOKENS
        }


def summed(samples: deque[Sample]) -> dict[str, tuple[float, float]]:
    """Return the estimated and the reported tokens of each model, bounded sample by sample."""
    sums: dict[str, tuple[float, float]] = {}
    for model, estimated, reported in samples:
        weight = min(1.0, MOST_TOKENS_OF_SAMPLE / max(estimated, 1))
        bounded = min(max(reported, estimated / FURTHEST_SAMPLE), estimated * FURTHEST_SAMPLE)
        known = sums.get(model, (0.0, 0.0))
        sums[model] = (known[0] + estimated * weight, known[1] + bounded * weight)
    return sums


def ratio_of(estimated: float, reported: float) -> float:
    """Return the ratio of two sums, within its bounds."""
    return min(max(reported / estimated, LOWEST), HIGHEST)

"""How many tokens each model's upstreams count for one that we estimate.

Each process records what upstreams report for text prompts together with its own estimates, and
every few seconds adds it to a table that all processes share. The ratio of the sums calibrates
later estimates. It is only an estimate: within bounds, it changes token limits and charges without
reported usage, but never a hold.
"""

from collections import deque

from api.gateway.shared_counts import SharedCounts

# The most samples kept between two flushes; the oldest beyond that are dropped.
MAX_SAMPLES = 10_000
# One request counts for at most this many tokens, and its ratio is bounded, so that no customer's
# odd prompts decide for the others.
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


class TokenRatios(SharedCounts):
    """One process's samples, and the ratios that all processes share.

    `known` has the ratio of each model by its public name, once it counts. `samples` are noted by
    appending to them, which costs a request next to nothing.
    """

    flush_seconds = 15.0
    unavailable_event = "token_ratios_unavailable"

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.known: dict[str, float] = {}
        self.samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    async def flush(self) -> None:
        """Add this process's samples to the table, and read the sums. Raise psycopg.Error."""
        samples, self.samples = self.samples, deque(maxlen=MAX_SAMPLES)
        sums = summed(samples)
        models = sorted(sums)
        columns = [
            models,
            [sums[model][0] for model in models],
            [sums[model][1] for model in models],
        ]
        async with await self.connect() as connection:
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

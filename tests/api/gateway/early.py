"""Prices with costs, and clients that disconnect, for tests of answers that end early."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from billing.pricing.rates import Costs, Prices
from tests.api.gateway.world import PATH, World
from tests.support.waiting import eventually_async

Json = dict[str, Any]

# The customer's prices, and half of them as the upstream's.
INPUT, OUTPUT = 700, 2_500
PRICES = Prices(
    version_id=5,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    input_nanos_per_million=INPUT * 1_000_000,
    cached_input_nanos_per_million=70_000_000,
    output_nanos_per_million=OUTPUT * 1_000_000,
    reasoning_nanos_per_million=OUTPUT * 1_000_000,
)
COSTS = Costs(
    version_id=9,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    input_nanos_per_million=INPUT * 500_000,
    cached_input_nanos_per_million=35_000_000,
    output_nanos_per_million=OUTPUT * 500_000,
    reasoning_nanos_per_million=OUTPUT * 500_000,
)
IMAGE_PRICES = Prices(
    version_id=5,
    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
    image_nanos=40_000_000,
)
IMAGE_COSTS = Costs(
    version_id=9, effective_from=datetime(2020, 1, 1, tzinfo=UTC), image_nanos=20_000_000
)


async def closed_early(world: World, content: Json, path: str = PATH) -> None:
    """Ask, and disconnect once a part of the answer has come."""
    task, reply = world.begin(content, path)
    await eventually_async(lambda: b"xxxx" in reply.body)
    task.cancel()
    await asyncio.wait([task])


async def cancelled(world: World, content: Json, path: str = PATH) -> None:
    """Ask, and disconnect once the upstream has the request."""
    calls = len(world.upstream.calls)
    task, _ = world.begin(content, path)
    await eventually_async(lambda: len(world.upstream.calls) > calls)
    task.cancel()
    await asyncio.wait([task])

"""Reads on after a client left, for upstreams that bill to the end whatever happens."""

import asyncio
from contextlib import suppress

from api.relay.chunks import ChunkReader
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError
from api.relay.upstream import Answer
from api.relay.usage import meter

MAX_SECONDS = 30
MAX_BYTES = 1024 * 1024


async def drain(exchange: Exchange, answer: Answer, reader: ChunkReader) -> None:
    """Reads an abandoned stream to its usage, within bounds, and settles the exchange.

    The usage that the upstream bills is charged; without one, the estimate of any other client who
    leaves.
    """
    left = MAX_BYTES
    try:
        with suppress(AttemptError, TimeoutError):
            async with asyncio.timeout(MAX_SECONDS):
                async for data in answer.chunks():
                    reader.feed(data)
                    left -= len(data)
                    if reader.is_done or reader.fault is not None or left < 0:
                        break
    finally:
        exchange.finish_reason = reader.finish_reason
        exchange.settle_abandoned(meter(reader.usage, reader.text_bytes, exchange.plan).usage)
        await answer.close()

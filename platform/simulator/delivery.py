"""Sending of answers: pacing, and the faults that need the connection."""

import asyncio
import itertools
from collections.abc import Iterator

from simulator.errors import SimulatedError
from simulator.events import Chunk, EventStream
from simulator.exchange import HttpExchange, encode_json
from simulator.script import Script, Stop

COMMENT_EVERY_S = 0.2

SSE = "text/event-stream; charset=utf-8"
SSE_HEADERS = (("cache-control", "no-cache"),)


class Pace:
    """A fixed schedule of writes, so that small delays do not add up."""

    def __init__(self, step_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._step_s = step_s
        self._due_at = self._clock()

    def wait_s(self) -> float:
        """Return how long to wait for the next write; one that is late restarts the schedule.

        Making up for lost time would send a burst that no script asked for.
        """
        now = self._clock()
        self._due_at = max(self._due_at + self._step_s, now)
        return self._due_at - now


async def stream(exchange: HttpExchange, answering: EventStream) -> None:
    """Stream an answer, with the delays and faults of its script."""
    script = answering.script
    keepalive = answering.keepalive
    if keepalive:
        # The headers must be out for anything to follow them.
        await exchange.start(200, SSE, SSE_HEADERS)
        await exchange.write(answering.lead_in())
    await wait(exchange, script.first_ms / 1000, keepalive)
    if not exchange.started:
        await exchange.start(200, SSE, SSE_HEADERS)
    stop = script.stop
    if stop is not None and stop.after > answering.answer.counts.completion:
        stop = None
    await exchange.write(answering.opening())
    await _write_texts(exchange, answering, stop, keepalive)
    if stop is not None:
        await _break_stream(exchange, answering, stop, keepalive)
        return
    await exchange.write(answering.closing())
    await exchange.finish()


async def plain(exchange: HttpExchange, body: object, script: Script, tokens: int) -> None:
    """Send a JSON answer in one piece, after the time its stream would have taken."""
    await whole(exchange, encode_json(body, script.spaces), "application/json", script, tokens)


async def whole(
    exchange: HttpExchange, data: bytes, content_type: str, script: Script, tokens: int
) -> None:
    """Send an answer's bytes in one piece, after the time its stream would have taken."""
    writes = -(-tokens // (script.chunk_tokens * script.chunks_per_write))
    await wait(exchange, (script.first_ms + script.pace_ms * max(writes - 1, 0)) / 1000, b"")
    stop = script.stop
    if stop is None or stop.after > tokens:
        await exchange.start(200, content_type, [("content-length", str(len(data)))])
        await exchange.write(data, tokens)
        await exchange.finish()
        return
    if stop.kind == "error":
        # Some providers do say 200 and then an error.
        await exchange.answer(200, exchange.error_body(_failure(script)), end="error")
        return
    # As much of the body as the tokens are of the answer, but never all of it.
    part = data[: min(len(data) * stop.after // max(tokens, 1), len(data) - 1)]
    length = () if stop.kind == "end" else (("content-length", str(len(data))),)
    await exchange.start(200, content_type, length)
    await exchange.write(part, stop.after)
    await _break(exchange, stop, b"")


async def wait(exchange: HttpExchange, seconds: float, keepalive: bytes) -> None:
    """Wait, sending the keep-alive meanwhile if there is one. Always lets others run.

    The client's leaving needs no look-out here: it cancels the task that waits.
    """
    if not keepalive:
        await asyncio.sleep(seconds)
        return
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while (left := until - clock()) > COMMENT_EVERY_S:
        await asyncio.sleep(COMMENT_EVERY_S)
        await exchange.write(keepalive)
    await asyncio.sleep(max(left, 0))


async def _write_texts(
    exchange: HttpExchange, answering: EventStream, stop: Stop | None, keepalive: bytes
) -> None:
    script = answering.script
    texts = answering.texts(stop.after if stop else None)
    pace = Pace(script.pace_ms / 1000)
    for place, (data, tokens) in enumerate(_batches(texts, script.chunks_per_write)):
        if place:
            await wait(exchange, pace.wait_s(), keepalive)
        await exchange.write(data, tokens)


def _batches(texts: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    if size == 1:
        yield from texts
        return
    while batch := list(itertools.islice(texts, size)):
        data = b"".join(chunk.data for chunk in batch)
        yield Chunk(data, sum(chunk.tokens for chunk in batch))


async def _break_stream(
    exchange: HttpExchange, answering: EventStream, stop: Stop, keepalive: bytes
) -> None:
    if stop.kind == "error":
        await exchange.write(answering.error(_failure(answering.script)))
    await _break(exchange, stop, keepalive)


async def _break(exchange: HttpExchange, stop: Stop, keepalive: bytes) -> None:
    match stop.kind:
        case "stall":
            await exchange.flush()
            while True:
                await wait(exchange, 3600, keepalive)
        case "cut":
            await exchange.cut()
        case "reset":
            await exchange.reset()
        case "error":
            await exchange.finish("error")
        case "end":
            await exchange.finish("ended")


def _failure(script: Script) -> SimulatedError:
    message = script.message or "The simulated model failed while it was answering."
    return SimulatedError(message, status=script.status or 500, code=script.code)

"""The scripted faults that come instead of an answer: errors, closed doors and broken bodies."""

import asyncio
import itertools
import zlib
from collections.abc import Iterator

from simulator.delivery import SSE, wait
from simulator.dialect import Frame
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.journal import journal
from simulator.script import Script

_BLOCK_BYTES = 64 * 2**10
_HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1><hr>sim</body></html>\n"
_GARBAGE = bytes((7 + 31 * place) % 256 for place in range(4096))


async def instead(exchange: HttpExchange, script: Script, *, stream: bool = False) -> bool:
    """Send another response in its place if the script says so; return whether it did.

    Raise SimulatedError for a scripted error, after `first_ms`, as a late 504 would come.
    """
    request = exchange.request
    keyed = request.authorized if exchange.dialect.takes_api_key_header else request.has_bearer
    if script.require_key and not keyed:
        raise SimulatedError("You did not provide an API key.", status=401)
    if error := scripted_error(script):
        await wait(exchange, script.first_ms / 1000, b"")
        raise error
    if script.drop:
        await wait(exchange, script.first_ms / 1000, b"")
        await exchange.drop()
        return True
    if script.body:
        await wait(exchange, script.first_ms / 1000, b"")
        await _broken_body(exchange, script, stream=stream)
        return True
    return False


def scripted_error(script: Script) -> SimulatedError | None:
    """Return the error this call is to get; count the call where only the first ones fail."""
    if not script.status and not script.fail_first:
        return None
    if script.fail_first and journal.count_failure(script.text, script.key) > script.fail_first:
        return None
    status = script.status or 500
    headers: list[tuple[str, str]] = []
    if script.retry_after is not None:
        headers.append(("retry-after", str(script.retry_after)))
    if status < 400:
        # Followed or not, the journal tells: a call for this path is the one that was.
        headers.append(("location", "/v1/redirected"))
    message = script.message or f"Simulated error {status}."
    return SimulatedError(message, status=status, code=script.code, headers=tuple(headers))


async def _broken_body(exchange: HttpExchange, script: Script, *, stream: bool) -> None:
    content_type = SSE if stream else "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    match script.body:
        case "html":
            content_type = "text/html; charset=utf-8"
        case "gzip_bomb":
            headers = (("content-encoding", "gzip"),)
    await exchange.start(200, content_type, headers)
    frame = exchange.dialect.stream if stream else exchange.dialect.plain
    for part in _parts(script, frame):
        await exchange.write(part)
        # A fast reader would otherwise keep the loop to itself for the whole of it.
        await asyncio.sleep(0)
    await exchange.finish("bad_body")


def _parts(script: Script, frame: Frame) -> Iterator[bytes]:
    match script.body:
        case "garbage":
            yield _GARBAGE
        case "html":
            yield _HTML
        case "invalid_json":
            yield frame.head
            # The text's quote is closed, and nothing else.
            yield b'"' + (b"\n\n" + frame.end if frame.end else b"")
        case "invalid_utf8":
            yield frame.head + b"\xff\xfe\xc3(" + frame.tail + frame.end
        case "huge_line":
            yield frame.head
            yield from _filling(script.bytes, b"a")
            yield frame.tail
        case "gzip_bomb":
            yield from _bomb(frame, script.bytes)


def _filling(size: int, letter: bytes) -> Iterator[bytes]:
    blocks, rest = divmod(size, _BLOCK_BYTES)
    yield from itertools.repeat(letter * _BLOCK_BYTES, blocks)
    yield letter * rest


def _bomb(frame: Frame, size: int) -> Iterator[bytes]:
    """Yield a gzip body about a thousandth of what it inflates to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    yield packer.compress(frame.head)
    for block in _filling(size, b"a"):
        yield packer.compress(block)
    yield packer.compress(frame.tail) + packer.flush()

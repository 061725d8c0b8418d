"""The scripted faults that come instead of an answer: errors, closed doors and broken bodies."""

import asyncio
import itertools
import zlib
from collections.abc import Iterator

from simulator.delivery import SSE, wait
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
    if script.require_key and not exchange.request.authorized:
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
    return SimulatedError(message, status=status, headers=tuple(headers))


async def _broken_body(exchange: HttpExchange, script: Script, *, stream: bool) -> None:
    content_type = SSE if stream else "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    match script.body:
        case "html":
            content_type = "text/html; charset=utf-8"
        case "gzip_bomb":
            headers = (("content-encoding", "gzip"),)
    await exchange.start(200, content_type, headers)
    for part in _parts(script, stream=stream):
        await exchange.write(part)
        # A fast reader would otherwise keep the loop to itself for the whole of it.
        await asyncio.sleep(0)
    await exchange.finish("bad_body")


def _parts(script: Script, *, stream: bool) -> Iterator[bytes]:
    prefix = b"data: " if stream else b""
    match script.body:
        case "garbage":
            yield _GARBAGE
        case "html":
            yield _HTML
        case "invalid_json":
            yield prefix + b'{"id":"chatcmpl-sim-broken","choices":[{"index":0,'
            yield b"\n\ndata: [DONE]\n\n" if stream else b""
        case "invalid_utf8":
            yield prefix + _around(stream)[0] + b"\xff\xfe\xc3(" + _around(stream)[1]
            yield b"\n\ndata: [DONE]\n\n" if stream else b""
        case "huge_line":
            yield prefix + _around(stream)[0]
            yield from _filling(script.bytes, b"a")
            yield _around(stream)[1] + b"\n\n"
        case "gzip_bomb":
            yield from _bomb(prefix, script.bytes, stream=stream)


def _around(stream: bool) -> tuple[bytes, bytes]:
    """Return a well-formed body cut open where its text goes."""
    holder = b"delta" if stream else b"message"
    head = b'{"id":"chatcmpl-sim-broken","choices":[{"index":0,"' + holder + b'":{"content":"'
    return head, b'"},"finish_reason":null}]}'


def _filling(size: int, letter: bytes) -> Iterator[bytes]:
    blocks, rest = divmod(size, _BLOCK_BYTES)
    yield from itertools.repeat(letter * _BLOCK_BYTES, blocks)
    yield letter * rest


def _bomb(prefix: bytes, size: int, *, stream: bool) -> Iterator[bytes]:
    """Yield a gzip body about a thousandth of what it inflates to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    head, tail = _around(stream)
    yield packer.compress(prefix + head)
    for block in _filling(size, b"a"):
        yield packer.compress(block)
    yield packer.compress(tail + b"\n\n") + packer.flush()

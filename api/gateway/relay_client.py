"""An HTTP/1.1 client made for a relay: one POST a connection at a time, on httptools' C parser.

It takes a third less CPU a request than httpx on aiohttp (`platform/docs/architecture.md`, *What a
request costs*), because it does nothing that a relay doesn't need: no redirects, no cookies, no
proxies, no unpacking, no pipelining. What it does need is here: kept connections, TLS with
verification, back-pressure from a slow reader, bounds on a head, and a typed error for every answer
that isn't HTTP (RFC 9112).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import cast

import httptools

from api.gateway.connector import Connector
from api.gateway.transport import (
    KEEPALIVE_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    BrokenResponseError,
    DisconnectedError,
    Dispatch,
    Origin,
    Target,
    TransportError,
)

# Reading stops while so much of a body waits for whoever reads it.
MAX_WAITING_BYTES = 256 * 1024
# A body up to this size leaves in one piece with its head.
SMALL_BYTES = 64 * 1024
# Neither ends a header nor begins another (RFC 9110, 5.5).
_UNSAFE = re.compile(r"[\r\n\0]")
# Without either, a body ends with its connection (RFC 9112, 6.3).
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))


def head_of(target: Target, headers: Mapping[str, str], body_bytes: int) -> bytes:
    """Return the head of a POST. Raise ValueError for a header that would end its line."""
    if _UNSAFE.search("".join(headers.values())):
        raise ValueError("a header contains a line break")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"POST {target.path} HTTP/1.1\r\nhost: {target.authority}\r\n"
        f"{lines}content-length: {body_bytes}\r\n\r\n"
    ).encode("latin-1")


class RelayResponse:
    """A response as its connection reads it. See `transport.Response`.

    `head` is done once the head has come; whoever cancels it abandons the response.
    """

    __slots__ = (
        "_connection",
        "_error",
        "_is_complete",
        "_parts",
        "_waiter",
        "_waiting_bytes",
        "at_end",
        "head",
        "headers",
        "status",
    )

    def __init__(self, connection: "_Connection") -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.at_end = False
        self.head: asyncio.Future[RelayResponse] = connection.loop.create_future()
        self.head.add_done_callback(self._abandon)
        self._connection = connection
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_complete = False
        self._error: TransportError | None = None

    async def read(self) -> bytes:
        """Return what has come of the body since the last call, and nothing at its end.

        Raise TransportError where the connection breaks before the end.
        """
        while not self._parts:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        parts, self._parts = self._parts, []
        self._waiting_bytes = 0
        self._connection.resume(self)
        self.at_end = self._is_complete
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        """Close the connection unless the body has come to its end."""
        self._abandon()

    def _abandon(self, _head: object = None) -> None:
        if not self._is_complete:
            self._connection.abandon(self)

    # What follows is called by the connection.

    def take_head(self, status: int) -> None:
        """Take the status; the headers have been taken."""
        self.status = status
        self.head.remove_done_callback(self._abandon)
        if not self.head.done():
            self.head.set_result(self)

    def take(self, data: bytes) -> bool:
        """Take a part of the body. Return whether so much waits that reading should stop."""
        self._parts.append(data)
        self._waiting_bytes += len(data)
        self._wake()
        return self._waiting_bytes > MAX_WAITING_BYTES

    def complete(self) -> None:
        """Note that the body has ended."""
        self._is_complete = True
        self.at_end = not self._parts
        self._wake()

    def fail(self, error: TransportError) -> None:
        """Note that no more will come."""
        self._error = error
        if not self.head.done():
            self.head.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Connection(asyncio.Protocol):
    """A connection to an upstream, which has one request at a time, or none while it is kept."""

    def __init__(self, pool: "RelayClient", origin: Origin) -> None:
        self.loop = asyncio.get_running_loop()
        self.origin = origin
        self._transport: asyncio.Transport  # from `connection_made` on
        self.idle_since = 0.0
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        # What other clients accept, too: a bare line feed, and spaces behind a chunk's size.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._response: RelayResponse | None = None
        self._head_bytes = 0
        self._is_interim = False
        self._is_framed = False
        self._may_be_kept = False
        self._is_paused = False

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return not self._transport.is_closing()

    def send(self, head: bytes, body: bytes) -> RelayResponse:
        """Send a request and return its response, of which nothing has come yet."""
        self._response = response = RelayResponse(self)
        self._head_bytes = 0
        self._is_interim = self._is_framed = self._may_be_kept = False
        if len(body) <= SMALL_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return response

    def resume(self, response: RelayResponse) -> None:
        """Read on, now that a response's reader has taken what waited."""
        if self._is_paused and self._response is response:
            self._resume_reading()

    def abandon(self, response: RelayResponse) -> None:
        """Close the connection, as nobody reads the response to its end."""
        if self._response is response:
            self._response = None
            self.close()

    def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        response = self._response
        if response is None:
            self.close()  # nobody asked for it, so it could be taken for the next answer
            return
        if not response.head.done():
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if not response.head.done() and self._head_bytes > MAX_HEAD_BYTES:
                raise BrokenResponseError("the head is too large")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, TransportError) as error:
            self._fail(BrokenResponseError(f"broken HTTP: {error.__context__ or error}"[:300]))
            return
        if self._response is None:
            # An upstream that answers before it has the whole request won't read the rest.
            is_sent = not self._transport.get_write_buffer_size()
            if self._may_be_kept and is_sent and self.is_open:
                self._pool.keep(self)
            else:
                self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """End the response: well if the end of the connection is its end, else with an error."""
        response, self._response = self._response, None
        self._pool.forget(self)
        if response is None:
            return
        if response.head.done() and not self._is_framed and error is None:
            response.complete()
        else:
            response.fail(DisconnectedError(str(error or "the connection was closed")[:300]))

    def _fail(self, error: TransportError) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.fail(error)
        self.close()

    # What httptools calls

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._response is None or self._response.head.done():
            self._may_be_kept = False
            raise BrokenResponseError("more than one answer came")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is dropped, as is what belongs to an interim response."""
        response = self._response
        if response is None or response.head.done():
            return
        name = name.lower()
        response.headers.append((name, value))
        if name in _FRAMING:
            self._is_framed = True
        if len(response.headers) > MAX_HEADERS:
            raise BrokenResponseError("the head has too many headers")

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim response's (1xx)."""
        response, parser = self._response, self._parser
        assert response is not None  # noqa: S101 - a message has begun
        status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._is_interim = True
            return
        self._may_be_kept = parser.should_keep_alive()
        response.take_head(status)

    def on_body(self, data: bytes) -> None:
        """Pass a part of the body on, and stop reading while too much of it waits."""
        response = self._response
        if response is not None and response.take(data) and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End the response; `data_received` then keeps the connection or closes it."""
        response = self._response
        if response is None:
            return
        if self._is_interim:
            self._is_interim = self._is_framed = False
            response.headers.clear()
            return
        self._response = None
        response.complete()
        if self._is_paused:
            self._resume_reading()

    def _resume_reading(self) -> None:
        self._is_paused = False
        if self.is_open:
            self._transport.resume_reading()


class RelayClient:
    """This process's connections to all upstreams. Make it inside the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = Connector()
        self._idle: dict[Origin, list[_Connection]] = {}
        self._open: set[_Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def post(
        self,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        *,
        connect_seconds: float,
        dispatch: Dispatch | None,
    ) -> Awaitable[RelayResponse]:
        """Return what waits for the head of the response. See `transport.Transport`."""
        head = head_of(target, headers, len(body))
        connection = self._kept(target.origin)
        if connection is None:
            return self._post_anew(target.origin, head, body, connect_seconds, dispatch)
        if dispatch is not None:
            dispatch.was_dispatched = True
        return connection.send(head, body).head

    async def _post_anew(
        self,
        origin: Origin,
        head: bytes,
        body: bytes,
        connect_seconds: float,
        dispatch: Dispatch | None,
    ) -> RelayResponse:
        make = partial(_Connection, self, origin)
        connection = await self._connector.connect(origin, make, connect_seconds)
        self._open.add(connection)
        if dispatch is not None:
            dispatch.was_dispatched = True
        return await connection.send(head, body).head

    def close_idle(self, target: Target) -> None:
        """Close a host's idle connections."""
        for origin in [origin for origin in self._idle if origin.host == target.origin.host]:
            for connection in self._idle.pop(origin):
                connection.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._connector.close()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)  # in which the transports are closed

    def keep(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read for the next request."""
        connection.idle_since = time.monotonic()
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(KEEPALIVE_SECONDS, self._sweep)

    def forget(self, connection: _Connection) -> None:
        """Forget a connection that has ended."""
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)

    def _kept(self, origin: Origin) -> _Connection | None:
        """Return the connection that was used last, so that those that aren't needed grow old."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < KEEPALIVE_SECONDS:
                return connection
            connection.close()
        return None

    def _sweep(self) -> None:
        """Close the connections that nobody has needed."""
        now = time.monotonic()
        for origin, idle in list(self._idle.items()):
            for connection in [each for each in idle if now - each.idle_since > KEEPALIVE_SECONDS]:
                idle.remove(connection)
                connection.close()
            if not idle:
                del self._idle[origin]
        self._sweeper = None
        if self._idle:
            self._sweeper = self._loop.call_later(KEEPALIVE_SECONDS, self._sweep)

"""The only way to an upstream: httpx on aiohttp's transport, called without a client.

`httpx.AsyncClient` and a full `httpx.Request` cost more than all the rest (21 µs a request with
headers in a dict, 1 µs as here), so addresses and headers are prepared once for each upstream. No
proxy, no redirects, no cookies; addresses come from the catalogue only. The transport reports
refused connections, unresolved names and a full pool as ConnectTimeout; see its cause.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import aiohttp
import httpx
import structlog
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport
from msgspec import structs
from multidict import CIMultiDict

from accounts.encryption import DecryptionError
from api.catalogue.snapshot import RouteEntry, UpstreamEntry
from api.dialects.base import Dialect
from api.gateway.concurrency_limit import ConcurrencyLimits, RunningCall
from api.gateway.upstream_errors import AttemptError, error_of_status
from api.upstream_hosts import GuardedResolver, problem_with
from api.upstream_keys import read_key

log = structlog.get_logger(__name__)

# More of an error's body than this is not read.
MAX_ERROR_BYTES = 64 * 1024
KEEPALIVE_SECONDS = 30
# A connection is kept if its message ends within this time of the last event.
EOF_SECONDS = 0.25
# Of an answer that is unpacked, at a time.
UNPACKED_BYTES = 64 * 1024
# Security policies and cookies of CDNs exceed aiohttp's 8 kB and 128 headers.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 1_000
# The columns of a route that decide about a field that we add ourselves.
_SWITCHES: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens_field": "max_completion_tokens"},
    "stream_options": {"takes_stream_options": False},
}
MAX_LEARNT_ROUTES = 1_000
_ANY_ZLIB_HEADER = 32 + zlib.MAX_WBITS
# The transport lets through what aiohttp raises for broken HTTP.
_BROKEN = (httpx.TransportError, aiohttp.ClientError, aiohttp.http.HttpProcessingError)
_DISCONNECTED = aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError


class Dispatch(Protocol):
    """A request that is told whether it is being sent, so that the upstream may bill it."""

    was_dispatched: bool


_dispatch: ContextVar[Dispatch | None] = ContextVar("dispatch", default=None)


class _Connector(aiohttp.TCPConnector):
    """Tells a request that there is a connection, so that it is being sent."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection of the pool, or a new one."""
        dispatch = _dispatch.get()
        # A new connection copies the context, and would keep the request as long as it is open.
        _dispatch.set(None)
        connection = await super().connect(*args, **kwargs)
        if dispatch is not None:
            dispatch.was_dispatched = True
        return connection

    def close_idle(self, url: str) -> None:
        """Close a host's idle connections: one that has closed one may be closing all."""
        host = httpx.URL(url).host
        for key in [key for key in self._conns if key.host == host]:
            for protocol, _since in self._conns.pop(key):
                protocol.close()


class _ReportingHandler(ResponseHandler):
    """Reports broken framing to a body's reader; aiohttp (3.14) does to the head's only."""

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """End the message that is being read with an error."""
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError(f"broken HTTP: {exc}"))


class _Target:
    """An upstream's prepared address and headers, of one address and key of its row."""

    __slots__ = ("headers", "made_for", "url")

    def __init__(self, upstream: UpstreamEntry, dialect: Dialect) -> None:
        """Raise AttemptError where the address is not allowed, or the key can't be decrypted."""
        problem = problem_with(upstream.base_url)
        if problem:
            raise AttemptError("misconfigured", problem)
        self.made_for = _place_of(upstream)
        self.url = str(httpx.URL(upstream.base_url + dialect.path))
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            # A compressed answer can unpack to any size, and can't be passed on as is.
            "accept-encoding": "identity",
            "user-agent": "tollgate",
        }
        try:
            key = read_key(*self.made_for)
        except DecryptionError as error:
            raise AttemptError("misconfigured", f"its key can't be decrypted: {error}") from None
        self.headers = CIMultiDict({**headers, **dialect.upstream_headers(key)})


def _place_of(upstream: UpstreamEntry) -> tuple[str, str, str]:
    """Return where calls go and with which key: the arguments of `read_key`."""
    return upstream.base_url, upstream.encrypted_key, upstream.api_key_env


class _Post(httpx.Request):
    """A POST with what the transport reads of a request, and nothing else.

    The address is a text, as aiohttp gets it, and the headers are a mapping of aiohttp's own kind,
    which it copies in C; httpx's it would read item by item.
    """

    def __init__(
        self, url: str, headers: CIMultiDict[str], body: bytes, connect_seconds: float
    ) -> None:
        self.method = "POST"
        self.url = url  # type: ignore[assignment]
        self.headers = headers  # type: ignore[assignment]
        self.extensions = {"timeout": {"connect": connect_seconds}}
        self._content = body


class UpstreamResponse:
    """An upstream's answer whose body is still to be read. Close it, whatever happens.

    `request_id` is the upstream's own id of the call, or empty; `is_encoded`: it may be compressed.
    """

    __slots__ = ("_call", "_response", "_unpacker", "headers", "is_encoded", "request_id", "status")

    def __init__(self, response: httpx.Response, call: RunningCall) -> None:
        self.status = response.status_code
        self.headers = response.headers
        # One pass: each look-up in httpx's headers goes through all of them.
        raw = {name.lower(): value for name, value in response.headers.raw}
        self.is_encoded = b"content-encoding" in raw
        own_id = raw.get(b"x-request-id") or raw.get(b"request-id", b"")
        self.request_id = own_id.decode("latin-1")
        self._response = response
        self._call: RunningCall | None = call
        self._unpacker: zlib._Decompress | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raise AttemptError where the connection breaks."""
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101
        unpacker = self._unpacker
        try:
            async for chunk in stream:
                if unpacker is None:
                    yield chunk
                else:
                    for part in _unpacked(unpacker, chunk):
                        yield part
        except zlib.error as error:
            raise AttemptError("bad_answer", f"the answer can't be unpacked: {error}") from None
        except _BROKEN as error:
            raise AttemptError("disconnected", f"the answer broke off: {_cause(error)}") from None

    def decode_content(self) -> None:
        """Prepare to unpack a body that is compressed in spite of our `identity`.

        Raise AttemptError for an encoding that we can't read.
        """
        for encoding in self.headers.get("content-encoding", "").lower().split(","):
            match encoding.strip():
                case "" | "identity":
                    pass
                case "gzip" | "x-gzip" | "deflate" if self._unpacker is None:
                    self._unpacker = zlib.decompressobj(_ANY_ZLIB_HEADER)
                case unknown:
                    raise AttemptError("bad_answer", f"the answer is encoded as {unknown[:40]}")

    async def read_to_end(self) -> None:
        """Read on to the end of the message, so that its connection can be kept, and close."""
        with suppress(AttemptError, TimeoutError):
            async with asyncio.timeout(EOF_SECONDS):
                async for _ in self.chunks():
                    pass
        await self.close()

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raise AttemptError for one that breaks off or is too large."""
        parts = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_bytes:
                raise AttemptError("bad_answer", f"the answer has more than {max_bytes} bytes")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_answer(
        self, max_bytes: int, kind: Hashable, *, prompt_tokens: int, images: int
    ) -> bytes:
        """Return the whole body of a success, and end the call. Raise AttemptError as `read` does.

        The limiter learns how long it took, and compares it with other answers of its `kind` by
        the work that they were: the `images`, or else the prompt and the answer.
        """
        try:
            body = await self.read(max_bytes)
        except BaseException:
            await self.close()
            raise
        call, self._call = self._call, None
        if call is not None:
            call.finish(kind, prompt_tokens, len(body) // 4, images)
        await self._response.aclose()
        return body

    def note_first_token(self, kind: Hashable, prompt_tokens: int) -> None:
        """Tell the limiter that the first token of an answer of this `kind` has come."""
        if self._call is not None:
            self._call.note_first_token(kind, prompt_tokens)

    async def close(self) -> None:
        """End the call: the connection is kept if the body was read to its end, else closed."""
        call, self._call = self._call, None
        if call is None:
            return
        call.end()
        await self._response.aclose()


class Upstreams:
    """This process's connections to all upstreams. Make it inside the running event loop."""

    def __init__(self) -> None:
        # `limits` bound each upstream's calls; a bound of the pool would make them wait unseen.
        self._connector = _Connector(
            limit=0,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=60,
            resolver=GuardedResolver(),
        )
        handler: Any = partial(_ReportingHandler, loop=asyncio.get_running_loop())
        self._connector._factory = handler
        session = aiohttp.ClientSession(
            connector=self._connector,
            # One customer's cookies must never reach another's call.
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._transport = AiohttpTransport(trust_env=False, client=session)
        self._targets: dict[tuple[int, str, str], _Target] = {}
        self._learnt: dict[RouteEntry, RouteEntry] = {}
        self.limits = ConcurrencyLimits()

    def switched(self, route: RouteEntry) -> RouteEntry:
        """Return a route with what its upstream has taught us about the fields that it takes."""
        return self._learnt.get(route, route) if self._learnt else route

    def learn(self, route: RouteEntry, error: AttemptError) -> RouteEntry | None:
        """Return the route switched as an upstream's refusal asks for, or None.

        Only of a field that is ours to choose, and once for each; staff should set it in the row.
        """
        switch = _SWITCHES.get(error.param or "") if error.kind == "rejected" else None
        known = self.switched(route)
        if switch is None or all(getattr(known, name) == value for name, value in switch.items()):
            return None
        if len(self._learnt) >= MAX_LEARNT_ROUTES:
            self._learnt.clear()
        learnt = self._learnt[route] = structs.replace(known, **switch)
        log.warning(
            "route_needs_switch",
            upstream=route.upstream.name,
            upstream_model=route.upstream_model,
            switch=switch,
        )
        return learnt

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def post(
        self,
        upstream: UpstreamEntry,
        dialect: Dialect,
        body: bytes,
        *,
        request_id: str,
        team_id: int,
        forwarded: Mapping[str, str],
        dispatch: Dispatch | None = None,
    ) -> UpstreamResponse:
        """Return the response to a POST of JSON once its headers have come and it is a success.

        The call takes one of the upstream's places for the team. `forwarded` are the client's
        headers for the upstream. `dispatch` is told once there is a connection for the request.
        Raise AttemptError for everything else: nothing is left open then.
        """
        call = self.limits.enter(upstream, team_id)
        _dispatch.set(dispatch)
        try:
            response = await self._send(upstream, dialect, body, request_id, forwarded)
        except BaseException as error:
            call.end()
            if isinstance(error, _BROKEN):
                failure = _error_of(error)
                if failure.kind == "disconnected":
                    self._connector.close_idle(upstream.base_url)
                raise failure from None
            raise
        answer = UpstreamResponse(response, call)
        if answer.status != 200 or answer.is_encoded:
            await _raise_refusal(answer, dialect)
        return answer

    async def _send(
        self,
        upstream: UpstreamEntry,
        dialect: Dialect,
        body: bytes,
        request_id: str,
        forwarded: Mapping[str, str],
    ) -> httpx.Response:
        """Return the response once its head has come. Raise httpx.TransportError."""
        target = self._target(upstream, dialect)
        headers = target.headers.copy()
        headers["x-request-id"] = request_id
        if forwarded:
            headers.update(forwarded)
        request = _Post(target.url, headers, body, upstream.connect_timeout_seconds)
        return await self._transport.handle_async_request(request)

    def _target(self, upstream: UpstreamEntry, dialect: Dialect) -> _Target:
        key = (upstream.id, dialect.path, dialect.name)
        target = self._targets.get(key)
        if target is None or target.made_for != _place_of(upstream):
            target = self._targets[key] = _Target(upstream, dialect)
        return target


async def _raise_refusal(answer: UpstreamResponse, dialect: Dialect) -> None:
    """Raise the AttemptError that an answer other than a success is; it is closed then."""
    try:
        answer.decode_content()
        if 200 <= answer.status < 300:
            return
        body = await answer.read(MAX_ERROR_BYTES) if answer.status >= 400 else b""
        raise error_of_status(answer.status, answer.headers, body, dialect.read_error)
    except AttemptError:
        await answer.close()
        raise


def _error_of(error: Exception) -> AttemptError:
    """Return what a failed exchange of request and head was."""
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return AttemptError("connect", f"no connection: {_cause(error)}")
    if isinstance(cause, _DISCONNECTED):
        return AttemptError("disconnected", f"no answer: {_cause(error)}")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return AttemptError("connect", f"no connection: {_cause(error)}")
    return AttemptError("bad_answer", f"no answer: {_cause(error)}")


def _unpacked(unpacker: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """Yield what a chunk unpacks to, in pieces, so that whoever reads them can stop in time."""
    while chunk:
        part = unpacker.decompress(chunk, UNPACKED_BYTES)
        if part:
            yield part
        chunk = unpacker.unconsumed_tail


def _cause(error: Exception) -> str:
    """Return an error in a few words; addresses in it are the operator's, never the client's."""
    return f"{type(error.__cause__ or error).__name__} {error}"[:300]

"""httpx on aiohttp's transport, called without a client: the fallback (UPSTREAM_CLIENT=httpx).

`httpx.AsyncClient` and a full `httpx.Request` cost more than all the rest (21 µs a request with
headers in a dict, 1 µs as here). No proxy, no redirects, no cookies. The transport reports refused
connections, names that don't resolve and a full pool as ConnectTimeout; the cause tells.
"""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport
from multidict import CIMultiDict

from api.gateway.transport import (
    KEEPALIVE_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    BrokenResponseError,
    ConnectError,
    DisconnectedError,
    Dispatch,
    RawHeaders,
    Target,
    TransportError,
)
from api.upstream_hosts import GuardedResolver

# The transport lets through what aiohttp raises for broken HTTP.
_BROKEN = (httpx.TransportError, aiohttp.ClientError, aiohttp.http.HttpProcessingError)
_DISCONNECTED = aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError

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

    def close_idle(self, host: str) -> None:
        """Close a host's idle connections."""
        for key in [key for key in self._conns if key.host == host]:
            for protocol, _since in self._conns.pop(key):
                protocol.close()


class _ReportingHandler(ResponseHandler):
    """Tells a body's reader that its framing broke; aiohttp (3.14) tells only the head's."""

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """End the message that is being read with an error."""
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError(f"broken HTTP: {exc}"))


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


class HttpxResponse:
    """A response whose head has come. See `transport.Response`."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: RawHeaders = [(name.lower(), value) for name, value in response.headers.raw]
        self.at_end = False
        self._response = response
        self._parts: AsyncIterator[bytes] | None = None

    async def read(self) -> bytes:
        """Return the next part of the body, and nothing at its end. Raise TransportError."""
        if self._parts is None:
            assert isinstance(self._response.stream, httpx.AsyncByteStream)  # noqa: S101
            self._parts = aiter(self._response.stream)
        try:
            part = await anext(self._parts, b"")
        except _BROKEN as error:
            raise DisconnectedError(_cause(error)) from None
        if not part and not self.at_end:
            self.at_end = True
            await self.close()
        return part

    async def close(self) -> None:
        """Let the connection be kept if the body was read to its end, else close it."""
        await self._response.aclose()


class HttpxClient:
    """This process's connections to all upstreams. Make it inside the running event loop."""

    def __init__(self) -> None:
        # Each upstream's limit bounds its calls; a bound of the pool would make them wait unseen.
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
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._transport = AiohttpTransport(trust_env=False, client=session)

    async def post(
        self,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        *,
        connect_seconds: float,
        dispatch: Dispatch | None,
    ) -> HttpxResponse:
        """Return the response to a POST once its head has come. See `transport.Transport`."""
        _dispatch.set(dispatch)
        request = _Post(target.url, CIMultiDict(headers), body, connect_seconds)
        try:
            return HttpxResponse(await self._transport.handle_async_request(request))
        except _BROKEN as error:
            raise _error_of(error) from None

    def close_idle(self, target: Target) -> None:
        """Close a host's idle connections."""
        self._connector.close_idle(target.origin.host)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def _error_of(error: Exception) -> TransportError:
    """Return what a failed exchange of request and head was."""
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ConnectError(_cause(error))
    if isinstance(cause, _DISCONNECTED):
        return DisconnectedError(_cause(error))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return ConnectError(_cause(error))
    return BrokenResponseError(_cause(error))


def _cause(error: Exception) -> str:
    """Return an error in a few words; addresses in it are the operator's, never the client's."""
    return f"{type(error.__cause__ or error).__name__} {error}"[:300]

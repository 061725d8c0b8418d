"""Connections to upstreams: aiohttp's, which say what aiohttp keeps to itself."""

from contextvars import ContextVar
from typing import Any, Protocol

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler


class Dispatch(Protocol):
    """A request that is told whether it is being sent, so that the upstream may bill it."""

    was_dispatched: bool


current_dispatch: ContextVar[Dispatch | None] = ContextVar("dispatch")


class Connector(aiohttp.TCPConnector):
    """Tells a request that there is a connection, so that it is being sent."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection of the pool, or a new one."""
        connection = await super().connect(*args, **kwargs)
        if (dispatch := current_dispatch.get(None)) is not None:
            dispatch.was_dispatched = True
        return connection

    def close_idle(self, url: str) -> None:
        """Close a host's connections that wait for use. Where the host has just closed one, it may
        be closing all that grew old with it, and the next attempt needs one that works.
        """
        host = httpx.URL(url).host
        for key in [key for key in self._conns if key.host == host]:
            for protocol, _since in self._conns.pop(key):
                protocol.close()


class ReportingHandler(ResponseHandler):
    """Tells whoever reads a body that its framing broke.

    aiohttp (3.14) tells only whoever waits for a head, and a reader of the body would wait until
    its time is up.
    """

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """End the message that is being read with an error."""
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError(f"broken HTTP: {exc}"))

"""What `gateway/upstream.py` needs of an HTTP client, whichever it is."""

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

# A connection without a request is closed after so long.
KEEPALIVE_SECONDS = 30
# Security policies and cookies of CDNs exceed the 8 kB and 128 headers that clients usually allow.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 1_000

RawHeaders = Sequence[tuple[bytes, bytes]]


class TransportError(Exception):
    """A failed exchange with an upstream."""


class ConnectError(TransportError):
    """No connection came about, so the upstream knows of no request."""


class DisconnectedError(TransportError):
    """The connection ended before the answer did."""


class BrokenResponseError(TransportError):
    """What came is not HTTP, or exceeds the bounds of a head."""


class Dispatch(Protocol):
    """A request that is told whether it is being sent, so that the upstream may bill it."""

    was_dispatched: bool


class Origin(NamedTuple):
    """What a connection leads to. Requests of one origin share connections (RFC 9110, 4.3.1)."""

    is_tls: bool
    host: str
    port: int


class Target:
    """An upstream's address, prepared once: where to connect, and what to ask there for."""

    __slots__ = ("authority", "origin", "path", "url")

    def __init__(self, url: str) -> None:
        """Raise ValueError for a URL that is none of http or https."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{parts.scheme}: is not http or https")
        self.url = url
        is_tls = parts.scheme == "https"
        self.origin = Origin(is_tls, parts.hostname, parts.port or (443 if is_tls else 80))
        self.authority = parts.netloc
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class Response(Protocol):
    """A response whose head has come. Close it, whatever happens, unless its body is `at_end`."""

    at_end: bool

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> RawHeaders: ...

    async def read(self) -> bytes:
        """Return the next part of the body, and nothing at its end. Raise TransportError."""

    async def close(self) -> None:
        """Let the connection be kept if the body was read to its end, else close it."""


class Transport(Protocol):
    """This process's connections to all upstreams."""

    def post(
        self,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        *,
        connect_seconds: float,
        dispatch: Dispatch | None,
    ) -> Awaitable[Response]:
        """Return what waits for the response to a POST until its head has come.

        To cancel it is to abandon the request. It raises TransportError. `dispatch` is told once
        there is a connection for the request.
        """

    def close_idle(self, target: Target) -> None:
        """Close a host's idle connections: one that has closed one may be closing all."""

    async def close(self) -> None:
        """Close all connections."""

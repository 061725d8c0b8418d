"""The HTTP client of customers' webhooks: public addresses only, one POST, a bounded answer.

Anyone may enter a URL, so nothing of the operator's network may be reached by it (OWASP API7:2023):
the hosts that UPSTREAM_HOSTS lists are the operator's, not the customers'. The URL is checked when
it is entered, and the addresses that its name has when a message is sent; the connection goes to
the address that was checked. Redirects are not followed.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings
from django.utils.translation import gettext_noop

from accounts.masking import mask_secrets
from accounts.models import WebhookDelivery
from api.upstream_hosts import (
    GuardedBackend,
    NoPublicAddressError,
    guarded_transport,
    may_be_public,
)

CONNECT_SECONDS = 5.0
# From the connection to the last byte read: an answer that trickles doesn't hold a thread longer.
TOTAL_SECONDS = 15.0
READ_BYTES = 2_000
EXCERPT_CHARACTERS = 500
LONGEST_URL = 500
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

NOT_A_URL = gettext_noop("Enter a URL that begins with https://, without user name or fragment.")
NOT_PUBLIC = gettext_noop("Enter a URL of a host on the public internet.")

Problem = WebhookDelivery.Problem


class Answer(NamedTuple):
    """The answer to an attempt: its status and how it begins, or why there is none."""

    status: int | None
    excerpt: str
    problem: str
    duration_ms: int

    @property
    def is_success(self) -> bool:
        """Whether the endpoint took the message."""
        return self.status is not None and 200 <= self.status < 300


def problem_with(url: str) -> str:
    """Return why a URL can't be an endpoint's (in English), or an empty text.

    Names are not resolved.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError
    except ValueError:
        return NOT_A_URL
    host = parts.hostname or ""
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    if not (is_plain and host) or parts.username is not None or "#" in url:
        return NOT_A_URL
    if parts.scheme == "http" and _is_allowed_loopback(host):
        return ""
    if parts.scheme != "https":
        return NOT_A_URL
    return "" if may_be_public(host) or _is_allowed_loopback(host) else NOT_PUBLIC


class WebhookClient:
    """Posts messages to endpoints, from any number of threads. Use it as a context manager."""

    def __init__(self) -> None:
        # Without connections that are kept: each has a deadline of its own.
        transport = guarded_transport(_DeadlineBackend(_is_allowed_loopback), max_keepalive=0)
        self._client = httpx.Client(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Post JSON to a URL and return the answer, or why there is none. Never raise."""
        began_at = time.monotonic()

        def ended(status: int | None = None, excerpt: str = "", problem: str = "") -> Answer:
            return Answer(status, excerpt, problem, int((time.monotonic() - began_at) * 1000))

        if problem_with(url):
            return ended(problem=Problem.ADDRESS)
        fixed = {
            "content-type": "application/json",
            "user-agent": "tollgate-webhooks",
            "accept-encoding": "identity",
        }
        try:
            with self._client.stream("POST", url, content=body, headers=fixed | headers) as answer:
                status = answer.status_code
                try:
                    excerpt = _excerpt(answer.iter_raw())
                except httpx.HTTPError:
                    excerpt = ""  # the status is the answer
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return ended(problem=_problem_of(error))
        return ended(status, excerpt)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection that ends at a deadline, however often something is read or written."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read from the connection. Raise httpcore.ReadTimeout at the deadline."""
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write to the connection. Raise httpcore.WriteTimeout at the deadline."""
        self._stream.write(buffer, self._left(httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the connection under TLS, with the same deadline."""
        left = min(CONNECT_SECONDS, self._left(httpcore.ConnectTimeout))
        return _DeadlineStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._ends_at
        )

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows."""
        return self._stream.get_extra_info(info)

    def _left(self, error: type[Exception]) -> float:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise error("the deadline has passed")
        return left


class _DeadlineBackend(GuardedBackend):
    """Connects to checked addresses, and gives each connection its deadline."""

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Return a connection to one of the host's public addresses."""
        ends_at = time.monotonic() + TOTAL_SECONDS
        return _DeadlineStream(super().connect_tcp(*args, **kwargs), ends_at)


def _is_allowed_loopback(host: str) -> bool:
    return settings.WEBHOOKS_ALLOW_LOOPBACK and host.lower().strip("[]") in _LOOPBACK


def _excerpt(parts: Iterable[bytes]) -> str:
    """Return the beginning of an answer's body, in characters that the database takes."""
    body = b""
    for part in parts:
        body += part
        if len(body) >= READ_BYTES:
            break
    text = body[:READ_BYTES].decode("utf-8", "replace")
    printable = "".join(each if each.isprintable() or each in "\n\t" else "�" for each in text)
    return mask_secrets(printable)[:EXCERPT_CHARACTERS]


def _problem_of(error: BaseException) -> str:
    """Return why there was no answer. httpx's errors name httpcore's as their causes."""
    if isinstance(error, httpx.TimeoutException):
        return Problem.TIMEOUT
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoPublicAddressError):
            return Problem.ADDRESS
        if isinstance(cause, ssl.SSLError):
            return Problem.TLS
        cause = cause.__cause__ or cause.__context__
    return Problem.UNREACHABLE

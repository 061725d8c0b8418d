"""One HTTP request to the API and its response: headers, key, body; keep-alives and limits back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from random import getrandbits
from typing import Any, Protocol

from accounts import keys
from accounts.client_ip import client_address
from api import errors
from api.error_responses import RenderedError, headers_of, rendered
from api.gateway.beside_loop import LARGE_BYTES, run_beside
from api.gateway.form import UnacceptableFormError, decode_form
from api.gateway.request_body import (
    UnacceptableJsonError,
    decode_large_object,
    decode_object,
    digest_of,
)
from api.phrases import Phrase, in_language_of
from api.surfaces import Surface
from billing.ledger.gate import AdmissionResult

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
ErrorRenderer = Callable[[errors.ApiError, Surface, str], RenderedError]

# A client that is still sending a refused body would see a reset connection instead of our answer,
# so the body is read and dropped, up to these limits.
DRAIN_BYTES = 256 * 1024 * 1024
DRAIN_SECONDS = 5

_JSON = (b"content-type", b"application/json")
_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would buffer the events otherwise.
    (b"x-accel-buffering", b"no"),
]
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
# The same as the pages' (SECURE_HSTS_* in the settings), since a browser keeps one for the host.
_STRICT_TRANSPORT = b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"
_EXPOSED_NAMES = (
    b"x-request-id, x-request-cost, retry-after, idempotent-replayed, x-ratelimit-limit, "
    b"x-ratelimit-remaining, x-ratelimit-reset, x-ratelimit-limit-requests, "
    b"x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_EXPOSED = b"access-control-expose-headers", _EXPOSED_NAMES
_LOW_62_BITS = (1 << 62) - 1


def new_request_id() -> str:
    """Return a new UUIDv7 (RFC 9562, 5.7) as 32 hexadecimal digits, which sort by time.

    It has 48 bits of Unix milliseconds, then 74 random bits. They need not be secret; Python
    reseeds its generator in every forked process.
    """
    random = getrandbits(74)
    value = (
        (time.time_ns() // 1_000_000) << 80
        | 0x7 << 76
        | random >> 62 << 64
        | 0b10 << 62
        | random & _LOW_62_BITS
    )
    return f"{value:032x}"


class Downstream:
    """The response to the client. Every write ends where an event ends, so a keep-alive may follow.

    `blocked_since` is when the write in progress began, `quiet_since` when the last one did, both
    in the event loop's seconds.
    """

    __slots__ = (
        "_comment",
        "_keepalive",
        "_loop",
        "_start",
        "blocked_since",
        "has_begun",
        "quiet_since",
        "send",
    )

    def __init__(self, send: Send) -> None:
        self.send = send
        self._loop = asyncio.get_running_loop()
        self._start: Mapping[str, Any] = {}
        self._keepalive = b""
        self._comment: asyncio.Task[None] | None = None
        self.has_begun = False
        self.blocked_since: float | None = None
        self.quiet_since = self._loop.time()

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        self.blocked_since = self._loop.time()
        self.has_begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
        self.blocked_since = None

    def prepare_stream(self, headers: Headers, keepalive: bytes, status: int = 200) -> None:
        """Set the headers that go out with the first write, and what keeps a connection alive."""
        self._keepalive = keepalive
        self._start = {"type": "http.response.start", "status": status, "headers": headers}

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Send a part of a stream, after the headers. Wait while the client does not read."""
        if self._comment is not None:
            await asyncio.wait([self._comment])
        await self._put(data, is_last)

    def keep_alive(self) -> None:
        """Send an event that says nothing to a waiting client, unless something is being sent."""
        if self.blocked_since is None and self._comment is None:
            self._comment = self._loop.create_task(self._put(self._keepalive, is_last=False))
            self._comment.add_done_callback(self._forget_comment)

    async def _put(self, data: bytes, is_last: bool) -> None:
        self.quiet_since = self.blocked_since = self._loop.time()
        if not self.has_begun:
            self.has_begun = True
            await self.send(self._start)
        await self.send({"type": "http.response.body", "body": data, "more_body": not is_last})
        self.blocked_since = None

    def _forget_comment(self, comment: "asyncio.Task[None]") -> None:
        self._comment = None


class Idempotency(Protocol):
    """What a request with an Idempotency-Key goes through (`idempotency.py`)."""

    admitted: Any

    async def claim(self) -> None:
        """Claim the idempotency key, before the ledger is asked."""


class ApiRequest:
    """One HTTP request to the API. `started_at` is in `time.monotonic()` seconds.

    `admission` is the ledger's latest answer about the key; the limit headers come from it.
    `stated_length` is the body's length in bytes by its header, or 0, and `read_bytes` how much of
    it has been read; `body_digest` is set once it has been decoded. With `strict_transport` the
    client is told to use HTTPS for this host from now on.
    """

    __slots__ = (
        "admission",
        "argument",
        "body_digest",
        "downstream",
        "headers",
        "idempotency",
        "is_body_read",
        "peer",
        "query",
        "read_bytes",
        "receive",
        "request_id",
        "started_at",
        "stated_length",
        "strict_transport",
        "surface",
    )

    def __init__(
        self, surface: Surface, argument: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.started_at = time.monotonic()
        self.request_id = new_request_id()
        self.surface = surface
        self.argument = argument
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.query: bytes = scope.get("query_string", b"")
        self.peer: str = (scope.get("client") or ("",))[0]
        self.receive = receive
        self.is_body_read = False
        self.read_bytes = 0
        self.body_digest = ""
        self.strict_transport = False
        self.downstream = Downstream(send)
        self.admission: AdmissionResult | None = None
        self.idempotency: Idempotency | None = None
        stated = self.headers.get(b"content-length", b"0")
        self.stated_length = int(stated) if stated.isdigit() else 0

    def client_address(self) -> str:
        """Return the client's IP address (`accounts/client_ip.py`)."""
        forwarded = self.headers.get(b"x-forwarded-for", b"").decode("latin-1")
        return client_address(self.peer, forwarded)

    def key_digests(self) -> list[str]:
        """Return the digests of the API key. Raise AuthenticationError without a valid one."""
        return _digests(self._authorization())

    def api_key(self) -> str:
        """Return the API key itself. Raise AuthenticationError without a valid one."""
        return _key_in(self._authorization())

    def _authorization(self) -> bytes:
        """Return the header with the key, which Anthropic's SDKs send as `x-api-key`."""
        headers = self.headers
        if b"authorization" not in headers and b"x-api-key" in headers:
            return b"Bearer " + headers[b"x-api-key"]
        return headers.get(b"authorization", b"")

    @property
    def is_form(self) -> bool:
        """Whether the headers say that the body is a form."""
        media_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return media_type == b"multipart/form-data"

    async def read_object(self, max_bytes: int) -> tuple[dict[str, object], int]:
        """Return the JSON object in the body, and the body's length in bytes.

        Raise RequestTooLargeError, UnsupportedMediaTypeError, InvalidJsonError, or
        AuthenticationError without a valid key.
        """
        self._check_headers(max_bytes)
        body = await self.read_body(max_bytes)
        key_digest = self.key_digests()[0]
        try:
            if len(body) <= LARGE_BYTES:
                self.body_digest = digest_of(body, key_digest)
                return decode_object(body), len(body)
            fields, self.body_digest = await run_beside(
                len(body),
                lambda: (decode_large_object(body), digest_of(body, key_digest)),
            )
        except UnacceptableJsonError as error:
            problem = Phrase("The body is not valid JSON: {reason}", reason=error.reason)
            raise errors.InvalidJsonError(problem) from None
        return fields, len(body)

    async def read_form(self, max_bytes: int) -> tuple[dict[str, object], int]:
        """Return the fields of the form in the body, and the body's length in bytes.

        Raise RequestTooLargeError, UnsupportedMediaTypeError, InvalidRequestError, or
        AuthenticationError without a valid key.
        """
        self._check_size(max_bytes)
        if not self.is_form:
            raise errors.UnsupportedMediaTypeError("Send a form: multipart/form-data.")
        content_type = self.headers[b"content-type"].decode("latin-1")
        body = await self.read_body(max_bytes)
        boundary = content_type.partition("boundary=")[2].partition(";")[0].strip(' "').encode()
        key_digest = self.key_digests()[0]
        try:
            fields, self.body_digest = await run_beside(
                len(body),
                lambda: (decode_form(body, content_type), digest_of(body, key_digest, boundary)),
            )
        except UnacceptableFormError as error:
            problem = Phrase("The body is not a valid form: {reason}", reason=error)
            raise errors.InvalidRequestError(problem) from None
        return fields, len(body)

    async def drain_body(self) -> None:
        """Read and drop the rest of a refused body, up to a limit."""
        left = DRAIN_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0:
                    message = await self.receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))

    def prepare_stream(self, headers: Headers, keepalive: bytes) -> None:
        """Set the response's headers to those of an event stream, and more `headers`."""
        self.downstream.prepare_stream([*_STREAM, *self._common_headers(), *headers], keepalive)

    def prepare_bytes(self, headers: Headers, status: int = 200) -> None:
        """Set the response's headers to those of bytes that come in parts."""
        self.downstream.prepare_stream([*headers, *self._common_headers()], b"", status)

    async def respond(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Headers | None = None,
        content_type: tuple[bytes, bytes] = _JSON,
    ) -> None:
        """Send a whole response, of JSON unless `content_type` is the header of another type."""
        await self.downstream.respond(
            status,
            [
                content_type,
                (b"content-length", b"%d" % len(body)),
                *self._common_headers(),
                *(headers or ()),
            ],
            body,
        )

    async def respond_error(self, error: errors.ApiError, render: ErrorRenderer = rendered) -> None:
        """Send an error, rendered as the request's dialect does it."""
        with in_language_of(self.headers):
            response = render(error, self.surface, self.request_id)
        headers = headers_of(response) + self._common_headers()
        await self.downstream.respond(response.status, headers, response.body)

    def _check_size(self, max_bytes: int) -> None:
        """Refuse a body whose stated length is too large, or that is compressed."""
        headers = self.headers
        if self.stated_length > max_bytes:
            raise errors.RequestTooLargeError.about(f"{max_bytes:,}")
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            raise errors.UnsupportedMediaTypeError("Send the body without a Content-Encoding.")

    def _check_headers(self, max_bytes: int) -> None:
        """Refuse a body by its headers, before any of it is read."""
        self._check_size(max_bytes)
        headers = self.headers
        if headers.get(b"content-type") == b"application/json":
            return
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type not in {b"application/json", b""} and not media_type.endswith(b"+json"):
            raise errors.UnsupportedMediaTypeError()

    async def read_body(self, max_bytes: int) -> bytes:
        """Return the body. Raise RequestTooLargeError, or InvalidRequestError if it breaks off."""
        parts: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise errors.InvalidRequestError(Phrase("The body did not arrive in time."))
            part: bytes = message.get("body", b"")
            self.read_bytes += len(part)
            if self.read_bytes > max_bytes:
                raise errors.RequestTooLargeError.about(f"{max_bytes:,}")
            parts.append(part)
            if not message.get("more_body", False):
                self.is_body_read = True
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _common_headers(self) -> Headers:
        headers = [(b"x-request-id", self.request_id.encode()), _ANY_ORIGIN, _NO_SNIFFING]
        if self.strict_transport:
            headers.append(_STRICT_TRANSPORT)
        if b"origin" in self.headers:
            headers.append(_EXPOSED)
        if self.admission is not None and self.admission.requests_limit:
            headers += limit_headers(self.admission)
        return headers


@lru_cache(maxsize=4096)
def _digests(authorization: bytes) -> list[str]:
    """Return the digests of the key in an Authorization header.

    Caching them (8 µs saved) decides nothing: the ledger looks each of them up each time.
    """
    return keys.digests(_key_in(authorization))


def _key_in(authorization: bytes) -> str:
    """Return the key in an Authorization header. Raise AuthenticationError."""
    scheme, _, key = authorization.decode("latin-1").strip().partition(" ")
    key = key.strip()
    if not key or scheme.lower() != "bearer":
        raise errors.MissingApiKeyError()
    if not keys.is_well_formed(key):
        raise errors.InvalidApiKeyError()
    return key


def limit_headers(admission: AdmissionResult) -> Headers:
    """Return the limits of the key's current minute.

    They follow two conventions: the documented services' (X-RateLimit-Reset in Unix seconds), and
    OpenAI's (`x-ratelimit-reset-requests` as a duration).
    """
    requests, left = b"%d" % admission.requests_limit, b"%d" % admission.requests_remaining
    wait = b"%ds" % max(0, admission.reset_at - int(time.time()))
    return [
        (b"x-ratelimit-limit", requests),
        (b"x-ratelimit-remaining", left),
        (b"x-ratelimit-reset", b"%d" % admission.reset_at),
        (b"x-ratelimit-limit-requests", requests),
        (b"x-ratelimit-remaining-requests", left),
        (b"x-ratelimit-reset-requests", wait),
        (b"x-ratelimit-limit-tokens", b"%d" % admission.tokens_limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % admission.tokens_remaining),
        (b"x-ratelimit-reset-tokens", wait),
    ]

"""A call of the API: what came in, who asks, and how to answer."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from accounts import keys
from api import errors
from api.relay.downstream import Downstream, Headers, Send
from api.relay.ids import new_request_id
from api.surfaces import Surface
from billing.ledger.gate import AdmissionResult

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_JSON = (b"content-type", b"application/json")
_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would collect the events before it hands them on.
    (b"x-accel-buffering", b"no"),
]
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (
    b"access-control-expose-headers",
    b", ".join(
        (
            b"x-request-id",
            b"x-request-cost",
            b"retry-after",
            b"x-ratelimit-limit",
            b"x-ratelimit-remaining",
            b"x-ratelimit-reset",
            b"x-ratelimit-limit-requests",
            b"x-ratelimit-remaining-requests",
            b"x-ratelimit-reset-requests",
            b"x-ratelimit-limit-tokens",
            b"x-ratelimit-remaining-tokens",
            b"x-ratelimit-reset-tokens",
        )
    ),
)


class Call:
    """One HTTP request to the API. `started_at` is in `time.monotonic()` seconds.

    `verdict` is the ledger's latest word on the key, which the limit headers are made from.
    """

    __slots__ = (
        "argument",
        "downstream",
        "headers",
        "is_body_read",
        "receive",
        "request_id",
        "started_at",
        "surface",
        "verdict",
    )

    def __init__(
        self, surface: Surface, argument: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.started_at = time.monotonic()
        self.request_id = new_request_id()
        self.surface = surface
        self.argument = argument
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.is_body_read = False
        self.downstream = Downstream(send)
        self.verdict: AdmissionResult | None = None

    def key_digests(self) -> list[str]:
        """Returns the digests of the bearer key. Raises AuthenticationError for none or no key."""
        return _digests(self.headers.get(b"authorization", b""))

    def stream_headers(self) -> Headers:
        """Returns the head of a stream."""
        return [*_STREAM, *self._common_headers()]

    async def respond(
        self, body: bytes, *, status: int = 200, headers: Headers | None = None
    ) -> None:
        """Answers with JSON."""
        await self.downstream.respond(
            status,
            [
                _JSON,
                (b"content-length", b"%d" % len(body)),
                *self._common_headers(),
                *(headers or ()),
            ],
            body,
        )

    async def respond_error(self, error: errors.ApiError) -> None:
        """Answers with an error in the surface's dialect."""
        status, headers, body = errors.render(error, self.surface)
        await self.downstream.respond(status, headers + self._common_headers(), body)

    def _common_headers(self) -> Headers:
        headers = [(b"x-request-id", self.request_id.encode()), _ANY_ORIGIN]
        if b"origin" in self.headers:
            headers.append(_EXPOSED)
        if self.verdict is not None and self.verdict.requests_limit:
            headers += limit_headers(self.verdict)
        return headers


@lru_cache(maxsize=4096)
def _digests(authorization: bytes) -> list[str]:
    """Returns the digests of the key in an Authorization header.

    Remembering them (8 µs saved) decides nothing: the ledger looks each of them up each time.
    """
    scheme, _, key = authorization.decode("latin-1").strip().partition(" ")
    key = key.strip()
    if not key or scheme.lower() != "bearer":
        raise errors.MissingApiKeyError()
    if not keys.is_well_formed(key):
        raise errors.InvalidApiKeyError()
    return keys.digests(key)


def limit_headers(verdict: AdmissionResult) -> Headers:
    """Returns the limits of the key's current minute.

    By two conventions: the documented services' (X-RateLimit-Reset in unix seconds), and OpenAI's
    (`x-ratelimit-reset-requests` as a duration).
    """
    requests, left = b"%d" % verdict.requests_limit, b"%d" % verdict.requests_remaining
    wait = b"%ds" % max(0, verdict.reset_at - int(time.time()))
    return [
        (b"x-ratelimit-limit", requests),
        (b"x-ratelimit-remaining", left),
        (b"x-ratelimit-reset", b"%d" % verdict.reset_at),
        (b"x-ratelimit-limit-requests", requests),
        (b"x-ratelimit-remaining-requests", left),
        (b"x-ratelimit-reset-requests", wait),
        (b"x-ratelimit-limit-tokens", b"%d" % verdict.tokens_limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % verdict.tokens_remaining),
        (b"x-ratelimit-reset-tokens", wait),
    ]

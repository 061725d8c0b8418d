"""The only way to an upstream: a call is limited, sent, and read, or an error says why not.

Addresses and headers are prepared once for each upstream. Addresses come from the catalogue only.
Which HTTP client sends is a setting, UPSTREAM_CLIENT.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from msgspec import structs

from accounts.encryption import DecryptionError
from api import errors
from api.catalogue.snapshot import RouteEntry, UpstreamEntry
from api.dialects import link
from api.dialects.base import AnswerContext, Dialect, ParsedRequest
from api.gateway.concurrency_limit import ConcurrencyLimits, RunningCall
from api.gateway.httpx_client import HttpxClient
from api.gateway.quote import Quote
from api.gateway.relay_client import RelayClient
from api.gateway.settlement import AdmittedRequest
from api.gateway.transport import (
    ConnectError,
    DisconnectedError,
    Dispatch,
    Response,
    Target,
    Transport,
    TransportError,
)
from api.gateway.upstream_errors import AttemptError, error_of_status
from api.upstream_hosts import problem_with
from api.upstream_keys import read_key
from billing.failpoints import ARMED, failpoint

log = structlog.get_logger(__name__)

# More of an error's body than this is not read.
MAX_ERROR_BYTES = 64 * 1024
# A connection is kept if its message ends within this time of the last event.
EOF_SECONDS = 0.25
# Of an answer that is unpacked, at a time.
UNPACKED_BYTES = 64 * 1024
# The columns of a route that decide about a field that we add ourselves.
_SWITCHES: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens_field": "max_completion_tokens"},
    "stream_options": {"takes_stream_options": False},
}
MAX_LEARNT_ROUTES = 1_000
NO_HEADERS: Mapping[str, str] = {}
_ANY_ZLIB_HEADER = 32 + zlib.MAX_WBITS

_CLIENTS: dict[str, Callable[[], Transport]] = {"relay": RelayClient, "httpx": HttpxClient}


class _Endpoint:
    """An upstream's prepared target and headers, of one address and key of its row."""

    __slots__ = ("headers", "made_for", "target")

    def __init__(self, upstream: UpstreamEntry, dialect: Dialect) -> None:
        """Raise AttemptError where the address is not allowed, or the key can't be decrypted."""
        problem = problem_with(upstream.base_url)
        if problem:
            raise AttemptError("misconfigured", problem)
        self.made_for = _place_of(upstream)
        self.target = Target(upstream.base_url + dialect.path)
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
        self.headers = {**headers, **dialect.upstream_headers(key)}


def _place_of(upstream: UpstreamEntry) -> tuple[str, str, str]:
    """Return where calls go and with which key: the arguments of `read_key`."""
    return upstream.base_url, upstream.encrypted_key, upstream.api_key_env


class UpstreamResponse:
    """An upstream's answer whose body is still to be read. Close it, whatever happens.

    `request_id` is the upstream's own id of the call, or empty; `is_encoded`: it may be compressed.
    """

    __slots__ = ("_call", "_response", "_unpacker", "headers", "is_encoded", "request_id", "status")

    def __init__(self, response: Response, call: RunningCall) -> None:
        self.status = response.status
        # Lower-case names; of several headers of a name the last counts.
        self.headers = headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers
        }
        self.is_encoded = "content-encoding" in headers
        self.request_id = headers.get("x-request-id") or headers.get("request-id", "")
        self._response = response
        self._call: RunningCall | None = call
        self._unpacker: zlib._Decompress | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raise AttemptError where the connection breaks."""
        response, unpacker = self._response, self._unpacker
        try:
            while not response.at_end:
                chunk = await response.read()
                if unpacker is None:
                    yield chunk
                else:
                    for part in _unpacked(unpacker, chunk):
                        yield part
        except zlib.error as error:
            raise AttemptError("bad_answer", f"the answer can't be unpacked: {error}") from None
        except TransportError as error:
            raise AttemptError("disconnected", f"the answer broke off: {error}") from None

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
        if not self._response.at_end:
            await self._response.close()


class UpstreamCall(NamedTuple):
    """A call whose response has begun: its dialect, and the context for the reader of its body."""

    response: UpstreamResponse
    dialect: Dialect
    context: AnswerContext


class Upstreams:
    """This process's connections to all upstreams. Make it inside the running event loop."""

    def __init__(self, max_answer_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._transport: Transport = _CLIENTS[settings.UPSTREAM_CLIENT]()
        self._endpoints: dict[tuple[int, int, str, str], _Endpoint] = {}
        self._learnt: dict[RouteEntry, RouteEntry] = {}
        self.limits = ConcurrencyLimits()

    def _switched(self, route: RouteEntry) -> RouteEntry:
        """Return a route with what its upstream has taught us about the fields that it takes."""
        return self._learnt.get(route, route) if self._learnt else route

    def _learn(self, route: RouteEntry, error: AttemptError) -> RouteEntry | None:
        """Return the route switched as an upstream's refusal asks for, or None.

        Only of a field that is ours to choose, and once for each; staff should set it in the row.
        """
        switch = _SWITCHES.get(error.param or "") if error.kind == "rejected" else None
        known = self._switched(route)
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
        await self._transport.close()

    async def call(
        self, admitted: AdmittedRequest, route: RouteEntry, request: ParsedRequest | None = None
    ) -> UpstreamCall:
        """Call a route's upstream. Raise AttemptError.

        `request` replaces the client's request, if given.
        """
        quote, dialect = admitted.quote, dialect_of(admitted, route)
        request = request or quote.request
        post = partial(
            self.post,
            route.upstream,
            dialect,
            request_id=admitted.request_id,
            team_id=admitted.admission.team_id,
            forwarded=request.forwarded if dialect is quote.dialect else NO_HEADERS,
            dispatch=admitted,
            tokens=quote.limited_tokens,
        )
        try:
            response = await post(_body(quote, request, dialect, self._switched(route)))
        except AttemptError as error:
            learnt = self._learn(route, error)
            if learnt is None:
                raise
            if route.upstream.has_rates:
                self.limits.rates.count(route.upstream, 0, -quote.limited_tokens)
            response = await post(_body(quote, request, dialect, learnt))
        if ARMED:
            failpoint("after_dispatch")
        admitted.upstream_request_id = response.request_id
        return UpstreamCall(response, dialect, self.context_of(admitted, route))

    def note_usage(self, admitted: AdmittedRequest) -> None:
        """Correct what a settled request's last key is counted for to the tokens that it used."""
        if admitted.route is None or admitted.source == "none":
            return
        upstream = admitted.route.upstream
        used = admitted.usage.input_tokens + admitted.usage.output_tokens
        self.limits.rates.count(upstream, 0, used - admitted.quote.limited_tokens)

    def context_of(self, admitted: AdmittedRequest, route: RouteEntry) -> AnswerContext:
        """Return the context for the reader of a route's answer."""
        return AnswerContext(
            admitted.quote.request,
            admitted.quote.request.model,
            admitted.surface.reasoning_field,
            is_tagged=route.reasoning_dialect == "think",
            answer_id=admitted.request_id,
            max_event_bytes=self._max_answer_bytes,
        )

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
        tokens: int = 0,
    ) -> UpstreamResponse:
        """Return the response to a POST of JSON once its headers have come and it is a success.

        The call takes one of the upstream's places for the team, and likely so many `tokens` of the
        key's minute. `forwarded` are the client's headers for the upstream. `dispatch` is told once
        there is a connection for the request. Raise AttemptError for everything else: nothing is
        left open then.
        """
        endpoint = self._endpoint(upstream, dialect)
        headers = {**endpoint.headers, "x-request-id": request_id, **forwarded}
        call = self.limits.enter(upstream, team_id)
        if upstream.has_rates:
            self.limits.rates.count(upstream, 1, tokens)
        try:
            response = await self._transport.post(
                endpoint.target,
                headers,
                body,
                connect_seconds=upstream.connect_timeout_seconds,
                dispatch=dispatch,
            )
        except TransportError as error:
            call.end()
            if isinstance(error, DisconnectedError):
                self._transport.close_idle(endpoint.target)
            raise _error_of(error) from None
        except BaseException:
            call.end()
            raise
        answer = UpstreamResponse(response, call)
        if answer.status != 200 or answer.is_encoded:
            await _raise_refusal(answer, dialect)
        return answer

    def _endpoint(self, upstream: UpstreamEntry, dialect: Dialect) -> _Endpoint:
        key = (upstream.id, upstream.key_id, dialect.path, dialect.name)
        endpoint = self._endpoints.get(key)
        if endpoint is None or endpoint.made_for != _place_of(upstream):
            endpoint = self._endpoints[key] = _Endpoint(upstream, dialect)
        return endpoint


def dialect_of(admitted: AdmittedRequest, route: RouteEntry) -> Dialect:
    """Return the dialect to call a route's upstream in. Raise AttemptError where none fits."""
    dialect = admitted.quote.dialect
    if route.upstream.dialect == dialect.family:
        return dialect
    found = link(dialect, route.upstream.dialect)
    if found is None:
        raise AttemptError(
            "misconfigured",
            f"an upstream of the dialect {route.upstream.dialect} can't take {dialect.name}",
        )
    return found


def _body(quote: Quote, request: ParsedRequest, dialect: Dialect, route: RouteEntry) -> bytes:
    """Return the body of a call. Raise AttemptError if the upstream's dialect can't express it."""
    try:
        return dialect.upstream_body(request, quote.model, route, quote.max_tokens)
    except errors.ApiError as error:
        raise AttemptError("unsayable", error.message, error=error) from None


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


def _error_of(error: TransportError) -> AttemptError:
    """Return what a failed exchange of request and head was."""
    match error:
        case ConnectError():
            return AttemptError("connect", f"no connection: {error}")
        case DisconnectedError():
            return AttemptError("disconnected", f"no answer: {error}")
        case _:
            return AttemptError("bad_answer", f"no answer: {error}")


def _unpacked(unpacker: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """Yield what a chunk unpacks to, in pieces, so that whoever reads them can stop in time."""
    while chunk:
        part = unpacker.decompress(chunk, UNPACKED_BYTES)
        if part:
            yield part
        chunk = unpacker.unconsumed_tail

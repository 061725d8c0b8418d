"""The run of a metered request: admitted, answered whole or as a stream, settled, delivered."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from api import errors
from api.catalogue.snapshot import RouteEntry
from api.dialects import link
from api.dialects.base import Answer, AnswerContext, Dialect, DialectError, StreamReader
from api.gateway.admission import Quoter, admit
from api.gateway.deadlines import Deadlines
from api.gateway.failover import try_routes
from api.gateway.http import ApiRequest, Headers
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream import UpstreamResponse
from api.gateway.upstream_errors import AttemptError
from billing.failpoints import ARMED, failpoint
from billing.pricing.money import dollars_text

# The bounds of what is read for a client that disconnected.
DRAIN_SECONDS = 30
DRAIN_BYTES = 1024 * 1024
NO_HEADERS: Mapping[str, str] = {}


async def serve(
    gateway: Gateway,
    request: ApiRequest,
    dialect: Dialect,
    make_quote: Quoter,
    make_responder: "MakeResponder | None" = None,
) -> None:
    """Answer a metered request. Raise an error of `api.errors` before its admission."""
    admitted = await admit(gateway, request, dialect, make_quote)
    await run(gateway, request, admitted, make_responder)


async def run(
    gateway: Gateway,
    request: ApiRequest,
    admitted: AdmittedRequest,
    make_responder: "MakeResponder | None" = None,
) -> None:
    """Answer an admitted request and settle it, whatever happens.

    `make_responder` is for an answer that is neither in one piece nor a stream of events.
    """
    limits, is_streamed = gateway.limits, admitted.quote.request.is_streamed
    deadlines = Deadlines(
        request.downstream,
        total_seconds=admitted.quote.total_seconds,
        write_seconds=limits.write_timeout_seconds,
        keepalive_seconds=limits.keepalive_seconds if is_streamed else None,
        is_prompt=is_streamed,
    )
    responder: Responder
    if make_responder is not None:
        responder = make_responder(gateway, request, admitted, deadlines)
    elif is_streamed:
        responder = StreamResponder(gateway, request, admitted, deadlines)
    else:
        responder = UnaryResponder(gateway, request, admitted, deadlines)
    gateway.ticker.running.add(deadlines)
    try:
        await _answer(gateway, admitted, responder, deadlines)
    except asyncio.CancelledError:
        admitted.abandon()
        if deadlines.take_reason() is None:
            raise
    except Exception as error:
        admitted.crash(error)
        await deadlines.wait_for(admitted.settlement, limits.settle_wait_seconds)
        raise
    finally:
        gateway.ticker.running.discard(deadlines)
        await responder.close()


async def _answer(
    gateway: Gateway, admitted: AdmittedRequest, responder: "Responder", deadlines: Deadlines
) -> None:
    """Let the responder answer or send an error; both are settled before the last byte leaves."""
    model = admitted.quote.model.name
    try:
        await try_routes(
            admitted,
            responder.attempt,
            responder.may_retry,
            deadlines,
            gateway.upstreams.limits,
        )
    except AttemptError as error:
        error.note_context(admitted.quote.prompt.likely, admitted.quote.model.context_tokens)
        if error.is_upstream_failure:
            gateway.health.failed(model)
        admitted.fail(error, error.as_error().status)
        await deadlines.wait_for(admitted.settlement, gateway.limits.settle_wait_seconds)
        if error.kind != "write":
            await responder.send_error(error)
        return
    gateway.health.succeeded(
        model, latency_ms=admitted.elapsed_ms, first_token_ms=admitted.first_token_ms
    )
    await responder.complete()


class Responder(Protocol):
    """An answer in one of its forms."""

    async def attempt(self, route: RouteEntry) -> None:
        """Read the answer of a route's upstream. Raise AttemptError or DialectError."""

    def may_retry(self) -> bool:
        """Return whether the client has no part of the answer, so that an attempt may follow."""

    async def complete(self) -> None:
        """Settle the answer, and then send its last bytes."""

    async def send_error(self, error: AttemptError) -> None:
        """Tell the client what went wrong."""

    async def close(self) -> None:
        """End the upstream's call, if one is running."""


MakeResponder = Callable[[Gateway, ApiRequest, AdmittedRequest, Deadlines], Responder]


async def call_upstream(
    gateway: Gateway, admitted: AdmittedRequest, route: RouteEntry
) -> tuple[UpstreamResponse, Dialect]:
    """Return the response of a route's upstream, and the dialect that it is in.

    Raise AttemptError.
    """
    quote = admitted.quote
    dialect: Dialect | None = quote.dialect
    if route.upstream.dialect != quote.dialect.family:
        dialect = link(quote.dialect, route.upstream.dialect)
    if dialect is None:
        raise AttemptError(
            "misconfigured",
            f"an upstream of the dialect {route.upstream.dialect} can't take {quote.dialect.name}",
        )
    upstreams = gateway.upstreams
    post = partial(
        upstreams.post,
        route.upstream,
        dialect,
        request_id=admitted.request_id,
        forwarded=quote.request.forwarded if dialect is quote.dialect else NO_HEADERS,
    )
    try:
        response = await post(_body(admitted, dialect, upstreams.switched(route)))
    except AttemptError as error:
        learnt = upstreams.learn(route, error)
        if learnt is None:
            raise
        response = await post(_body(admitted, dialect, learnt))
    if ARMED:
        failpoint("after_dispatch")
    ids = response.headers
    admitted.upstream_request_id = ids.get("x-request-id") or ids.get("request-id") or ""
    return response, dialect


def _body(admitted: AdmittedRequest, dialect: Dialect, route: RouteEntry) -> bytes:
    """Return the body of a call. Raise AttemptError for what the upstream's dialect can't say."""
    quote = admitted.quote
    try:
        return dialect.upstream_body(quote.request, quote.model, route, quote.max_tokens)
    except errors.ApiError as error:
        raise AttemptError("unsayable", error.message, error=error) from None


class UnaryResponder:
    """An answer in one piece: read whole, checked, metered, settled, and then delivered."""

    def __init__(
        self,
        gateway: Gateway,
        request: ApiRequest,
        admitted: AdmittedRequest,
        deadlines: Deadlines,
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._admitted = admitted
        self._deadlines = deadlines
        self._answer: Answer | None = None

    async def attempt(self, route: RouteEntry) -> None:
        """Read the answer of a route's upstream. Raise AttemptError or DialectError."""
        admitted, max_bytes = self._admitted, self._gateway.limits.max_answer_bytes
        response, dialect = await call_upstream(self._gateway, admitted, route)
        quote = admitted.quote
        body = await response.read_answer(
            max_bytes,
            (route.upstream_model, False),
            prompt_tokens=quote.prompt.likely,
            images=quote.units.images if quote.units is not None else 0,
        )
        context = _context(admitted, route, max_bytes)
        self._answer = dialect.read_answer(body, context)

    def may_retry(self) -> bool:
        """Return True: nothing is delivered before the whole answer is here."""
        return True

    async def complete(self) -> None:
        """Settle the answer, and then deliver it."""
        admitted, answer = self._admitted, self._answer
        assert answer is not None  # noqa: S101 - an attempt succeeded
        admitted.delivered_bytes = answer.text_bytes
        admitted.finish_reason = answer.finish_reason
        metered = answer.meter(admitted.quote)
        # Before the settlement, so that a bug of ours here costs the client nothing.
        body = answer.body(metered.usage or admitted.estimated())
        admitted.complete(metered)
        await self._deadlines.wait_for(
            admitted.settlement, self._gateway.limits.settle_wait_seconds
        )
        cost = dollars_text(admitted.cost.total_nanos).encode()
        await self._request.respond(
            body,
            headers=[(b"x-request-cost", cost), *_id_header(admitted)],
            content_type=(b"content-type", admitted.quote.request.answer_type.encode()),
        )

    async def send_error(self, error: AttemptError) -> None:
        """Tell the client what went wrong."""
        dialect = self._admitted.quote.dialect
        await self._request.respond_error(error.as_error(), dialect.render_error)

    async def close(self) -> None:
        """Do nothing: each attempt ends its own call."""


class StreamResponder:
    """An answer as server-sent events: chunks pass as they come, the last waits for settlement."""

    def __init__(
        self,
        gateway: Gateway,
        request: ApiRequest,
        admitted: AdmittedRequest,
        deadlines: Deadlines,
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._admitted = admitted
        self._deadlines = deadlines
        self._reader: StreamReader | None = None
        self._response: UpstreamResponse | None = None
        self._has_passed_on = False
        request.prepare_stream(_id_header(admitted), admitted.quote.dialect.keepalive)

    def may_retry(self) -> bool:
        """Return whether the client has no event, so that another attempt may follow."""
        return not self._has_passed_on

    async def attempt(self, route: RouteEntry) -> None:
        """Pass the stream of a route's upstream. Raise AttemptError or DialectError."""
        admitted = self._admitted
        self._reader = None
        response, dialect = await call_upstream(self._gateway, admitted, route)
        self._response = response
        context = _context(admitted, route, self._gateway.limits.max_answer_bytes)
        reader = self._reader = dialect.stream_reader(context)
        try:
            async for data in response.chunks():
                await self._pass_on(reader, data)
                if reader.is_done:
                    break
            await self._write(reader, reader.finish())
        except asyncio.CancelledError:
            if self._deadlines.is_quiet:
                # A client that disconnects pays for what was generated, even if held back.
                admitted.delivered_bytes = reader.text_bytes
            if self._deadlines.is_quiet and route.upstream.drains_on_disconnect:
                self._response = None
                admitted.detach()
                self._gateway.run_in_background(_drain(admitted, response, reader))
            raise
        except (AttemptError, DialectError):
            await self.close()
            raise

    async def complete(self) -> None:
        """Settle the answer, and then send its last bytes."""
        admitted, reader = self._admitted, self._reader
        assert reader is not None  # noqa: S101 - an attempt succeeded
        admitted.finish_reason = reader.finish_reason
        admitted.complete(reader.meter(admitted.quote))
        self._deadlines.end_attempts()
        if self._response is not None:
            await self._response.read_to_end()
        await self._deadlines.wait_for(
            admitted.settlement, self._gateway.limits.settle_wait_seconds
        )
        is_shown = admitted.quote.request.wants_usage
        ending = reader.ending(admitted.usage, admitted.cost, is_shown=is_shown)
        await self._request.downstream.write(ending, is_last=True)

    async def send_error(self, error: AttemptError) -> None:
        """Tell the client what went wrong, in a response of its own or the stream's last event."""
        is_charged = self._admitted.cost.total_nanos > 0
        api_error, dialect = error.as_error(is_charged=is_charged), self._admitted.quote.dialect
        if not self._request.downstream.has_begun:
            await self._request.respond_error(api_error, dialect.render_error)
            return
        sent_events = self._reader.sent_events if self._reader is not None else 0
        event = dialect.error_event(
            api_error, self._request.surface, self._request.request_id, sent_events
        )
        await self._request.downstream.write(event, is_last=True)

    async def close(self) -> None:
        """End the upstream's call."""
        response, self._response = self._response, None
        if response is not None:
            await response.close()

    async def _pass_on(self, reader: StreamReader, data: bytes) -> None:
        """Pass on what the upstream sent. Raise DialectError if it reports a failure."""
        events_before = reader.events
        passed_on = reader.feed(data)
        if reader.events > events_before:
            self._deadlines.saw_data()
            if events_before == 0:
                self._note_first_token()
        await self._write(reader, passed_on)
        if reader.error is not None:
            raise reader.error

    def _note_first_token(self) -> None:
        admitted, response = self._admitted, self._response
        admitted.note_first_token()
        if response is not None and admitted.route is not None:
            kind = (admitted.route.upstream_model, True)
            response.note_first_token(kind, admitted.quote.prompt.likely)

    async def _write(self, reader: StreamReader, passed_on: bytes) -> None:
        if passed_on:
            self._has_passed_on = True
            self._admitted.note_delivered(reader.text_bytes)
            await self._request.downstream.write(passed_on)
            if ARMED:
                failpoint("after_first_byte")


async def _drain(
    admitted: AdmittedRequest, response: UpstreamResponse, reader: StreamReader
) -> None:
    """Read an abandoned stream to its usage, within bounds, and settle the request.

    The usage that the upstream bills is charged; without one, the estimate as for any other client
    that disconnects.
    """
    left = DRAIN_BYTES
    try:
        with suppress(AttemptError, DialectError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for data in response.chunks():
                    reader.feed(data)
                    left -= len(data)
                    if reader.is_done or reader.error is not None or left < 0:
                        break
    finally:
        admitted.finish_reason = reader.finish_reason
        admitted.settle_abandoned(reader.meter(admitted.quote).usage)
        await response.close()


def _id_header(admitted: AdmittedRequest) -> Headers:
    """Return the request's id where the dialect's clients look for it, if they do elsewhere."""
    name = admitted.quote.dialect.request_id_header
    return [(name, admitted.request_id.encode())] if name else []


def _context(admitted: AdmittedRequest, route: RouteEntry, max_answer_bytes: int) -> AnswerContext:
    """Return what the reader of a route's answer must know."""
    return AnswerContext(
        admitted.quote.request,
        admitted.quote.request.model,
        admitted.surface.reasoning_field,
        is_tagged=route.reasoning_dialect == "think",
        answer_id=admitted.request_id,
        max_event_bytes=max_answer_bytes,
    )

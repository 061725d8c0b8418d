"""The run of a metered request: admitted, answered whole or as a stream, settled, delivered."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from api.catalogue.snapshot import RouteEntry
from api.dialects.assembly import as_streamed
from api.dialects.base import Answer, AnswerAssembler, Dialect
from api.gateway.abandoned import run_detachably
from api.gateway.admission import Quoter, admit
from api.gateway.deadlines import Deadlines
from api.gateway.failover import is_read_on_for, try_routes
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.stream_responder import StreamResponder
from api.gateway.upstream import dialect_of
from api.gateway.upstream_errors import AttemptError
from billing.pricing.money import dollars_text

# Quotes within strings are escaped, so these can be nothing but members.
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_REPORTED_COST = re.compile(rb'"cost(?:_details)?"\s*:')


class _Outermost(msgspec.Struct, gc=False):
    usage: msgspec.Raw = msgspec.Raw(b"null")


_decode_outermost = msgspec.json.Decoder(_Outermost).decode


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
        if admitted.abandon():
            gateway.cancellations.note(admitted.admission.key_id)
        if deadlines.take_reason() is None:
            raise
    except Exception as error:
        admitted.crash(error)
        await deadlines.wait_for(admitted.settlement, limits.settle_wait_seconds)
        raise
    finally:
        gateway.ticker.running.discard(deadlines)
        if admitted.route is not None and admitted.route.upstream.has_rates:
            gateway.upstreams.note_usage(admitted)
        await responder.close()


async def _answer(
    gateway: Gateway, admitted: AdmittedRequest, responder: "Responder", deadlines: Deadlines
) -> None:
    """Let the responder answer or send an error; both are settled before the last byte leaves."""
    model = admitted.quote.model.name
    try:
        await try_routes(gateway, admitted, responder.attempt, responder.may_retry, deadlines)
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
    quote = admitted.quote
    if admitted.source == "upstream" and quote.uncalibrated:
        sample = (model, quote.uncalibrated, admitted.usage.input_tokens)
        gateway.token_ratios.samples.append(sample)


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
        self._cost_text = ""

    async def attempt(self, route: RouteEntry) -> None:
        """Read the answer of a route's upstream. Raise AttemptError or DialectError."""
        gateway, admitted, reading = self._gateway, self._admitted, self._read(route)
        may_read_on = route.upstream.drains_on_disconnect or gateway.cancellations.over
        if may_read_on and is_read_on_for(gateway, admitted, route):
            reading = run_detachably(
                gateway, admitted, self._deadlines, reading, self._settle_abandoned
            )
        self._answer = await reading

    async def _settle_abandoned(self, answer: Answer) -> None:
        """Settle an answer that came after the client had disconnected."""
        admitted = self._admitted
        admitted.finish_reason = answer.finish_reason
        admitted.settle_abandoned(answer.meter(admitted.quote))

    async def _read(self, route: RouteEntry) -> Answer:
        """Return the answer of a route's upstream. Raise AttemptError or DialectError.

        A stream's deadlines apply to one that is assembled from a stream: one for the first event,
        and one between events. What can't be streamed is requested whole.
        """
        if not route.streams_plain_answers:
            return await self._read_whole(route)
        dialect = dialect_of(self._admitted, route)
        context = self._gateway.upstreams.context_of(self._admitted, route)
        assembler = dialect.assembler(context)
        if assembler is None:
            return await self._read_whole(route)
        return dialect.read_answer(await self._assemble(route, assembler), context)

    async def _read_whole(self, route: RouteEntry) -> Answer:
        """Return an answer that comes in one piece. Raise AttemptError or DialectError."""
        quote = self._admitted.quote
        call = await self._gateway.upstreams.call(self._admitted, route)
        body = await call.response.read_answer(
            self._gateway.limits.max_answer_bytes,
            (route.upstream_model, False),
            prompt_tokens=quote.prompt.likely,
            images=quote.units.images if quote.units is not None else 0,
        )
        return call.dialect.read_answer(body, call.context)

    async def _assemble(self, route: RouteEntry, assembler: AnswerAssembler) -> bytes:
        """Return the body assembled from a stream's events. Raise AttemptError or DialectError."""
        admitted, deadlines = self._admitted, self._deadlines
        deadlines.expect_events(route.upstream)
        asked = as_streamed(admitted.quote.request)
        response = (await self._gateway.upstreams.call(admitted, route, asked)).response
        # A client that disconnects pays for what was generated, although it has received nothing.
        admitted.reader = assembler.reader
        try:
            async for data in response.chunks():
                events_before = assembler.events
                assembler.feed(data)
                if assembler.events > events_before:
                    deadlines.saw_data()
                    if not events_before and not assembler.is_whole:
                        kind = (route.upstream_model, True)
                        response.note_first_token(kind, admitted.quote.prompt.likely)
                        self._gateway.breakers.note_first_token(
                            route.route_key, admitted.request_id
                        )
                if assembler.is_done:
                    break
            body = assembler.finish()
            await response.read_to_end()
            return body
        except asyncio.CancelledError:
            if deadlines.is_quiet and assembler.is_done:
                admitted.settle_abandoned(assembler.reader.meter(admitted.quote))
            raise
        finally:
            await response.close()

    def may_retry(self) -> bool:
        """Return True: nothing is delivered before the whole answer is here."""
        return True

    def metered_body(self) -> bytes:
        """Queue the answer's settlement. Return its body, which shows what was charged."""
        admitted, answer = self._admitted, self._answer
        assert answer is not None  # noqa: S101 - an attempt succeeded
        admitted.delivered_bytes = answer.text_bytes
        admitted.finish_reason = answer.finish_reason
        metered = answer.meter(admitted.quote)
        # Before the settlement, so that a bug of ours here costs the client nothing.
        body = answer.body(admitted.charged_part_of(metered.usage or admitted.estimated()))
        is_json = admitted.quote.request.answer_type == "application/json"
        parts = split_at_cost(body) if is_json else (body, b"")
        admitted.complete(metered)
        self._cost_text = dollars_text(admitted.cost.total_nanos)
        return with_cost(parts, self._cost_text)

    async def complete(self) -> None:
        """Settle the answer, and then deliver it."""
        admitted = self._admitted
        body = self.metered_body()
        await self._deadlines.wait_for(
            admitted.settlement, self._gateway.limits.settle_wait_seconds
        )
        headers = [(b"x-request-cost", self._cost_text.encode())]
        if name := admitted.quote.dialect.request_id_header:
            headers.append((name, admitted.request_id.encode()))
        await self._request.respond(
            body,
            headers=headers,
            content_type=(b"content-type", admitted.quote.request.answer_type.encode()),
        )

    async def send_error(self, error: AttemptError) -> None:
        """Tell the client what went wrong."""
        dialect = self._admitted.quote.dialect
        await self._request.respond_error(error.as_error(), dialect.render_error)

    async def close(self) -> None:
        """Do nothing: each attempt ends its own call."""


def split_at_cost(body: bytes) -> tuple[bytes, bytes]:
    """Return a JSON answer up to where `cost` belongs in its `usage`, and the rest.

    Where it is plain, the bytes are not decoded. A cost that the upstream reports is its own price
    for us, and is dropped. The rest is empty if the answer has no usage.
    """
    places = _USAGE.finditer(body)
    place = next(places, None)
    if place is None:
        return body, b""
    try:
        usage_text = bytes(_decode_outermost(body).usage)
    except msgspec.ValidationError:  # not an object
        return body, b""
    if not usage_text.startswith(b"{"):
        return body, b""
    if next(places, None) is None and not _REPORTED_COST.search(body):
        return body[: place.end()], body[place.end() :].lstrip()
    answer: Any = msgspec.json.decode(body)
    usage = answer.pop("usage")
    if not answer:
        return body, b""
    usage.pop("cost", None)
    usage.pop("cost_details", None)
    rest = msgspec.json.encode(answer)
    return rest[:-1] + b',"usage":{', msgspec.json.encode(usage)[1:] + b"}"


def with_cost(parts: tuple[bytes, bytes], dollars: str) -> bytes:
    """Return the answer that `split_at_cost` split, with its cost."""
    before, after = parts
    if not after:
        return before
    cost = dollars.rstrip("0").rstrip(".").encode()
    return b'%b"cost":%b%b%b' % (before, cost, b"" if after.startswith(b"}") else b",", after)

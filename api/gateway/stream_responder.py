"""An answer as server-sent events: chunks pass as they come, the last waits for settlement."""

import asyncio

import structlog

from api.catalogue.snapshot import RouteEntry
from api.dialects.base import DialectError, StreamFailure, StreamReader
from api.dialects.usage import Metered
from api.gateway.abandoned import drain, run_detachably
from api.gateway.deadlines import Deadlines
from api.gateway.failover import is_read_on_for
from api.gateway.growing_hold import GrowingHold, most_output_of
from api.gateway.http import ApiRequest, Headers
from api.gateway.max_cost import MaxCostReachedError, most_text_bytes
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream import UpstreamCall, UpstreamResponse
from api.gateway.upstream_errors import AttemptError
from api.phrases import in_language_of
from billing.failpoints import ARMED, failpoint

log = structlog.get_logger(__name__)


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
        self._most_text_bytes = most_text_bytes(admitted.quote)
        request.prepare_stream(_id_header(admitted), admitted.quote.dialect.keepalive)

    def may_retry(self) -> bool:
        """Return whether the client has no event, so that another attempt may follow."""
        return not self._has_passed_on

    async def attempt(self, route: RouteEntry) -> None:
        """Pass the stream of a route's upstream. Raise AttemptError or DialectError."""
        admitted = self._admitted
        self._reader = None
        response, dialect, context = await self._call(route)
        self._response = response
        reader = self._reader = admitted.reader = dialect.stream_reader(context)
        try:
            async for data in response.chunks():
                await self._pass_on(reader, data)
                if reader.is_done:
                    break
            await self._write(reader, reader.finish())
        except asyncio.CancelledError:
            gateway = self._gateway
            if self._deadlines.is_quiet and is_read_on_for(gateway, admitted, route):
                self._response = None
                admitted.detach()
                gateway.run_in_background(drain(gateway, admitted, response, reader))
            raise
        except (AttemptError, DialectError):
            await self.close()
            raise

    async def _call(self, route: RouteEntry) -> UpstreamCall:
        """Return the call of a route's upstream. Raise AttemptError."""
        gateway, admitted = self._gateway, self._admitted
        call = gateway.upstreams.call(admitted, route)
        if not is_read_on_for(gateway, admitted, route):
            return await call

        async def finish(called: UpstreamCall) -> None:
            reader = called.dialect.stream_reader(called.context)
            await drain(gateway, admitted, called.response, reader)

        return await run_detachably(gateway, admitted, self._deadlines, call, finish)

    async def complete(self) -> None:
        """Settle the answer, and then send its last bytes."""
        admitted, reader = self._admitted, self._reader
        assert reader is not None  # noqa: S101 - an attempt succeeded
        admitted.finish_reason = reader.finish_reason
        metered = reader.meter(admitted.quote)
        admitted.complete(metered)
        self._note_hidden_output(metered, reader.text_bytes)
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
        admitted = self._admitted
        api_error, dialect = error.as_error(admitted.cost.total_nanos), admitted.quote.dialect
        if not self._request.downstream.has_begun:
            await self._request.respond_error(api_error, dialect.render_error)
            return
        sent_events = self._reader.sent_events if self._reader is not None else 0
        failure = StreamFailure(
            api_error,
            self._request.surface,
            self._request.request_id,
            sent_events,
            admitted.usage,
            admitted.cost,
        )
        with in_language_of(self._request.headers):
            event = dialect.error_event(failure)
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

    def _note_hidden_output(self, metered: Metered, text_bytes: int) -> None:
        """Note a model that was billed more output than came: its holds grow no more."""
        admitted = self._admitted
        if admitted.hold is None or metered.usage is None or metered.is_estimated:
            return
        model, output = admitted.quote.model.name, metered.usage.output_tokens
        if output > most_output_of(admitted.quote, text_bytes):
            self._gateway.hidden_output.add(model)
            log.warning(
                "hidden_output", model=model, request_id=admitted.request_id, output_tokens=output
            )

    def _note_first_token(self) -> None:
        admitted, response = self._admitted, self._response
        admitted.note_first_token()
        if response is not None and admitted.route is not None:
            kind = (admitted.route.upstream_model, True)
            response.note_first_token(kind, admitted.quote.prompt.likely)
            self._gateway.breakers.note_first_token(admitted.route.route_key, admitted.request_id)

    async def _write(self, reader: StreamReader, passed_on: bytes) -> None:
        """Pass on what the hold pays for. Raise AttemptError where it can't pay for the text.

        The hold pays for text that the surface withholds, too: the upstream bills it.
        """
        text_bytes = reader.text_bytes
        if text_bytes > self._most_text_bytes:
            raise AttemptError(
                "unfunded", "the maximum cost is reached", ending=MaxCostReachedError
            )
        hold = self._admitted.hold
        if hold is not None:
            if text_bytes > hold.asks_at_bytes:
                await self._extend(hold, text_bytes)
            if not passed_on:
                hold.withheld_bytes = text_bytes
        if passed_on:
            self._has_passed_on = True
            self._admitted.note_delivered(text_bytes)
            await self._request.downstream.write(passed_on)
            if ARMED:
                failpoint("after_first_byte")

    async def _extend(self, hold: GrowingHold, text_bytes: int) -> None:
        """Have the hold grow ahead of the text. Raise AttemptError where it can't cover it."""
        if text_bytes > hold.paid_bytes:
            self._deadlines.pause()
            await hold.cover(text_bytes)
            self._deadlines.saw_data()
        else:
            hold.ask_ahead(text_bytes)


def _id_header(admitted: AdmittedRequest) -> Headers:
    """Return the request's id where the dialect's clients look for it, if they do elsewhere."""
    name = admitted.quote.dialect.request_id_header
    return [(name, admitted.request_id.encode())] if name else []

"""Streamed answers: chunks pass as they come, and the last byte waits for the settlement."""

import asyncio
from contextlib import suppress

from api.catalogue.snapshot import RouteEntry
from api.errors import render_body
from api.relay.attempts import note_speed, open_answer
from api.relay.call import Call
from api.relay.chunks import DONE, ChunkReader
from api.relay.drain import drain
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError
from api.relay.reasoning import StreamTranslator
from api.relay.relay import Relay
from api.relay.upstream import Answer
from api.relay.usage import meter
from api.relay.watch import Watch
from billing.failpoints import failpoint

# How long an upstream may take to end the connection's message after its last event, for the
# connection to be worth keeping.
EOF_SECONDS = 0.25


class StreamResponder:
    """Relays an answer as server-sent events."""

    def __init__(self, relay: Relay, call: Call, exchange: Exchange, watch: Watch) -> None:
        self._relay = relay
        self._call = call
        self._exchange = exchange
        self._watch = watch
        self._reader = self._new_reader()
        self._answer: Answer | None = None
        call.downstream.prepare_stream(call.stream_headers())

    @property
    def has_begun(self) -> bool:
        """Whether the client has a part of the answer, so that no other attempt can follow."""
        return self._reader.events > 0

    async def attempt(self, route: RouteEntry) -> None:
        """Relays the stream of a route's upstream up to its end. Raises AttemptError."""
        reader = self._reader = self._new_reader(route)
        answer = self._answer = await open_answer(self._exchange, self._relay.upstreams, route)
        try:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise AttemptError("bad_answer", "the answer is no stream", status=answer.status)
            async for data in answer.chunks():
                await self._pass_on(reader, data)
                if reader.is_done:
                    break
            await self._write(reader, reader.finish())
        except asyncio.CancelledError:
            if self._watch.is_quiet:
                # Who leaves pays for what was generated, also for what was still held back.
                self._exchange.delivered_bytes = reader.text_bytes
            if self._watch.is_quiet and route.upstream.drains_on_disconnect:
                self._answer = None
                self._exchange.hand_over()
                self._relay.run_in_background(drain(self._exchange, answer, reader))
            raise
        except AttemptError:
            await self.close()
            raise

    async def complete(self) -> None:
        """Settles the answer, and then lets its last bytes go."""
        exchange, reader = self._exchange, self._reader
        exchange.finish_reason = reader.finish_reason
        metered = meter(reader.usage, reader.text_bytes, exchange.plan)
        exchange.complete(metered)
        if metered.usage is None:
            reader.usage = None  # it can't be true, so nobody is told
        await self._read_to_eof()
        await exchange.receipt(self._watch, self._relay.limits.settle_wait_seconds)
        last = DONE
        if exchange.plan.wants_usage:
            last = reader.usage_event(exchange.usage, exchange.cost) + DONE
        await self._call.downstream.write(last, is_last=True)

    async def apologise(self, fault: AttemptError) -> None:
        """Tells the client what went wrong: as an answer of its own, or as the stream's last event.

        The event has the form of an error's body and ends the stream without `[DONE]`.
        """
        error = fault.as_error()
        if not self._call.downstream.has_begun:
            await self._call.respond_error(error)
            return
        event = b"data: " + render_body(error, self._call.surface) + b"\n\n"
        await self._call.downstream.write(event, is_last=True)

    async def close(self) -> None:
        """Ends the upstream's call."""
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.close()

    def _new_reader(self, route: RouteEntry | None = None) -> ChunkReader:
        """Returns a reader of a route's stream."""
        plan = self._exchange.plan
        is_tagged = plan.is_tagged_by(route) if route is not None else False
        field = self._call.surface.reasoning_field
        return ChunkReader(
            plan.public_name, StreamTranslator(field, is_tagged=is_tagged, choices=plan.choices)
        )

    async def _pass_on(self, reader: ChunkReader, data: bytes) -> None:
        """Hands on what the upstream sent. Raises AttemptError if it says that it failed."""
        events_before = reader.events
        passed_on = reader.feed(data)
        if reader.events > events_before:
            self._watch.saw_data()
            if events_before == 0:
                self._exchange.saw_first_token()
                if self._answer is not None:
                    note_speed(self._exchange, self._answer)
        await self._write(reader, passed_on)
        if reader.fault is not None:
            raise reader.fault

    async def _write(self, reader: ChunkReader, passed_on: bytes) -> None:
        if passed_on:
            self._exchange.delivered_bytes = reader.text_bytes
            await self._call.downstream.write(passed_on)
            failpoint("after_first_byte")

    async def _read_to_eof(self) -> None:
        """Reads what is left of the upstream's answer, so that its connection can be kept."""
        if self._answer is not None:
            with suppress(AttemptError, TimeoutError):
                async with asyncio.timeout(EOF_SECONDS):
                    async for _ in self._answer.chunks():
                        pass
            await self.close()

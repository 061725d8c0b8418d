"""Streamed responses: every event is read, and those that prove to be the dialect's pass.

The last event, which has the whole response and its usage, is sent after the settlement. A stream
never ends without one: `response.completed`, `response.incomplete` or `response.failed`. Before it
each item has begun and ended, whatever the upstream left out: clients take what was said from the
items' own events.
"""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.error_bodies import report_of
from api.dialects.event_reader import EventReader, named_event
from api.dialects.openai_chat.repair import encode_safely
from api.dialects.openai_responses.answer import Item, finish_reason, for_client, proved_response
from api.dialects.openai_responses.output import response_object
from api.dialects.openai_responses.repair import DELTAS, FAILED, ended_as, repaired_output
from api.dialects.openai_responses.stream_items import (
    ADDED,
    DONE,
    PARTS,
    PLACED,
    OddEventError,
    StreamItems,
)
from api.dialects.openai_responses.stream_repair import (
    OTHER_END,
    as_events,
    closing_events,
    repaired_events,
)
from api.dialects.service_tiers import with_served_tier
from api.dialects.sse import data_of, name_of
from api.dialects.usage import Metered, MeteringLimits, UsageEvidence
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode

LAST_EVENTS = frozenset({"response.completed", "response.incomplete"})
FAILURES = frozenset({"response.failed", "response.cancelled", "error"})

Json = dict[str, Any]


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    error: Any = None
    usage: Any = None
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: Any = None
    item: Item | None = None
    response: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class ResponseStreamReader(EventReader):
    """Reads one attempt's stream of a response. `response` is the whole one, once it has ended."""

    __slots__ = (
        "_begun",
        "_context",
        "_evidence",
        "_has_begun",
        "_items",
        "_last_kind",
        "response",
        "sent_events",
    )

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context.max_event_bytes)
        self._context = context
        self._items = StreamItems()
        self._has_begun = False
        self._begun: Json = {}
        self._last_kind = ""
        self.response: Json = {}
        # What was reported so far, also before the end, as by a response that failed.
        self._evidence = UsageEvidence()
        self.sent_events = 0

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""
        passed_on = self.read_rest()
        if not self.is_done:
            passed_on += self._end_without_event()
        if not self.is_done:
            raise DialectError("incomplete", "the stream ended without response.completed")
        return passed_on

    def read_event(self, event: bytes) -> bytes:
        """Return the client's bytes for an event. Raise DialectError."""
        data = data_of(event)
        if not data or self.is_done:
            return b""
        if data.strip() == b"[DONE]":
            return self._end_without_event(is_all=True)
        try:
            return self._strictly(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OddEventError):
            name = name_of(event).decode("utf-8", "replace")
            return self._all(repaired_events(data, name, self._items, self._context.answer_id))

    def read_whole(self, body: bytes) -> bytes:
        """Return the client's bytes for a whole response in place of a stream."""
        response: Json = _decode_anything(proved_response(body, self._context)[0])
        return self._all(as_events(response))

    def _all(self, events: list[Json]) -> bytes:
        try:
            return b"".join([self._strictly(encode_safely(event)) for event in events])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "an event of the stream is no response's") from None

    def _strictly(self, data: bytes) -> bytes:
        """Return the client's bytes for an event of the dialect. Raise OddEventError."""
        decoded = _decode(data)
        kind = decoded.type
        response = decoded.response if isinstance(decoded.response, dict) else None
        if usage := decoded.usage or (response or {}).get("usage"):
            self._evidence.add(usage)
            self._evidence.text_bytes = self.text_bytes
        if kind in FAILURES or decoded.error:
            error = decoded.error or (response or {}).get("error")
            report = report_of({"error": error} if error else _decode_anything(data))
            raise DialectError("error_event", f"{kind}: {data[:200]!r}", report)
        if kind in LAST_EVENTS:
            if response is None:
                raise OddEventError("bad_answer", "the last event has no response")
            return self._end(kind, response)
        if not kind.startswith("response.") or kind == OTHER_END:
            raise OddEventError("bad_answer", "an event of no kind, or of another dialect")
        self._take(decoded, data)
        self.events += 1
        if response is not None:
            self._begun = self._begun or response
            shown = _decode_anything(data)
            shown["response"] = for_client(response, self._context, None)
            data = _encode(shown)
        return self._numbered(decoded, data)

    def _take(self, event: _Event, data: bytes) -> None:
        """Note what an event brings. Raise OddEventError if it is not whole, or from nowhere."""
        kind, index = event.type, event.output_index
        if kind in DELTAS:
            place = event.summary_index if "summary" in kind else event.content_index
            self.text_bytes += self._items.add_text(kind, index, event.item_id, place, event.delta)
        elif kind in {ADDED, DONE}:
            if event.item is None:
                raise OddEventError("bad_answer", f"a {kind} has no item")
            try:
                event.item.check()
            except DialectError as error:
                raise OddEventError(error.kind, error.detail) from None
            item: Json = _decode_anything(data)["item"]
            if kind == ADDED:
                self._items.begin(index, item)
            else:
                self.text_bytes += self._items.end(index, item, event.item.text_bytes())
        elif kind in PARTS:
            place = event.summary_index if "summary" in kind else event.content_index
            self._items.add_part(kind, index, event.item_id, place)
        elif kind in PLACED:
            self._items.find(index, event.item_id)

    def _numbered(self, event: _Event, data: bytes) -> bytes:
        """Return an event for the client, after the first of all, and with a number of its own."""
        begin = b""
        if not self._has_begun:
            self._has_begun = True
            if event.type != "response.created":
                begun = response_object(self._context, [], None, None)
                begin = self._event("response.created", response=begun)
        number = event.sequence_number
        if number is None or number < self.sent_events:
            number = self.sent_events
            data = _encode({**_decode_anything(data), "sequence_number": number})
        self.sent_events = number + 1
        return begin + named_event(event.type, data)

    def _event(self, kind: str, **more: Any) -> bytes:
        self.sent_events += 1
        return event(kind, self.sent_events - 1, **more)

    def _end_without_event(self, *, is_all: bool = False) -> bytes:
        """Return the ends of all items, if the answer ended without a last event of its own.

        That is so where every item ended, or the upstream said that this `is_all`.
        """
        items = self._items
        if not items.has_answer or not (is_all or items.are_done):
            return b""
        return self._end("response.completed", {})

    def _end(self, kind: str, response: Json) -> bytes:
        """Return the ends of all items. The last event is kept: it is sent after the settlement."""
        named, status = kind.removeprefix("response."), response.get("status")
        # A response may still say that it is in progress; one that failed is no answer.
        is_worse = status == "incomplete" or (isinstance(status, str) and status in FAILED)
        status = ended_as({**response, "status": status if is_worse else named})
        output = repaired_output(response.get("output"), self._context.answer_id)
        closed = self._all(closing_events(self._items, output, is_cut=status == "incomplete"))
        self.events += 1
        said = {name: value for name, value in response.items() if value is not None}
        self.response = {
            **response,
            **self._begun,
            **said,
            "status": status,
            "output": output or self._items.output(),
        }
        self._last_kind = f"response.{status}"
        self.finish_reason = finish_reason(status, response.get("incomplete_details"))
        self.is_done = True
        return closed

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        metered = self._evidence.meter(self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, self.response.get("service_tier"))
        return metered

    def meter_part(self, limits: MeteringLimits) -> Metered:
        """Return the usage of a stream that ended early: what was reported, and an estimate."""
        return self._evidence.meter_part(self.text_bytes, limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the last event, with the usage that is charged."""
        whole = {**self.response, "usage": self._evidence.figures}
        response = for_client(whole, self._context, usage)
        if is_shown:
            cost_text = dollars_short_text(cost.total_nanos).encode()
            response["usage"]["cost"] = msgspec.Raw(cost_text)
        return event(self._last_kind, self.sent_events, response=response)


def event(kind: str, sequence_number: int, **more: Any) -> bytes:
    """Return an event of a stream."""
    data = {"type": kind, "sequence_number": sequence_number, **more}
    return named_event(kind, _encode(data))

"""Streamed responses: every event is read, and those that prove to be the dialect's pass.

The last event, which has the whole response and its usage, is sent after the settlement. A stream
never ends without one: `response.completed`, `response.incomplete` or `response.failed`.
"""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.error_bodies import report_of
from api.dialects.event_reader import EventReader, named_event
from api.dialects.openai_responses.answer import Item, finish_reason, for_client
from api.dialects.service_tiers import with_served_tier
from api.dialects.usage import Metered, MeteringLimits, UsageEvidence, meter
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode

LAST_EVENTS = frozenset({"response.completed", "response.incomplete"})
# The text that comes in pieces, and the kind of item that it belongs to.
DELTAS = {
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}
FAILURES = frozenset({"response.failed", "response.cancelled", "error"})


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    error: Any = None
    sequence_number: int | None = None
    output_index: int | None = None
    delta: Any = None
    item: Item | None = None
    response: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class ResponseStreamReader(EventReader):
    """Reads one attempt's stream of a response. `response` is the one of the last event."""

    __slots__ = (
        "_context",
        "_item_bytes",
        "_items",
        "_last_kind",
        "_part",
        "response",
        "sent_events",
    )

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context.max_event_bytes)
        self._context = context
        # By output index: what each item is, and how much of its text came.
        self._items: dict[int | None, str] = {}
        self._item_bytes: dict[int | None, int] = {}
        self._last_kind = ""
        self.response: dict[str, Any] = {}
        # What was reported before the end, as by a response that failed.
        self._part = UsageEvidence()
        self.sent_events = 0

    @property
    def status(self) -> str:
        """The response's status by its last event: `completed` or `incomplete`."""
        return self._last_kind.removeprefix("response.")

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""
        passed_on = self.read_rest()
        if not self.is_done:
            raise DialectError("incomplete", "the stream ended without response.completed")
        return passed_on

    def read_data(self, data: bytes) -> bytes:
        """Return the client's bytes for one event's data. Raise DialectError."""
        if data == b"[DONE]":
            return b""
        try:
            decoded = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "an event of the stream is no response's") from None
        kind = decoded.type
        self.events += 1
        if isinstance(decoded.response, dict) and decoded.response.get("usage"):
            self._part.add(decoded.response["usage"])
            self._part.text_bytes = self.text_bytes
        if kind in FAILURES or decoded.error:
            failed = decoded.response if isinstance(decoded.response, dict) else {}
            report = report_of(decoded.error or failed.get("error") or _decode_anything(data))
            raise DialectError("error_event", f"{kind}: {data[:200]!r}", report)
        if kind in LAST_EVENTS:
            return self._end(decoded)
        if not kind.startswith("response."):
            # A keep-alive of some gateway's own.
            return b""
        self._check(decoded)
        if isinstance(decoded.response, dict):
            shown = _decode_anything(data)
            shown["response"] = for_client(shown["response"], self._context, None)
            data = _encode(shown)
        if decoded.sequence_number is not None:
            self.sent_events = decoded.sequence_number + 1
        return named_event(kind, data)

    def _check(self, event: _Event) -> None:
        """Count the text of an event. Raise DialectError if it is not whole, or from nowhere."""
        kind, index = event.type, event.output_index
        if kind in DELTAS:
            wanted = DELTAS[kind]
            if not isinstance(event.delta, str) or self._items.get(index) != wanted:
                raise DialectError("bad_answer", f"a {kind} has no text, or no item to belong to")
            self._count(index, len(event.delta.encode()))
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            if event.item is None:
                raise DialectError("bad_answer", f"a {kind} has no item")
            event.item.check()
            if self._items.setdefault(index, event.item.type) != event.item.type:
                raise DialectError("bad_answer", "an item is not what it began as")
            if kind == "response.output_item.done":
                counted = self._item_bytes.get(index, 0)
                self._count(index, max(0, event.item.text_bytes() - counted))

    def _count(self, output_index: int | None, count: int) -> None:
        self.text_bytes += count
        self._item_bytes[output_index] = self._item_bytes.get(output_index, 0) + count

    def _end(self, event: _Event) -> bytes:
        """Keep the last event; it is sent after the settlement."""
        response = event.response
        if not isinstance(response, dict):
            raise DialectError("bad_answer", "the last event has no response")
        self._last_kind, self.response = event.type, response
        details = response.get("incomplete_details")
        self.finish_reason = finish_reason(
            event.type.removeprefix("response."), details if isinstance(details, dict) else None
        )
        self.is_done = True
        return b""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        metered = meter(self.response.get("usage"), self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, self.response.get("service_tier"))
        return metered

    def meter_part(self, limits: MeteringLimits) -> Metered:
        """Return the usage of a stream that ended early: what was reported, and an estimate."""
        return self._part.meter_part(self.text_bytes, limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the last event, with the usage that is charged."""
        response = for_client(self.response, self._context, usage)
        if is_shown:
            cost_text = dollars_short_text(cost.total_nanos).encode()
            response["usage"]["cost"] = msgspec.Raw(cost_text)
        return event(self._last_kind, self.sent_events, response=response)


def event(kind: str, sequence_number: int, **more: Any) -> bytes:
    """Return an event of a stream."""
    data = {"type": kind, "sequence_number": sequence_number, **more}
    return named_event(kind, _encode(data))

"""Streamed messages: every event is read, and those that prove to be the dialect's pass.

The first event and the last are held against the request: the model's public name goes into
`message_start`, and `message_delta`, which has the usage, and `message_stop` are sent after the
settlement, with the usage that is charged.
"""

from typing import Any

import msgspec

from api.dialects.anthropic_messages.answer import Block, proved_message
from api.dialects.anthropic_messages.repair import as_events, repaired_event, stop_reason
from api.dialects.anthropic_messages.usage import merged_usage, shown_usage
from api.dialects.base import AnswerContext, DialectError
from api.dialects.error_bodies import report_of
from api.dialects.event_reader import EventReader, named_event
from api.dialects.service_tiers import with_served_tier
from api.dialects.sse import data_of, name_of
from api.dialects.usage import Metered, MeteringLimits, meter, meter_part
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Message(msgspec.Struct, gc=False):
    usage: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int | None = None
    message: _Message | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class _OddError(DialectError):
    """An event that lacks what it must have, and may be repaired."""


# What a delta of a known kind has, and the blocks that it may belong to.
_PARTS = {
    "text_delta": ("text", ("text",)),
    "thinking_delta": ("thinking", ("thinking",)),
    "input_json_delta": ("partial_json", ("tool_use", "server_tool_use")),
    "signature_delta": ("signature", ("thinking",)),
}

# Events that can only follow the start of a message, except its last.
_OF_A_MESSAGE = {"content_block_start", "content_block_delta", "message_delta"}


class MessageStreamReader(EventReader):
    """Reads one attempt's stream of a message. `usage` is what was reported of it so far."""

    sent_events = 0  # not numbered

    __slots__ = (
        "_ending_delta",
        "_has_begun",
        "_id",
        "_is_start_made",
        "_open",
        "_public_name",
        "_usage_bytes",
        "usage",
    )

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context.max_event_bytes)
        self._public_name = context.public_name
        self._id = f"msg_{context.answer_id}"
        self._has_begun = self._is_start_made = False
        self._open: dict[int, str] = {}
        self._ending_delta: dict[str, Any] = {}
        self.usage: dict[str, Any] = {}
        self._usage_bytes = 0

    @property
    def end(self) -> dict[str, Any]:
        """Why the message ended: `stop_reason` and `stop_sequence`."""
        return self._ending_delta or _ENDED

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""
        passed_on = self.read_rest()
        if not self.is_done and not self.finish_reason:
            raise DialectError("incomplete", "the stream ended without message_stop")
        if not self._has_begun:
            raise DialectError("bad_answer", "the stream has no message")
        return passed_on

    def read_event(self, event: bytes) -> bytes:
        """Return the client's bytes for an event. Raise DialectError."""
        data = data_of(event)
        if not data or self.is_done:
            return b""
        try:
            return self._strictly(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _OddError):
            events = repaired_event(data, name_of(event).decode(), self._open)
            if events and not self._has_begun and _decode(events[0]).type in _OF_A_MESSAGE:
                # Some servers omit the start, which the rest doesn't depend on.
                begun = self._all([self._made_start()])
                self._is_start_made = True
                return begun + self._all(events)
            return self._all(events)

    def read_whole(self, body: bytes) -> bytes:
        """Return the client's bytes for a whole message in place of a stream."""
        message, _ = proved_message(body)
        return self._all(as_events(_decode_anything(message)))

    def _all(self, events: list[bytes]) -> bytes:
        try:
            return b"".join(map(self._strictly, events))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "an event of the stream is not Anthropic's") from None

    def _strictly(self, data: bytes) -> bytes:
        """Return the client's bytes for an event of the dialect. Raise _OddError, DialectError."""
        decoded = _decode(data)
        kind = decoded.type
        if kind == "ping":
            return b'event: ping\ndata: {"type":"ping"}\n\n'
        if not kind:
            raise _OddError("bad_answer", "an event has no type")
        self.events += 1
        if kind == "content_block_delta":
            self._read_delta(decoded)
        elif kind == "content_block_start":
            self._read_block_start(decoded)
        elif kind == "content_block_stop":
            self._read_block_stop(decoded)
        elif kind == "message_start":
            return self._message_start(decoded, data)
        elif kind == "message_delta":
            return self._message_delta(decoded)
        elif kind == "message_stop":
            self.is_done = True
            return b""
        elif kind == "error" or decoded.error:
            detail = f"an error event: {_encode(decoded.error)[:200]!r}"
            raise DialectError("error_event", detail, report_of(decoded.error))
        else:
            # An event of a later version of the dialect; Anthropic's clients ignore such.
            return b""
        return named_event(kind, data)

    def _read_delta(self, event: _Event) -> None:
        block = self._open.get(-1 if event.index is None else event.index)
        if block is None or event.delta is None:
            raise _OddError("bad_answer", "a delta belongs to no content block")
        delta = event.delta
        part, blocks = _PARTS.get(delta.type or "", ("", ()))
        if part and (getattr(delta, part) is None or block not in blocks):
            raise _OddError("bad_answer", f"a {delta.type} has no {part}, or is of no {block}")
        if text := delta.text or delta.thinking or delta.partial_json:
            self.text_bytes += len(text) if text.isascii() else len(text.encode())

    def _read_block_start(self, event: _Event) -> None:
        if not self._has_begun or event.index is None or event.content_block is None:
            raise _OddError("bad_answer", "a content block begins outside of a message")
        try:
            event.content_block.check()
        except DialectError as error:
            raise _OddError(error.kind, error.detail) from None
        self._open[event.index] = event.content_block.type
        self.text_bytes += len(event.content_block.name or "")

    def _read_block_stop(self, event: _Event) -> None:
        if event.index is None or self._open.pop(event.index, None) is None:
            raise _OddError("bad_answer", "a content block ends that is not open")

    def _made_start(self) -> bytes:
        """Return the start of a message whose upstream sent none."""
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._public_name,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return _encode({"type": "message_start", "message": message})

    def _message_start(self, event: _Event, data: bytes) -> bytes:
        if event.message is not None and self._is_start_made:
            # A late start, accepted once: only its usage matters.
            self._is_start_made = False
            earlier = event.message.usage if isinstance(event.message.usage, dict) else {}
            self.usage = merged_usage(earlier, self.usage)
            return b""
        if event.message is None or self._has_begun:
            raise DialectError("bad_answer", "the stream begins with no message, or twice")
        self._has_begun = True
        self.usage = merged_usage({}, event.message.usage)
        start = _decode_anything(data)
        start["message"]["model"] = self._public_name
        return named_event("message_start", _encode(start))

    def _message_delta(self, event: _Event) -> bytes:
        """Keep the end of the message; it is sent after the settlement. Raise _OddError."""
        if not self._has_begun:
            raise _OddError("bad_answer", "a message ends that has not begun")
        self.usage = merged_usage(self.usage, event.usage)
        self._usage_bytes = self.text_bytes
        delta = event.delta
        if delta is not None and (reason := stop_reason(delta.stop_reason)):
            self.finish_reason = reason
            self._ending_delta = {"stop_reason": reason, "stop_sequence": delta.stop_sequence}
        return b""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        metered = meter(self.usage, self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, self.usage.get("service_tier"))
        return metered

    def meter_part(self, limits: MeteringLimits) -> Metered:
        """Return the usage of a stream that ended early: what was reported, and an estimate."""
        return meter_part(self.usage, self._usage_bytes, self.text_bytes, limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the message, with the usage that is charged."""
        figures = shown_usage(self.usage, usage)
        if is_shown:
            figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
        return message_end(self.end, figures)


_ENDED = {"stop_reason": "end_turn", "stop_sequence": None}


def message_end(delta: dict[str, Any], usage: dict[str, Any]) -> bytes:
    """Return the two events that end a streamed message."""
    last = {"type": "message_delta", "delta": delta, "usage": usage}
    return named_event("message_delta", _encode(last)) + named_event(
        "message_stop", b'{"type":"message_stop"}'
    )

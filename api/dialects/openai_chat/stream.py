"""Read an upstream's stream event by event, and makes of each what the client gets.

Every event is decoded into a struct of just the fields that matter: 0.9 µs for a usual chunk, which
is less than looking for the same facts with byte searches (3.7 µs), and finds broken JSON too. The
client gets the upstream's bytes, with the public name put in place of the upstream's name for the
model. Two kinds of events are taken apart: those with reasoning that the surface gives in another
way (`reasoning.py`), and those that carry usage, which goes to the client once, at the end, with
what it cost, and only if the client asked.
"""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.reasoning import StreamTranslator
from api.dialects.sse import EventSplitter, OversizedEventError, data_of
from api.dialects.usage import Metered, MeteringLimits, UsageEvidence, shown_usage
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    # The legacy completions' chunks have this in place of a delta.
    text: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class CompletionStreamReader:
    """Reads one attempt's stream.

    `events` counts what is not a comment; `text_bytes` is the text among it, in UTF-8.
    """

    __slots__ = (
        "evidence",
        "_latest",
        "_name",
        "_public_name",
        "_renames",
        "_splitter",
        "_translator",
        "error",
        "events",
        "finish_reason",
        "is_done",
        "text_bytes",
    )

    def __init__(self, context: AnswerContext) -> None:
        self._splitter = EventSplitter()
        self._translator = StreamTranslator(
            context.reasoning_field, is_tagged=context.is_tagged, choices=context.request.choices
        )
        self._public_name = self._name = context.public_name
        self._renames: tuple[tuple[bytes, bytes], ...] = ()
        self._latest = b"{}"
        self.events = 0
        self.error: DialectError | None = None
        self.finish_reason = ""
        self.is_done = False
        self.text_bytes = 0
        self.evidence = UsageEvidence()

    def feed(self, data: bytes) -> bytes:
        """Return the bytes for the client that the upstream's bytes make, whole events only.

        What can't be passed on (no chunk, or one that tells of an error) is left in `error`, and
        what came before it is returned.
        """
        passed_on = b""
        try:
            for event in self._splitter.feed(data):
                passed_on += self._read(event)
        except OversizedEventError:
            self.error = DialectError("bad_answer", "an event of the stream is too long")
        except DialectError as error:
            self.error = error
        return passed_on

    def finish(self) -> bytes:
        """Return what an unfinished last event makes, after the upstream's last byte.

        Raise DialectError for no chunk, and if the stream ended before its end: with neither
        `[DONE]` nor a finish reason.
        """
        passed_on = self._read(self._splitter.rest()) if not self.is_done else b""
        if not self.is_done and not self.finish_reason:
            raise DialectError("incomplete", "the stream ended without [DONE] or finish reason")
        if self._translator.is_alert:
            latest = _decode_anything(self._latest)
            latest.pop("usage", None)
            passed_on += self._events(self._translator.rest(latest))
        return passed_on

    def _read(self, event: bytes) -> bytes:
        data = data_of(event)
        if not data or self.is_done:
            return b""
        self.events += 1
        if data == b"[DONE]":
            self.is_done = True
            return b""
        try:
            chunk = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "an event of the stream is no chunk") from None
        self._latest = data
        if chunk.error is not None:
            raise DialectError("error_event", f"an error event: {_encode(chunk.error)[:200]!r}")
        translator = self._translator
        is_foreign = False
        for choice in chunk.choices or ():
            if choice.finish_reason is not None:
                self.finish_reason = choice.finish_reason
            delta = choice.delta
            if delta is not None:
                self.text_bytes += _text_bytes(delta)
                if getattr(delta, translator.foreign):
                    is_foreign = True
            elif choice.text:
                self.text_bytes += len(choice.text.encode())
        if chunk.usage is not None or is_foreign or translator.is_alert:
            return self._translated(chunk, data, is_foreign)
        if chunk.model != self._public_name:
            data = self._renamed(chunk, data)
        return b"data: " + data + b"\n\n"

    def _translated(self, chunk: _Chunk, data: bytes, is_foreign: bool) -> bytes:
        """Return the events for the client that an unusual chunk makes; keeps its usage."""
        if chunk.usage is None:
            if not is_foreign and not self._translator.concerns(data):
                return b"data: " + self._renamed(chunk, data) + b"\n\n"
            if is_foreign and (renamed := self._translator.renamed(data)) is not None:
                return b"data: " + self._renamed(chunk, renamed) + b"\n\n"
        else:
            self.evidence.add(chunk.usage)
            if not chunk.choices:
                return b""
        taken_apart = _decode_anything(data)
        if chunk.usage is not None:
            del taken_apart["usage"]
        if is_foreign or self._translator.is_alert:
            return self._events(self._translator.translate(taken_apart))
        return self._events([taken_apart])

    def _events(self, chunks: list[dict[str, Any]]) -> bytes:
        return b"".join(
            b"data: " + _encode({**chunk, "model": self._public_name}) + b"\n\n" for chunk in chunks
        )

    def _renamed(self, chunk: _Chunk, data: bytes) -> bytes:
        """Return the chunk's bytes with the public name for the upstream's.

        A quote inside of a JSON string is escaped, so the bytes `"model":"x"` are that member and
        nothing else.
        """
        if chunk.model is None or chunk.model == self._public_name:
            return data
        if chunk.model != self._name:
            self._name = chunk.model
            theirs, ours = _encode(chunk.model), _encode(self._public_name)
            self._renames = tuple(
                (b'"model":' + space + theirs, b'"model":' + space + ours) for space in (b"", b" ")
            )
        for theirs, ours in self._renames:
            if theirs in data:
                return data.replace(theirs, ours, 1)
        return _encode({**_decode_anything(data), "model": self._public_name})

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        return self.evidence.meter(self.text_bytes, limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the stream's last events: the usage and its cost, if asked for, and `[DONE]`."""
        return self._usage_event(usage, cost) + DONE if is_shown else DONE

    def _usage_event(self, usage: Usage, cost: Charge) -> bytes:
        """Return the event that tells the client its usage, and what it cost in dollars.

        It says the figures that were charged, beside whatever else the upstream reported.
        """
        chunk = _decode_anything(self._latest)
        figures = shown_usage(self.evidence.figures, usage)
        figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
        chunk |= {"model": self._public_name, "choices": [], "usage": figures}
        return b"data: " + _encode(chunk) + b"\n\n"


def _text_bytes(delta: _Delta) -> int:
    """Return how many bytes of text a delta brings, of any kind that is generated."""
    count = 0
    if content := delta.content:
        count = len(content) if content.isascii() else len(content.encode())
    if reasoning := delta.reasoning_content or delta.reasoning:
        # Where it comes in both fields, it is the same.
        count += len(reasoning) if reasoning.isascii() else len(reasoning.encode())
    if delta.refusal:
        count += len(delta.refusal.encode())
    for call in delta.tool_calls or ():
        if call.function is not None:
            count += len(call.function.name or "") + len(call.function.arguments or "")
    if delta.function_call is not None:
        call_text = (delta.function_call.name or "") + (delta.function_call.arguments or "")
        count += len(call_text)
    return count

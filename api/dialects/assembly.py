"""Assembly of a stream's events into the unary answer that the upstream could have sent instead.

A route that `streams_plain_answers` requests a stream even if the client wants a unary answer. The
stream's own reader validates each event; the events it passes are collected here and become a body
that the dialect reads like any other whole answer: validated again, metered, translated. So the
answer is the same either way.
"""

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError, ParsedRequest, StreamReader
from api.dialects.event_reader import StreamHead
from api.dialects.sse import OversizedEventError

# The most bytes an event has besides its part of the answer; only those beyond count as kept.
FRAME_BYTES = 512

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]


def as_streamed(request: ParsedRequest) -> ParsedRequest:
    """Return a unary request as a streaming one."""
    return msgspec.structs.replace(
        request, fields={**request.fields, "stream": True}, is_streamed=True, conversation=None
    )


def collecting_context(context: AnswerContext) -> AnswerContext:
    """Return the context for the stream's reader, which must leave reasoning unchanged."""
    return AnswerContext(
        context.request,
        context.public_name,
        "reasoning_content",
        answer_id=context.answer_id,
        max_event_bytes=context.max_event_bytes,
    )


class BaseAssembler(ABC):
    """Collects one attempt's stream.

    `events` counts events that are part of the answer. If the upstream sends a unary answer anyway,
    `is_whole` is true and the body is kept unchanged. A subclass collects events (`take`) and
    builds the answer from them (`whole`).
    """

    def __init__(self, reader: StreamReader, max_bytes: int) -> None:
        """`max_bytes` limits the size of the answer."""
        self._reader = reader
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._head = StreamHead(max_bytes)
        self.is_whole = False
        self.events = 0

    @property
    def reader(self) -> StreamReader:
        """The stream's own reader."""
        return self._reader

    @property
    def is_done(self) -> bool:
        """Whether the upstream has sent its end-of-stream event."""
        return self._reader.is_done

    @abstractmethod
    def take(self, event: Json) -> None:
        """Collect an event that the reader passed."""

    @abstractmethod
    def whole(self) -> Json:
        """Return the answer. Raise DialectError if there is none."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the upstream. Raise DialectError if they aren't part of an answer."""
        if not self._head.is_stream:
            data = self._begin(data)
            if not data:
                return
        reader = self._reader
        self._collect(reader.feed(data))
        self.events = reader.events
        if reader.error is not None:
            raise reader.error

    def finish(self) -> bytes:
        """Return the whole answer. Raise DialectError if the stream's end is missing."""
        if self.is_whole:
            return bytes(self._head.body)
        self._collect(self._reader.finish())
        return _encode(self.whole())

    def _begin(self, data: bytes) -> bytes:
        """Return a stream's first bytes once there are any; keep the bytes of a whole body."""
        try:
            start = self._head.feed(data)
        except OversizedEventError:
            raise self._oversized() from None
        self.is_whole = self._head.is_whole
        self.events += self.is_whole
        return start

    def _collect(self, passed: bytes) -> None:
        if not passed:
            return
        for line in passed.split(b"\n"):
            if line.startswith(b"data: {"):
                self._keep(max(0, len(line) - FRAME_BYTES))
                self.take(_decode(line[6:]))

    def _keep(self, count: int) -> None:
        self._kept_bytes += count
        if max(self._kept_bytes, self._reader.text_bytes) > self._max_bytes:
            raise self._oversized()

    def _oversized(self) -> DialectError:
        return DialectError("bad_answer", f"the answer has more than {self._max_bytes} bytes")

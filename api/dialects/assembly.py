"""Put a stream together into the whole answer that its upstream could have given in one piece.

A route that `streams_plain_answers` asks for a stream where the client wants a plain answer. The
stream's own reader proves each event and drops what is none; what it lets pass is collected here,
and becomes a body which the dialect then reads as any other whole answer: proved once more,
metered, translated. So a plain answer is the same whichever way it was asked for.
"""

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError, ParsedRequest, StreamReader
from api.dialects.sse import without_bom

# What an event has besides its part of the answer, at most; only what is beyond counts as kept.
FRAME_BYTES = 512

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]


def as_streamed(request: ParsedRequest) -> ParsedRequest:
    """Return a request for a plain answer as one for a stream."""
    return msgspec.structs.replace(
        request, fields={**request.fields, "stream": True}, is_streamed=True, conversation=None
    )


def collecting_context(context: AnswerContext) -> AnswerContext:
    """Return the context for the stream's reader, which is to change nothing about reasoning."""
    return AnswerContext(
        context.request,
        context.public_name,
        "reasoning_content",
        answer_id=context.answer_id,
        max_event_bytes=context.max_event_bytes,
    )


class BaseAssembler(ABC):
    """Collects one attempt's stream.

    `events` counts what is part of the answer. A body that `is_whole` is no stream, in spite of
    what the upstream was asked for, and is kept as it is. A subclass keeps what an event brings
    (`take`) and makes the answer of it (`whole`).
    """

    def __init__(self, reader: StreamReader, max_bytes: int) -> None:
        """`max_bytes` bounds what is kept."""
        self._reader = reader
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._head = bytearray()
        self._is_stream = False
        self.is_whole = False
        self.events = 0

    @property
    def reader(self) -> StreamReader:
        """The stream's own reader."""
        return self._reader

    @property
    def is_done(self) -> bool:
        """Whether the upstream said that this was all."""
        return self._reader.is_done

    @abstractmethod
    def take(self, event: Json) -> None:
        """Keep what an event brings, which the reader let pass."""

    @abstractmethod
    def whole(self) -> Json:
        """Return the answer. Raise DialectError where there is none."""

    def feed(self, data: bytes) -> None:
        """Take what the upstream sent. Raise DialectError for what is no part of an answer."""
        if not self._is_stream:
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
            return bytes(self._head)
        self._collect(self._reader.finish())
        return _encode(self.whole())

    def _begin(self, data: bytes) -> bytes:
        """Return the first bytes of a stream, once there are some; keep those of a whole body."""
        self._head += data
        if self.is_whole:
            self.events += 1
            self._keep(len(data))
            return b""
        head = without_bom(bytes(self._head))
        start = head.lstrip() if head is not None else b""
        if start.startswith((b"{", b"[", b"<")):
            self.is_whole = True
            self._head = bytearray(start)
            return self._begin(b"")
        self._is_stream = bool(start)
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
            raise DialectError("bad_answer", f"the answer has more than {self._max_bytes} bytes")

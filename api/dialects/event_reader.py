"""What the readers of all dialects' streams share."""

from abc import ABC, abstractmethod

import msgspec

from api.dialects.base import DialectError
from api.dialects.sse import EventSplitter, OversizedEventError, without_bom

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class StreamHead:
    """The first bytes of an answer, until it is clear whether events come or one whole answer.

    Events begin with a field's name or a colon. JSON `is_whole`: it is kept in `body`, without a
    byte order mark and blanks before it.
    """

    __slots__ = ("_max_bytes", "body", "is_stream", "is_whole")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.body = bytearray()
        self.is_stream = self.is_whole = False

    def feed(self, data: bytes) -> bytes:
        """Return the first bytes of a stream of events, once there are some.

        Raise DialectError for a page, and OversizedEventError.
        """
        self.body += data
        if not self.is_whole:
            head = without_bom(bytes(self.body))
            if head is None:
                return b""
            start = head.lstrip()
            if not start:
                self.body.clear()
                return b""
            if start.startswith(b"<"):
                raise DialectError("bad_answer", f"a page came for a stream: {start[:80]!r}")
            if not start.startswith((b"{", b"[")):
                self.is_stream = True
                self.body.clear()
                return start
            self.is_whole = True
            self.body = bytearray(start)
        if len(self.body) > self._max_bytes:
            raise OversizedEventError
        return b""


class EventReader(ABC):
    """Reads one attempt's stream, event by event.

    A subclass reads one event (`read_event`) and an answer that came in one piece (`read_whole`),
    raises DialectError for what can't be passed on, and sets `is_done` and `finish_reason`.
    """

    __slots__ = ("_head", "_splitter", "error", "events", "finish_reason", "is_done", "text_bytes")

    def __init__(self, max_event_bytes: int) -> None:
        self._splitter = EventSplitter(max_event_bytes)
        self._head = StreamHead(max_event_bytes)
        self.events = 0
        self.error: DialectError | None = None
        self.finish_reason = ""
        self.is_done = False
        self.text_bytes = 0

    @abstractmethod
    def read_event(self, event: bytes) -> bytes:
        """Return the client's bytes for an event of any kind. Raise DialectError."""

    @abstractmethod
    def read_whole(self, body: bytes) -> bytes:
        """Return the client's bytes for a whole answer in place of a stream. Raise DialectError."""

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the upstream's: whole events only.

        What can't be passed on is left in `error`, and what came before it is returned.
        """
        passed_on = b""
        try:
            if not self._head.is_stream:
                data = self._head.feed(data)
                # The pieces of a whole answer show that the upstream is at work.
                self.events += self._head.is_whole
            for event in self._splitter.feed(data):
                passed_on += self.read_event(event)
        except OversizedEventError:
            self.error = DialectError("bad_answer", "an event of the stream is too long")
        except DialectError as error:
            self.error = error
        return passed_on

    def read_rest(self) -> bytes:
        """Return what an unfinished last event makes, after the upstream's last byte."""
        if self._head.is_whole:
            return self.read_whole(bytes(self._head.body))
        return self.read_event(self._splitter.rest()) if not self.is_done else b""


def named_event(name: str, data: bytes) -> bytes:
    """Return an event with its name in a line of its own, and its data in one line."""
    if b"\n" in data:
        data = _encode(_decode_anything(data))
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"

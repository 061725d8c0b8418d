"""What readers of streams share whose events all are JSON with a `type`."""

from abc import ABC, abstractmethod

import msgspec

from api.dialects.base import DialectError
from api.dialects.sse import EventSplitter, OversizedEventError, data_of, without_bom

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class EventReader(ABC):
    """Reads one attempt's stream, event by event.

    A subclass reads the data of one event (`read_data`), raises DialectError for what can't be
    passed on, and sets `is_done` and `finish_reason`.
    """

    __slots__ = ("_splitter", "_start", "error", "events", "finish_reason", "is_done", "text_bytes")

    def __init__(self, max_event_bytes: int) -> None:
        self._splitter = EventSplitter(max_event_bytes)
        self._start: bytes | None = b""
        self.events = 0
        self.error: DialectError | None = None
        self.finish_reason = ""
        self.is_done = False
        self.text_bytes = 0

    @abstractmethod
    def read_data(self, data: bytes) -> bytes:
        """Return the client's bytes for one event's data. Raise DialectError."""

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the upstream's: whole events only.

        What can't be passed on is left in `error`, and what came before it is returned.
        """
        passed_on = b""
        if self._start is not None:
            data = self._begin(data)
        try:
            for event in self._splitter.feed(data):
                passed_on += self._read(event)
        except OversizedEventError:
            self.error = DialectError("bad_answer", "an event of the stream is too long")
        except DialectError as error:
            self.error = error
        return passed_on

    def _begin(self, data: bytes) -> bytes:
        """Return a stream's first bytes without a byte order mark, once it has a few."""
        start = without_bom((self._start or b"") + data)
        self._start = (self._start or b"") + data if start is None else None
        return start or b""

    def read_rest(self) -> bytes:
        """Return what an unfinished last event makes, after the upstream's last byte."""
        return self._read(self._splitter.rest()) if not self.is_done else b""

    def _read(self, event: bytes) -> bytes:
        data = data_of(event)
        return self.read_data(data) if data and not self.is_done else b""


def named_event(name: str, data: bytes) -> bytes:
    """Return an event with its name in a line of its own, and its data in one line."""
    if b"\n" in data:
        data = _encode(_decode_anything(data))
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"

"""Server-sent events (WHATWG HTML, 9.2): bytes in, complete events out, wherever they are split."""

MAX_EVENT_BYTES = 4 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class OversizedEventError(Exception):
    """An event is longer than we keep."""


class EventSplitter:
    """Puts the events of one stream together. Lines may end in LF, CR LF or CR."""

    __slots__ = ("_buffer", "_held_return", "_max_event_bytes", "_searched")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._held_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that the chunk completes, without the blank lines that end them.

        Raise OversizedEventError.
        """
        if b"\r" not in chunk and not self._held_return:
            # By far the most common: whole events, and nothing left over from before.
            if chunk.endswith(b"\n\n") and not self._buffer:
                return chunk[:-2].split(b"\n\n")
        else:
            chunk = self._with_plain_line_ends(chunk)
        self._buffer += chunk
        end = self._buffer.rfind(b"\n\n", max(0, self._searched - 1))
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > self._max_event_bytes:
                raise OversizedEventError
            return []
        events = bytes(self._buffer[:end]).split(b"\n\n")
        del self._buffer[: end + 2]
        self._searched = 0
        return events

    def rest(self) -> bytes:
        """Return what came after the last blank line: an event, if the stream ended politely."""
        return bytes(self._buffer)

    def _with_plain_line_ends(self, chunk: bytes) -> bytes:
        """Return the chunk with LF for every line end.

        A CR at the end is held back: an LF after it in the next chunk belongs to it.
        """
        if self._held_return:
            chunk = b"\r" + chunk
        self._held_return = chunk.endswith(b"\r")
        if self._held_return:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(event: bytes) -> bytes:
    """Return an event's data, or nothing for a comment."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> bytes:
    """Return an event's name, or nothing where it has none."""
    return next(reversed(_values(event, b"event")), b"")


def without_bom(start: bytes) -> bytes | None:
    """Return a stream's first bytes without a byte order mark; None if they may be half of one."""
    if len(start) < len(BOM) and BOM.startswith(start):
        return None
    return start.removeprefix(BOM)


def _values(event: bytes, field: bytes) -> list[bytes]:
    """Return the values of an event's fields of one name. A line without a colon has none."""
    prefix = field + b":"
    return [
        line[len(prefix) :].removeprefix(b" ")
        for line in event.split(b"\n")
        if line.startswith(prefix)
    ]

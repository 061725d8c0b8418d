"""Server-sent events in a script's spelling, and a planned answer as a stream of them.

Each dialect's stream is a subclass of `EventStream` in the module named after it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from simulator.answer import Choice, PlannedAnswer, Unit
from simulator.errors import SimulatedError
from simulator.script import Script

Json = dict[str, Any]

# Stands where an event's text goes, until the template is cut there.
SLOT = "\x00"
_QUOTED_SLOT = json.dumps(SLOT)


class Chunk(NamedTuple):
    """The bytes of one event, and the tokens in it."""

    data: bytes
    tokens: int


class Group(NamedTuple):
    """Neighbouring units of one choice and field that travel in one event."""

    choice: Choice
    units: list[Unit]

    @property
    def tokens(self) -> int:
        """Return the tokens in it: units worth nothing travel alone."""
        return len(self.units) if self.units[0].tokens else 0

    @property
    def text(self) -> str:
        """Return the text of all its units."""
        return "".join(unit.text for unit in self.units)


class Template(NamedTuple):
    """The bytes of an event before and after its text, encoded once for many of them."""

    head: bytes
    tail: bytes

    def filled(self, text: str) -> bytes:
        """Return the event with this text."""
        return self.head + encode_basestring_ascii(text).encode() + self.tail


class Events:
    """Server-sent events in a script's spelling."""

    def __init__(self, script: Script) -> None:
        self._separators = (", ", ": ") if script.spaces else (",", ":")
        self._space = "" if script.tight else " "
        self._names = script.names
        self._line_end = "\r\n" if script.crlf else "\n"
        self.comment = f": waiting{self._line_end * 2}".encode()
        self.done = self.raw("[DONE]") if script.done else b""

    def raw(self, text: str, name: str = "") -> bytes:
        """Return an event of this text, with a line for its name if it has one."""
        named = f"event:{self._space}{name}{self._line_end}" if name and self._names else ""
        return f"{named}data:{self._space}{text}{self._line_end * 2}".encode()

    def of(self, body: Json, name: str = "") -> bytes:
        """Return an event of this JSON."""
        return self.raw(json.dumps(body, separators=self._separators), name)

    def template(self, body: Json, name: str = "") -> Template:
        """Return the event cut open at the slot."""
        # The last one: a model may be named as it likes, the texts come after it.
        head, _, tail = self.of(body, name).decode().rpartition(_QUOTED_SLOT)
        return Template(head.encode(), tail.encode())


class EventStream(ABC):
    """One answer as a stream, in the order of its methods."""

    def __init__(self, answer: PlannedAnswer, script: Script) -> None:
        self.answer = answer
        self.script = script
        self.events = Events(script)

    @property
    def keepalive(self) -> bytes:
        """Return what is sent every 200 ms of waiting, or nothing."""
        return self.events.comment if self.script.comments else b""

    def lead_in(self) -> bytes:
        """Return what is sent before any waiting; nothing unless something keeps alive."""
        return self.keepalive

    @abstractmethod
    def opening(self) -> bytes:
        """Return the events before the first token."""

    @abstractmethod
    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the events with text, and stop after exactly `limit` tokens if there is one."""

    @abstractmethod
    def closing(self) -> bytes:
        """Return the events after the last token."""

    @abstractmethod
    def error(self, error: SimulatedError) -> bytes:
        """Return an error event."""


def grouped(choice: Choice, size: int, first: int = 0) -> Iterator[Group]:
    """Yield runs of at most `size` tokens of one field and call, from a choice's unit `first` on.

    A unit worth nothing goes alone.
    """
    run: list[Unit] = []
    for unit in choice.units[first:]:
        if run and (
            len(run) == size
            or run[0].field != unit.field
            or run[0].call != unit.call
            or not unit.tokens
        ):
            yield Group(choice, run)
            run = []
        run.append(unit)
        if not unit.tokens:
            yield Group(choice, run)
            run = []
    if run:
        yield Group(choice, run)


def limited(groups: Iterable[Group], limit: int | None) -> Iterator[Group]:
    """Yield the groups up to exactly `limit` tokens; a group may be cut."""
    left = limit
    for group in groups:
        if left is None:
            yield group
            continue
        if left <= 0:
            return
        kept = Group(group.choice, group.units[:left]) if group.tokens else group
        left -= kept.tokens
        yield kept

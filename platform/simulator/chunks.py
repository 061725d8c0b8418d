"""A planned answer as the events of a stream.

Events that differ only in their text share a template that is encoded once: 100 streams of 50
chunks a second are then mostly the server's work, not JSON's.
"""

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from simulator import usage
from simulator.answer import ARGUMENTS, CALL, Choice, PlannedAnswer, Unit
from simulator.script import Script

Json = dict[str, Any]

# Stands where a chunk's text goes, until the template is cut there.
_SLOT = "\x00"
_QUOTED_SLOT = json.dumps(_SLOT)


class Chunk(NamedTuple):
    """The bytes of one event, and the tokens in it."""

    data: bytes
    tokens: int


class Group(NamedTuple):
    """Neighbouring units of one choice and field that travel in one chunk."""

    choice: Choice
    units: list[Unit]


class Events:
    """Server-sent events in a script's spelling."""

    def __init__(self, script: Script) -> None:
        self._separators = (", ", ": ") if script.spaces else (",", ":")
        self._prefix = "data:" if script.tight else "data: "
        line_end = "\r\n" if script.crlf else "\n"
        self.end = line_end * 2
        self.comment = f": waiting{self.end}".encode()
        self.done = self.raw("[DONE]") if script.done else b""

    def raw(self, text: str) -> bytes:
        """Return an event of this text."""
        return f"{self._prefix}{text}{self.end}".encode()

    def of(self, body: Json) -> bytes:
        """Return an event of this JSON."""
        return self.raw(json.dumps(body, separators=self._separators))

    def template(self, body: Json) -> tuple[bytes, bytes]:
        """Return what stands before and after the slot's quoted text."""
        # The last one: a model may be named as it likes, the texts come after it.
        head, _, tail = self.of(body).decode().rpartition(_QUOTED_SLOT)
        return head.encode(), tail.encode()


class Chunks(ABC):
    """The events of one answer; each endpoint adds its own shapes."""

    kind = ""
    id_prefix = ""

    def __init__(self, answer: PlannedAnswer, script: Script, *, usage_asked: bool) -> None:
        self.answer = answer
        self.script = script
        self.events = Events(script)
        sent = usage.is_sent(script, usage_asked)
        self._usage_place = script.usage.place if sent else ""
        self._head: Json = {
            "id": f"{self.id_prefix}{answer.number:08d}",
            "object": self.kind,
            "created": answer.created,
            "model": answer.model,
        }
        self._templates: dict[tuple[int, str], tuple[bytes, bytes]] = {}

    @abstractmethod
    def opening_choices(self, choice: Choice) -> list[Json]:
        """Return what comes before a choice's first text."""

    @abstractmethod
    def text_choice(self, choice: Choice, field: str, text: str) -> Json:
        """Return a piece of a choice's text."""

    @abstractmethod
    def closing_choice(self, choice: Choice) -> Json:
        """Return what tells a choice's finish reason."""

    def opening(self) -> bytes:
        """Return the events before the first token."""
        bodies = [
            self._body([opening])
            for choice in self.answer.choices
            for opening in self.opening_choices(choice)
        ]
        if self._usage_place == "early":
            bodies = bodies or [self._body([])]
            bodies[0]["usage"] = self._usage()
        return b"".join(map(self.events.of, bodies))

    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the chunks with text, and stop after exactly `limit` tokens if there is one."""
        sent = 0
        for group in self._groups():
            units = group.units
            if limit is not None:
                if sent >= limit:
                    return
                units = units[: limit - sent] if units[0].tokens else units
            tokens = len(units) if units[0].tokens else 0
            sent += tokens
            text = "".join(unit.text for unit in units)
            yield Chunk(self._text_event(group.choice, units[0].field, text, sent), tokens)

    def closing(self) -> bytes:
        """Return the events after the last token: finish reasons, usage, `[DONE]`."""
        place = self._usage_place
        bodies = [
            self._body([self.closing_choice(choice)])
            for choice in self.answer.choices
            if choice.finish is not None or place == "last_chunk"
        ]
        if place == "last_chunk":
            bodies[-1]["usage"] = self._usage()
        own_events = {"late": 1, "twice": 2, "running": 1}.get(place, 0)
        bodies += [self._body([]) | {"usage": self._usage()} for _ in range(own_events)]
        return b"".join(map(self.events.of, bodies)) + self.events.done

    def error(self, body: Json) -> bytes:
        """Return an error event."""
        return self.events.of(body)

    def _groups(self) -> Iterator[Group]:
        """Yield the chunks' units, the choices taking turns."""
        size = self.script.chunk_tokens
        lanes = [_grouped(choice, size) for choice in self.answer.choices]
        if len(lanes) == 1:
            return lanes[0]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*lanes))
        return (group for group in turns if group is not None)

    def _text_event(self, choice: Choice, field: str, text: str, sent: int) -> bytes:
        if self._usage_place == "running":
            counts = self.answer.counts._replace(completion=sent)
            body = self._body([self.text_choice(choice, field, text)])
            return self.events.of(body | {"usage": usage.usage_object(counts, self.script)})
        template = self._templates.get((choice.index, field))
        if template is None:
            body = self._body([self.text_choice(choice, field, _SLOT)])
            template = self._templates[choice.index, field] = self.events.template(body)
        head, tail = template
        return head + encode_basestring_ascii(text).encode() + tail

    def _body(self, choices: list[Json]) -> Json:
        nulls: Json = {"usage": None} if self.script.usage.nulls else {}
        return self._head | {"choices": choices} | nulls

    def _usage(self) -> Any:
        return usage.usage_object(self.answer.counts, self.script)


class ChatChunks(Chunks):
    """`chat.completion.chunk` events."""

    kind = "chat.completion.chunk"
    id_prefix = "chatcmpl-sim-"

    def opening_choices(self, choice: Choice) -> list[Json]:
        """Return the delta with the role; without reasoning it also opens the tool call."""
        delta: Json = {"role": "assistant", "content": None if choice.function else ""}
        if choice.function and not choice.reasoning:
            delta |= _call_opening(choice, choice.function)
        return [_delta(choice, delta)]

    def text_choice(self, choice: Choice, field: str, text: str) -> Json:
        """Return a delta with text in one of its fields."""
        if field == CALL:
            return _delta(choice, _call_opening(choice, text))
        if field == ARGUMENTS:
            return _delta(choice, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
        return _delta(choice, {field: text})

    def closing_choice(self, choice: Choice) -> Json:
        """Return the empty delta with the finish reason."""
        return _delta(choice, {}, choice.finish)


class TextChunks(Chunks):
    """`text_completion` events of the legacy endpoint."""

    kind = "text_completion"
    id_prefix = "cmpl-sim-"

    def opening_choices(self, choice: Choice) -> list[Json]:
        """Return nothing: the legacy stream begins with its text."""
        return []

    def text_choice(self, choice: Choice, field: str, text: str) -> Json:
        """Return a piece of text."""
        return _text(choice, text, None)

    def closing_choice(self, choice: Choice) -> Json:
        """Return the empty text with the finish reason."""
        return _text(choice, "", choice.finish)


def _call_opening(choice: Choice, name: str) -> Json:
    function = {"name": name, "arguments": ""}
    return {
        "tool_calls": [{"index": 0, "id": choice.call_id, "type": "function", "function": function}]
    }


def _delta(choice: Choice, delta: Json, finish: str | None = None) -> Json:
    return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text(choice: Choice, text: str, finish: str | None) -> Json:
    return {"text": text, "index": choice.index, "logprobs": None, "finish_reason": finish}


def _grouped(choice: Choice, size: int) -> Iterator[Group]:
    """Yield runs of at most `size` tokens of one field; a unit worth nothing goes alone."""
    run: list[Unit] = []
    for unit in choice.units:
        if run and (len(run) == size or run[0].field != unit.field or not unit.tokens):
            yield Group(choice, run)
            run = []
        run.append(unit)
        if not unit.tokens:
            yield Group(choice, run)
            run = []
    if run:
        yield Group(choice, run)

"""The events of OpenAI's older streams: chat completions and legacy completions.

Events that differ only in their text share a template that is encoded once: 100 streams of 50
chunks a second are then mostly the server's work, not JSON's.
"""

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from simulator import usage
from simulator.answer import ARGUMENTS, CALL, REASONING, Choice, PlannedAnswer, Unit
from simulator.errors import SimulatedError, error_body
from simulator.events import SLOT, Chunk, EventStream, Group, Json, Template, grouped, limited
from simulator.script import Script


class Chunks(EventStream):
    """The events of one answer; each endpoint adds its own shapes."""

    kind = ""
    id_prefix = ""

    def __init__(self, answer: PlannedAnswer, script: Script, *, usage_asked: bool) -> None:
        super().__init__(answer, script)
        sent = usage.is_sent(script, usage_asked)
        self._usage_place = script.usage.place if sent else ""
        self._head: Json = {
            "id": f"{self.id_prefix}{answer.number:08d}",
            "object": self.kind,
            "created": answer.created,
            "model": answer.model,
        }
        self._templates: dict[tuple[int, str, int], Template] = {}

    @abstractmethod
    def opening_choices(self, choice: Choice) -> list[Json]:
        """Return what comes before a choice's first text."""

    @abstractmethod
    def text_choice(self, choice: Choice, unit: Unit) -> Json:
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
        for group in limited(self._groups(), limit):
            sent += group.tokens
            yield Chunk(self._text_event(group, sent), group.tokens)

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

    def error(self, error: SimulatedError) -> bytes:
        """Return an error event."""
        return self.events.of(error_body(error))

    def first_unit(self, choice: Choice) -> int:
        """Return which of a choice's units is the first that has an event of its own."""
        return 0

    def _groups(self) -> Iterator[Group]:
        """Yield the chunks' units, the choices taking turns."""
        size = self.script.chunk_tokens
        lanes = [grouped(choice, size, self.first_unit(choice)) for choice in self.answer.choices]
        if len(lanes) == 1:
            return lanes[0]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*lanes))
        return (group for group in turns if group is not None)

    def _text_event(self, group: Group, sent: int) -> bytes:
        choice, unit = group.choice, group.units[0]
        if self._usage_place == "running":
            counts = self.answer.counts._replace(completion=sent)
            body = self._body([self.text_choice(choice, unit._replace(text=group.text))])
            return self.events.of(body | {"usage": usage.usage_object(counts, self.script)})
        key = (choice.index, unit.field, unit.call)
        template = self._templates.get(key)
        if template is None:
            body = self._body([self.text_choice(choice, unit._replace(text=SLOT))])
            template = self._templates[key] = self.events.template(body)
        return template.filled(group.text)

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
        delta: Json = {"role": "assistant", "content": None if choice.calls else ""}
        if choice.opens_with_call:
            delta |= _call_opening(choice, 0)
        return [_delta(choice, delta)]

    def first_unit(self, choice: Choice) -> int:
        """Skip the call that is opened together with the role."""
        return 1 if choice.opens_with_call else 0

    def text_choice(self, choice: Choice, unit: Unit) -> Json:
        """Return a delta with text in one of its fields."""
        if unit.field == CALL:
            return _delta(choice, _call_opening(choice, unit.call, unit.text))
        if unit.field == ARGUMENTS:
            function = {"arguments": unit.text}
            return _delta(choice, {"tool_calls": [{"index": unit.call, "function": function}]})
        field = self.script.dialect if unit.field == REASONING else unit.field
        return _delta(choice, {field: unit.text})

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

    def text_choice(self, choice: Choice, unit: Unit) -> Json:
        """Return a piece of text."""
        return _text(choice, unit.text, None)

    def closing_choice(self, choice: Choice) -> Json:
        """Return the empty text with the finish reason."""
        return _text(choice, "", choice.finish)


def _call_opening(choice: Choice, place: int, name: str | None = None) -> Json:
    call = choice.calls[place]
    function = {"name": call.name if name is None else name, "arguments": ""}
    return {
        "tool_calls": [{"index": place, "id": call.id, "type": "function", "function": function}]
    }


def _delta(choice: Choice, delta: Json, finish: str | None = None) -> Json:
    return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text(choice: Choice, text: str, finish: str | None) -> Json:
    return {"text": text, "index": choice.index, "logprobs": None, "finish_reason": finish}

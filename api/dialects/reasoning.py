"""Reasoning, read from upstreams in any dialect and given as the surface gives it.

Upstreams put reasoning into `reasoning`, into `reasoning_content`, or between `<think>` tags at the
start of the content (`Route.reasoning_dialect`; the two fields are told apart by themselves). A
surface has one of the fields, or none: then the answer alone is in `content`, and the reasoning is
there where the model gave no answer.

What comes in the surface's own field isn't touched. Where only the field's name differs, the name
is replaced in the bytes; all else is decoded and re-encoded.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Any, Literal, Protocol

from api.dialects.base import DialectError
from api.dialects.think_tags import OPENING, ThinkSplitter

Field = Literal["reasoning", "reasoning_content"] | None
Json = dict[str, Any]

# Other forms of the same, which go with it.
_DETAILS = "reasoning_details"
_FIELDS = ("reasoning", "reasoning_content", _DETAILS)
_MARK = b'"reasoning'
# Reasoning that is held back for want of an answer is bounded like an event is.
MAX_WITHHELD_CHARS = 4 * 1024 * 1024


def foreign_field(field: Field) -> Literal["reasoning", "reasoning_content"]:
    """Return the name that upstreams may use in place of the surface's."""
    return "reasoning_content" if field == "reasoning" else "reasoning"


class _ChoiceState:
    """One choice of a stream. `withheld` waits for the end, in case no answer comes."""

    __slots__ = ("has_role", "is_answered", "splitter", "withheld")

    def __init__(self, *, is_tagged: bool) -> None:
        self.splitter = ThinkSplitter() if is_tagged else None
        self.withheld: StringIO | None = None
        self.is_answered = False
        self.has_role = False


class StreamTranslator:
    """Translates the reasoning in one stream's chunks.

    `foreign` is the field of a delta that makes a chunk concern us; `is_alert` says that others
    may too, and `concerns` has to be asked.
    """

    __slots__ = (
        "_choices",
        "_field",
        "_is_tagged",
        "_ours",
        "_states",
        "_theirs",
        "foreign",
        "is_alert",
    )

    def __init__(self, field: Field, *, is_tagged: bool, choices: int = 1) -> None:
        """`choices` is how many the stream has at most, `is_tagged` that it may have tags."""
        self._field = field
        self._is_tagged = is_tagged
        self._choices = choices
        self._states: dict[int, _ChoiceState] = {}
        self.foreign = foreign_field(field)
        self.is_alert = is_tagged or field is None
        self._theirs = f'"{self.foreign}":'.encode()
        self._ours = f'"{field}"'.encode()

    def renamed(self, data: bytes) -> bytes | None:
        """Return a chunk's bytes with the surface's name for the field; None if that isn't safe.

        Quotes inside of JSON strings are escaped, so a quoted name and a colon are a member and
        nothing else; where there is one, and none of the other name, it can only be the delta's.
        """
        if self.is_alert or data.count(self._theirs) != 1 or self._ours in data:
            return None
        return data.replace(self._theirs, self._ours + b":", 1)

    def concerns(self, data: bytes) -> bool:
        """Return whether a chunk without the foreign field must be translated all the same."""
        return self._is_tagged or _MARK in data or any(map(_is_waiting, self._states.values()))

    def translate(self, chunk: Json) -> list[Json]:
        """Return the chunks that a decoded chunk becomes, which may be none; changes it.

        Raise DialectError for more reasoning than can be held back.
        """
        events: list[Json] = []
        kept = []
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta")
            if delta is None:
                kept.append(choice)
                continue
            index = choice.get("index") or 0
            state = self._states.get(index)
            if state is None:
                state = self._states[index] = _ChoiceState(is_tagged=self._is_tagged)
            is_changed = self._translate(delta, state)
            says_anything = _says_anything(delta, state)
            finishes = bool(choice.get("finish_reason"))
            if finishes and (late := self._take_rest(state)):
                if says_anything:
                    _add(delta, late)
                else:
                    # The last delta is an empty one, as clients know it.
                    events.append(_event(chunk, index, late))
            if finishes or says_anything or not is_changed:
                kept.append(choice)
            state.has_role = state.has_role or bool(delta.get("role"))
        if self._is_tagged:
            self._see_whether_tags_may_come()
        if kept or not chunk.get("choices"):
            events.append({**chunk, "choices": kept})
        return events

    def rest(self, chunk: Json) -> list[Json]:
        """Return the chunks for what was held back to the stream's end.

        `chunk` is a decoded chunk of the same stream, to take id and the like from.
        """
        late = {index: self._take_rest(state) for index, state in self._states.items()}
        return [_event(chunk, index, delta) for index, delta in late.items() if delta]

    def _translate(self, delta: Json, state: _ChoiceState) -> bool:
        """Put a delta's reasoning where it belongs. Return whether the delta was changed."""
        reasoning, is_changed = _take_reasoning(delta, self._field)
        content = delta.get("content")
        if state.splitter is not None and content:
            reasoning_text, content_text = state.splitter.feed(content)
            if content_text != content:
                is_changed = True
                reasoning += reasoning_text
                if content_text:
                    delta["content"] = content_text
                else:
                    del delta["content"]
        if reasoning and self._field is not None:
            _add(delta, {self._field: reasoning})
        elif reasoning and not state.is_answered:
            _withhold(state, reasoning)
        if not state.is_answered and _answers(delta):
            state.is_answered = True
            state.withheld = None
        return is_changed

    def _take_rest(self, state: _ChoiceState) -> Json:
        """Return a delta of what was held back of a choice, or an empty one."""
        reasoning_text, content_text = (
            state.splitter.rest() if state.splitter is not None else ("", "")
        )
        if content_text:
            state.is_answered = True
            return {"content": content_text}
        if self._field is not None:
            return {self._field: reasoning_text} if reasoning_text else {}
        withheld = (
            state.withheld.getvalue() if state.withheld is not None else ""
        ) + reasoning_text
        state.withheld = None
        if state.is_answered or not withheld:
            return {}
        state.is_answered = True
        return {"content": withheld}

    def _see_whether_tags_may_come(self) -> None:
        """Let chunks pass once each choice has begun its answer proper."""
        splitters = [state.splitter for state in self._states.values()]
        begun = sum(splitter is not None and not splitter.is_open for splitter in splitters)
        if begun >= self._choices:
            self._is_tagged = False
            self.is_alert = self._field is None


def translate_message(message: Json, field: Field, *, is_tagged: bool) -> None:
    """Put the reasoning of a whole answer's message where the surface has it; changes it."""
    reasoning, _ = _take_reasoning(message, field)
    content = message.get("content")
    if is_tagged and isinstance(content, str):
        splitter = ThinkSplitter()
        reasoning_text, content_text = splitter.feed(content)
        reasoning_tail, content_tail = splitter.rest()
        reasoning += reasoning_text + reasoning_tail
        message["content"] = content_text + content_tail
    if reasoning and field is not None:
        message[field] = reasoning
    elif reasoning and not _answers(message):
        message["content"] = reasoning


class AnsweredChoice(Protocol):
    """A choice of a whole answer, as far as reasoning goes."""

    @property
    def message(self) -> Any:
        """The message, with `content`, `reasoning` and `reasoning_content`, or None."""


def needs_translation(
    body: bytes, choices: Iterable[AnsweredChoice], field: Field, *, is_tagged: bool
) -> bool:
    """Return whether the choices of a whole answer, whose JSON is `body`, must be translated."""
    if field is None and _MARK in body:
        return True
    foreign = foreign_field(field)
    for choice in choices:
        message = choice.message
        if message is None:
            continue
        if getattr(message, foreign):
            return True
        if is_tagged and isinstance(message.content, str) and OPENING in message.content:
            return True
    return False


def _take_reasoning(message: Json, field: Field) -> tuple[str, bool]:
    """Take the reasoning out of a delta or message that the surface would have elsewhere.

    Return the text, from whichever field has it, and whether anything was taken out.
    """
    if field is not None:
        foreign = foreign_field(field)
        if foreign not in message:
            return "", False
        text, own = message.pop(foreign), message.get(field)
        # Some say it in both fields at once.
        return (text if isinstance(text, str) and not own else ""), True
    names = [name for name in _FIELDS if name in message]
    texts = [text for name in names if isinstance(text := message.pop(name), str)]
    return next(filter(None, texts), ""), bool(names)


def _answers(message: Json) -> bool:
    """Return whether a delta or message has a part of an answer."""
    return any(map(message.get, ("content", "tool_calls", "function_call", "refusal", "audio")))


def _says_anything(delta: Json, state: _ChoiceState) -> bool:
    """Return whether something is left of a delta: not only a role that was told before."""
    return any(value and (name != "role" or not state.has_role) for name, value in delta.items())


def _is_waiting(state: _ChoiceState) -> bool:
    return state.withheld is not None


def _withhold(state: _ChoiceState, reasoning: str) -> None:
    if state.withheld is None:
        state.withheld = StringIO()
    state.withheld.write(reasoning)
    if state.withheld.tell() > MAX_WITHHELD_CHARS:
        raise DialectError("bad_answer", "the reasoning is too long to be held back")


def _add(delta: Json, more: Json) -> None:
    """Add texts at the end of a delta's own."""
    for name, text in more.items():
        delta[name] = (delta.get(name) or "") + text


def _event(chunk: Json, index: int, delta: Json) -> Json:
    """Return a chunk like the given one that brings one delta."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    return {**chunk, "choices": [choice]}

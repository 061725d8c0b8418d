"""A whole completion, put together from its chunks."""

from collections.abc import Iterable
from typing import Any, ClassVar

from api.dialects.assembly import BaseAssembler, collecting_context
from api.dialects.base import AnswerContext
from api.dialects.openai_chat.stream import CompletionStreamReader, TextStreamReader

Json = dict[str, Any]

# Reasoning that comes in pieces, as OpenRouter has it: these members of one detail add up.
_DETAIL_TEXTS = ("text", "summary", "data")


class CompletionAssembler(BaseAssembler):
    """Collects the chunks of a chat completion."""

    make_reader: ClassVar[type[CompletionStreamReader]] = CompletionStreamReader
    object: ClassVar[str] = "chat.completion"

    def __init__(self, context: AnswerContext) -> None:
        reader = self.make_reader(collecting_context(context))
        super().__init__(reader, context.max_event_bytes)
        self._evidence = reader.evidence
        self._top: Json = {}
        self._choices: dict[int, _Choice] = {}

    def take(self, event: Json) -> None:
        """Keep what a chunk brings."""
        for name, value in event.items():
            if name not in {"choices", "object"} and value is not None:
                self._top[name] = value
        for part in event["choices"]:
            index = part["index"]
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice()
            choice.take(part)

    def whole(self) -> Json:
        """Return the completion."""
        choices = [
            {"index": index, **self._choices[index].whole()} for index in sorted(self._choices)
        ]
        answer = {**self._top, "object": self.object, "choices": choices}
        if self._evidence.figures:
            answer["usage"] = self._evidence.figures
        return answer


class TextAssembler(CompletionAssembler):
    """Collects the chunks of a legacy completion."""

    make_reader = TextStreamReader
    object = "text_completion"


class _Choice:
    """One of the answers. Texts are kept in pieces, and joined once."""

    def __init__(self) -> None:
        self._message: Json = {}
        self._calls: dict[int, Json] = {}
        self._details: list[Json] = []
        self._logprobs: Json | None = None
        self._others: Json = {}
        self._is_text = False

    def take(self, part: Json) -> None:
        """Keep what a chunk adds."""
        for name, value in part.items():
            if name == "delta":
                for member, addition in value.items():
                    self._take_member(member, addition)
            elif name == "text":
                self._is_text = True
                _extend(self._message, "text", value)
            elif name == "logprobs":
                self._take_logprobs(value)
            elif name != "index" and value is not None:
                self._others[name] = value

    def _take_member(self, name: str, value: Any) -> None:
        """Keep what a delta adds to one member of the message."""
        message = self._message
        if value is None:
            message.setdefault(name, None)
        elif name == "role":
            message["role"] = value
        elif name == "tool_calls":
            for call in value:
                _add_call(self._calls.setdefault(call.get("index") or 0, {}), call)
        elif name == "reasoning_details":
            self._add_details(value)
        elif isinstance(value, str):
            _extend(message, name, value)
        elif isinstance(value, dict):
            if not isinstance(message.get(name), dict):
                message[name] = {}
            _add_parts(message[name], value)
        elif isinstance(value, list) and isinstance(known := message.get(name), list):
            known += value
        else:
            message[name] = value

    def _add_details(self, details: Any) -> None:
        for detail in details if isinstance(details, list) else ():
            if not isinstance(detail, dict):
                continue
            last = self._details[-1] if self._details else {}
            if all(last.get(name) == detail.get(name) for name in ("type", "index")) and last:
                for name, value in detail.items():
                    if name in _DETAIL_TEXTS and isinstance(value, str):
                        _extend(last, name, value)
                    elif value is not None:
                        last[name] = value
            else:
                self._details.append({})
                _add_parts(self._details[-1], detail, texts=_DETAIL_TEXTS)

    def _take_logprobs(self, logprobs: Any) -> None:
        if not isinstance(logprobs, dict):
            return
        if self._logprobs is None:
            self._logprobs = {}
        for name, value in logprobs.items():
            known = self._logprobs.get(name)
            if isinstance(known, list) and isinstance(value, list):
                known += value
            elif value is not None or name not in self._logprobs:
                self._logprobs[name] = value

    def whole(self) -> Json:
        """Return the choice, without its index."""
        message = _joined(self._message)
        calls = [
            {name: value for name, value in _joined(self._calls[index]).items() if name != "index"}
            for index in sorted(self._calls)
        ]
        others = {"logprobs": self._logprobs, **self._others}
        others.setdefault("finish_reason", "tool_calls" if calls else "stop")
        if self._is_text:
            return {"text": message.get("text") or "", **others}
        if calls:
            message["tool_calls"] = calls
        if self._details:
            message["reasoning_details"] = [_joined(detail) for detail in self._details]
        has_answered = calls or message.get("function_call") or message.get("refusal")
        content = message.get("content")
        message["content"] = (content or None) if has_answered else content
        return {"message": {"role": "assistant", **message}, **others}


class _Text(list[str]):
    """A text in pieces."""


def _extend(holder: dict[str, Any], name: str, piece: str) -> None:
    """Add a piece to a member that is a text."""
    text = holder.get(name)
    if isinstance(text, _Text):
        text.append(piece)
    else:
        holder[name] = _Text((piece,))


def _add_parts(holder: Json, parts: Json, texts: Iterable[str] | None = None) -> None:
    """Add what a part of an object brings: texts go on, all else is put in its place.

    Those named in `texts` go on, or the ones that stream: arguments, sound and what is said in it.
    """
    for name, value in parts.items():
        if isinstance(value, str) and name in (texts or _PIECES):
            _extend(holder, name, value)
        elif value or name not in holder:
            holder[name] = value


_PIECES = ("arguments", "input", "data", "transcript")


def _add_call(call: Json, part: Json) -> None:
    """Add what a part of a tool's call brings. Its name and id come once, if in every part."""
    for name, value in part.items():
        if name in {"function", "custom"} and isinstance(value, dict):
            _add_parts(call.setdefault(name, {}), value)
        elif value or name not in call:
            call[name] = value
    call.setdefault("type", "custom" if "custom" in call else "function")


def _joined(holder: Json) -> Json:
    """Return an object with its texts in one piece each, at any depth."""
    joined: Json = {}
    for name, value in holder.items():
        if isinstance(value, _Text):
            joined[name] = "".join(value)
        elif isinstance(value, dict):
            joined[name] = _joined(value)
        else:
            joined[name] = value
    return joined

"""Bring odd answers into OpenAI's dialect, drop what is no part of one, or call it an error.

The readers decode an event or an answer strictly, and success proves that its bytes may pass. What
fails comes here: it becomes JSON that the strict decoder takes, or nothing (a ping, a keep-alive, a
comment that was sent as data), or a DialectError (an error that the upstream reports in whatever
form, and what can't be read at all).
"""

import json
import re
import time
import uuid
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from api.dialects.base import DialectError
from api.dialects.error_bodies import report_of
from api.dialects.sse import BOM
from api.dialects.usage import UsageEvidence

Json = dict[str, Any]

FINISH_REASONS = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "function_call", None}
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SURROGATES = re.compile("[\ud800-\udfff]")
_HIGH_SURROGATES = ("\ud800", "\udbff")
# Keep-alives that some proxies send as an event's data.
_IDLE_WORDS = frozenset({b"ping", b"pong", b"keepalive", b"keep-alive", b"heartbeat"})
_NO_REASONS = frozenset({"", "null", "none"})
# Other providers' names for OpenAI's finish reasons; names that aren't here pass.
_REASONS = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
}
_LARGEST_LOGPROB = 9999.0


def decode_loosely(data: bytes) -> Any:
    """Return JSON that needn't be strict: with NaN, lone surrogates, raw control characters.

    Raise DialectError for what is no JSON.
    """
    data = data.strip().removeprefix(BOM)
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode(), strict=False, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise DialectError("bad_answer", f"no JSON: {data[:120]!r}") from None


def encode_safely(answer: Any) -> bytes:
    """Return JSON in UTF-8, with U+FFFD for half a surrogate pair. Raise DialectError."""
    try:
        return _encode(answer)
    except UnicodeEncodeError:
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return _SURROGATES.sub("\ufffd", text).encode()
    except (OverflowError, RecursionError, ValueError):
        raise DialectError("bad_answer", "a figure of the answer is out of range") from None


def is_idle(data: bytes) -> bool:
    """Return whether an event's data is a keep-alive rather than JSON."""
    return not data or data.startswith(b":") or data.lower() in _IDLE_WORDS


def raise_reported(answer: Any, event: bytes = b"") -> None:
    """Raise DialectError if an answer or an event of this name tells of an error.

    Upstreams do so in an `error` member, in OpenAI's older `{"object": "error"}`, in an `error`
    event, in `code` and `msg`, in `detail`, or in a choice.
    """
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        answer = answer[0]
    if not isinstance(answer, dict):
        if event == b"error":
            _raise_error(answer)
        raise DialectError("bad_answer", f"no object: {_encode(answer)[:120]!r}")
    if answer.get("error"):
        _raise_error(answer["error"])
    if event == b"error" or "error" in (answer.get("object"), answer.get("type")):
        _raise_error(answer)
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        for choice in choices:
            if isinstance(choice, dict) and (
                choice.get("error") or choice.get("finish_reason") == "error"
            ):
                _raise_error(choice.get("error") or "finish_reason: error")
    elif answer.get("detail") or answer.get("errors") or _is_coded_error(answer):
        _raise_error(answer)


def repaired_answer(answer: Json, *, is_text: bool, name: str) -> Json:
    """Return a decoded answer as a completion: of messages, or if `is_text` of texts."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise DialectError("bad_answer", "the answer has no choices")
    _gather_usage(answer)
    return {
        **_without_errors(answer),
        **_header(answer, "text_completion" if is_text else "chat.completion", name),
        "choices": [
            _choice(choice, place, "text" if is_text else "message")
            for place, choice in enumerate(choices)
            if isinstance(choice, dict)
        ],
    }


def as_chunks(answer: Json, *, is_text: bool) -> list[Json]:
    """Return the chunks of a stream that brings a whole completion."""
    header = {name: answer[name] for name in ("id", "created", "model")}
    header["object"] = "text_completion" if is_text else "chat.completion.chunk"
    chunks: list[Json] = []
    for choice in answer["choices"]:
        index, reason = choice["index"], choice.get("finish_reason")
        part: Json = {"text": choice["text"]} if is_text else {"delta": _as_delta(choice)}
        chunk = {"index": index, "logprobs": choice.get("logprobs"), **part, "finish_reason": None}
        chunks.append({**header, "choices": [chunk]})
        end: Json = {"text": ""} if is_text else {"delta": {}}
        chunks.append(
            {**header, "choices": [{"index": index, **end, "finish_reason": reason or "stop"}]}
        )
    if answer.get("usage"):
        chunks.append({**header, "choices": [], "usage": answer["usage"]})
    return chunks


class ChunkRepairer:
    """Repairs one stream's chunks, whose halves of surrogate pairs may come in two of them."""

    def __init__(self, name: str, *, is_text: bool) -> None:
        self._name = name
        self._is_text = is_text
        self._id = ""
        self._halves: dict[int, str] = {}

    def repair(self, data: bytes, event: bytes) -> bytes | None:
        """Return a chunk for an odd event's data, or None for what is no part of the answer.

        Raise DialectError for an error that it reports and for what can't be read.
        """
        data = data.strip()
        if is_idle(data):
            return None
        chunk = decode_loosely(data)
        raise_reported(chunk, event)
        _gather_usage(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            # Pings, keep-alives and `{}`; but usage may stand alone.
            if chunk.get("usage") is None:
                return None
            choices = []
        self._id = chunk.get("id") if isinstance(chunk.get("id"), str) else self._id
        kind = "text_completion" if self._is_text else "chat.completion.chunk"
        header = _header({**chunk, "id": self._id or None}, kind, self._name)
        self._id = header["id"]
        part = "text" if self._is_text else "delta"
        repaired = [
            _choice(choice, place, part)
            for place, choice in enumerate(choices)
            if isinstance(choice, dict)
        ]
        for choice in repaired:
            self._join_halves(choice)
        return encode_safely({**_without_errors(chunk), **header, "choices": repaired})

    def _join_halves(self, choice: Json) -> None:
        """Hold back the first half of a surrogate pair until its second comes."""
        holder, name = (choice, "text") if self._is_text else (choice["delta"], "content")
        text = holder.get(name)
        half = self._halves.pop(choice["index"], "")
        if not text or (not half and text.isascii()):
            return
        text = half + text
        if _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            self._halves[choice["index"]] = text[-1]
            text = text[:-1]
        # Two halves side by side are one character in UTF-16.
        holder[name] = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _constant(name: str) -> float | None:
    """Return the figure for what JSON can't say; OpenAI's least logprob is -9999."""
    return {"-Infinity": -_LARGEST_LOGPROB, "Infinity": _LARGEST_LOGPROB}.get(name)


def _raise_error(error: object) -> NoReturn:
    detail = f"the upstream reports an error: {_quoted(error)}"
    raise DialectError("error_event", detail, report_of(error))


def _quoted(error: object) -> str:
    return encode_safely(error)[:200].decode("utf-8", "replace")


def _is_coded_error(answer: Json) -> bool:
    """Return whether an answer without choices is of the kind `{"code": 1302, "msg": …}`."""
    if answer.get("success") is False:
        return True
    return bool(answer.get("code")) and bool(answer.get("msg") or answer.get("message"))


def _without_errors(answer: Json) -> Json:
    """Return an answer without the members `error` that say nothing, such as an empty text."""
    return {name: value for name, value in answer.items() if name != "error"}


def _header(answer: Json, kind: str, name: str) -> Json:
    """Return the members that each answer and chunk must have."""
    id_, created, model = (answer.get(member) for member in ("id", "created", "model"))
    return {
        "id": id_ if isinstance(id_, str) and id_ else f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(created) if isinstance(created, int | float) else int(time.time()),
        "model": model if isinstance(model, str) else name,
    }


def _gather_usage(answer: Json) -> None:
    """Put all figures of an answer or chunk into its `usage`, wherever they stand."""
    evidence = UsageEvidence()
    evidence.take_from(answer)
    if evidence.figures:
        answer["usage"] = evidence.figures


def _choice(raw: Json, place: int, part: str) -> Json:
    """Return a choice whose content is in `part`: `delta`, `message` or `text`."""
    index = raw.get("index")
    content: Json = next(
        (raw[name] for name in (part, "delta", "message") if isinstance(raw.get(name), dict)), {}
    )
    choice = {
        name: value
        for name, value in raw.items()
        if name not in {"error", "delta", "message", "text"}
    }
    choice["index"] = index if type(index) is int else place
    choice["finish_reason"] = _finish_reason(raw.get("finish_reason"))
    text = raw.get("text")
    if part == "text":
        choice["text"] = text if isinstance(text, str) else _flat(text or content.get("content"))
    else:
        if not content and isinstance(text, str):
            content = {"content": text}
        choice[part] = _message(content, is_whole=part == "message")
    return choice


def _finish_reason(reason: object) -> str | None:
    if not isinstance(reason, str) or reason.strip().lower() in _NO_REASONS:
        return None
    lower = reason.lower()
    return lower if lower in FINISH_REASONS else _REASONS.get(lower, reason)


def _message(raw: Json, *, is_whole: bool) -> Json:
    """Return a message, or what a delta adds to one, with texts for texts and lists for lists."""
    message = dict(raw)
    content = raw.get("content")
    if isinstance(content, list):
        thoughts = _flat(part for part in content if _is_thought(part))
        if thoughts and not raw.get("reasoning") and not raw.get("reasoning_content"):
            message["reasoning_content"] = thoughts
        pictures = [
            part
            for part in content
            if isinstance(part, dict) and isinstance(part.get("image_url"), dict)
        ]
        if pictures and not raw.get("images"):
            message["images"] = pictures
        content = [part for part in content if not _is_thought(part)]
        message["content"] = _flat(content)
    for name in ("content", "reasoning", "reasoning_content", "refusal"):
        if not isinstance(message.get(name), str | None):
            message[name] = _flat(message[name])
    if not isinstance(message.get("role"), str | None):
        del message["role"]
    calls = message.get("tool_calls")
    if isinstance(calls, dict):
        calls = [calls]
    if isinstance(calls, list):
        message["tool_calls"] = [
            _tool_call(call, place, is_whole=is_whole)
            for place, call in enumerate(calls)
            if isinstance(call, dict)
        ]
    else:
        message.pop("tool_calls", None)
    function = message.pop("function_call", None)
    if isinstance(function, dict):
        message["function_call"] = _function(function, is_whole=is_whole)
    for name, kind in (("audio", dict), ("images", list)):
        if not isinstance(message.get(name), kind):
            message.pop(name, None)
    return message


def _tool_call(raw: Json, place: int, *, is_whole: bool) -> Json:
    call = dict(raw)
    kind = "custom" if isinstance(raw.get("custom"), dict) else "function"
    if is_whole or raw.get("type") is not None:
        call["type"] = kind
    if raw.get("id") is not None and not isinstance(raw["id"], str):
        call["id"] = str(raw["id"])
    if not is_whole and type(raw.get("index")) is not int:
        call["index"] = place
    function, custom = call.pop("function", None), call.pop("custom", None)
    if isinstance(function, dict):
        call["function"] = _function(function, is_whole=is_whole)
    if isinstance(custom, dict):
        call["custom"] = {**custom, "input": _json_text(custom.get("input"))}
    return call


def _function(raw: Json, *, is_whole: bool) -> Json:
    """Return a called function, whose arguments are JSON in a text."""
    function = dict(raw)
    if not isinstance(raw.get("name"), str | None):
        function["name"] = str(raw["name"])
    arguments = raw.get("arguments")
    if arguments is not None:
        function["arguments"] = _json_text(arguments)
    elif is_whole:
        function["arguments"] = "{}"
    return function


def _json_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else encode_safely(value).decode()


def _is_thought(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in {"thinking", "reasoning"}


def _flat(value: object) -> str:
    """Return the text in a value: a text, parts with texts, or lists of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        names = ("text", "content", "thinking", "reasoning", "summary", "refusal")
        return next((_flat(value[name]) for name in names if value.get(name)), "")
    if isinstance(value, Iterable):
        return "".join(map(_flat, value))
    return "" if value is None or isinstance(value, bool) else str(value)


def _as_delta(choice: Json) -> Json:
    """Return a whole message as one delta, whose tool calls have their places."""
    delta = dict(choice["message"])
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": place, **call} for place, call in enumerate(calls)]
    else:
        delta.pop("tool_calls", None)
    return delta

"""Bring odd responses into OpenAI's dialect, drop what is no part of one, or call it an error.

As with chat completions (`openai_chat/repair.py`), the readers decode strictly, and only what fails
comes here; what was repaired must pass the strict decode, too. Servers that offer this dialect
beside another leave out ids, indexes and the events that open an item, and send arguments and
contents as they have them.
"""

from collections.abc import Iterable
from typing import Any

from api.dialects.base import DialectError
from api.dialects.error_bodies import report_of
from api.dialects.openai_chat.repair import decode_loosely, encode_safely, raise_reported

Json = dict[str, Any]

# The text that comes in pieces, and the kind of item that it belongs to.
DELTAS = {
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}
FAILED = frozenset({"failed", "cancelled", "canceled", "error"})
_UNFINISHED = frozenset({"queued", "in_progress"})
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
# The kind of an item that doesn't say it, by a member that only this kind has.
_KINDS = {
    "arguments": "function_call",
    "input": "custom_tool_call",
    "summary": "reasoning",
    "content": "message",
}


def repaired_response(body: bytes, answer_id: str) -> bytes:
    """Return a whole response. Raise DialectError for an error, and for what is no response."""
    response = decode_loosely(body)
    raise_reported(response)
    status = ended_as(response)
    output = response.get("output")
    if output is None:
        output = response.get("output_text")
    if output is None and not response.get("status"):
        raise DialectError("bad_answer", f"no response: {body[:120]!r}")
    details = response.get("incomplete_details")
    return encode_safely(
        {
            **{name: value for name, value in response.items() if name != "error"},
            "object": "response",
            "status": status,
            "model": _text(response.get("model")),
            "incomplete_details": details if isinstance(details, dict) else None,
            "output": repaired_output(output, answer_id),
        }
    )


def ended_as(response: Json) -> str:
    """Return the status that a response ended with. Raise DialectError for one that failed."""
    status = response.get("status")
    status = status.lower() if isinstance(status, str) else ""
    if response.get("error") or status in FAILED:
        error = response.get("error")
        detail = f"the response {status}: {encode_safely(error)[:200]!r}"
        raise DialectError("error_event", detail, report_of(error))
    if status in _UNFINISHED and not response.get("output"):
        raise DialectError("bad_answer", f"the response is {status}")
    details = response.get("incomplete_details")
    is_cut = isinstance(details, dict) and details.get("reason")
    return "incomplete" if is_cut or status == "incomplete" else "completed"


def repaired_output(output: object, answer_id: str) -> list[Json]:
    """Return the items of an output, which may be one item, or its text."""
    if isinstance(output, str):
        output = [{"type": "message", "content": output}] if output else []
    items = [output] if isinstance(output, dict) else output
    return [
        repaired_item(item, f"{answer_id}{index:02d}")
        for index, item in enumerate(items if isinstance(items, list) else ())
        if isinstance(item, dict)
    ]


def repaired_item(item: Json, own_id: str, *, is_begun: bool = False) -> Json:
    """Return an item with what its kind is made of. One that has just begun is still empty."""
    kind = kind_of(item)
    whole = {**item, "type": kind}
    if kind in _PREFIXES and not _text(item.get("id")):
        whole["id"] = f"{_PREFIXES[kind]}_{own_id}"
    status = "in_progress" if is_begun else "completed"
    match kind:
        case "message":
            whole["role"] = "assistant"
            whole["status"] = _text(item.get("status")) or status
            whole["content"] = [repaired_part(part) for part in _parts(item.get("content"))]
        case "reasoning":
            summary = _parts(item.get("summary"))
            whole["summary"] = [_texted(part, "summary_text") for part in summary]
            if item.get("content") is not None:
                content = _parts(item["content"])
                whole["content"] = [_texted(part, "reasoning_text") for part in content]
            if not isinstance(item.get("encrypted_content"), str | None):
                del whole["encrypted_content"]
        case "function_call" | "custom_tool_call":
            name = "arguments" if kind == "function_call" else "input"
            function = item.get("function")
            function = function if isinstance(function, dict) else {}
            given = item.get(name) if item.get(name) is not None else function.get(name)
            empty = "" if is_begun or kind == "custom_tool_call" else "{}"
            whole[name] = _json_text(given) or empty
            whole["name"] = _text(item.get("name")) or _text(function.get("name"))
            whole["call_id"] = _text(item.get("call_id")) or whole["id"]
            whole["status"] = _text(item.get("status")) or status
    return whole


def kind_of(item: Json) -> str:
    """Return the kind of an item, also of one that doesn't say it."""
    kind = item.get("type")
    if isinstance(kind, str) and kind:
        return kind
    return next((kind for name, kind in _KINDS.items() if name in item), "message")


def repaired_part(part: Json) -> Json:
    """Return a part of a message."""
    if part.get("type") == "refusal" or _text(part.get("refusal")):
        refusal = _text(part.get("refusal")) or _text(part.get("text")) or ""
        return {**part, "type": "refusal", "refusal": refusal}
    if part.get("type") not in {None, "", "text", "output_text"}:
        return part
    annotations = part.get("annotations")
    annotations = annotations if isinstance(annotations, list) else []
    return {**_texted(part, "output_text"), "type": "output_text", "annotations": annotations}


def item_events(item: Json, output_index: int) -> list[Json]:
    """Return the events that bring a whole item, as if it came bit by bit."""
    place = {"item_id": item.get("id"), "output_index": output_index}
    begun, events = dict(item), list[Json]()
    if "status" in item:
        begun["status"] = "in_progress"
    match item["type"]:
        case "message":
            begun["content"] = []
            for index, part in enumerate(item["content"]):
                events += _part_events(part, {**place, "content_index": index})
        case "reasoning":
            begun["summary"] = []
            for index, part in enumerate(item["summary"]):
                events += _summary_events(part, {**place, "summary_index": index})
        case "function_call":
            begun["arguments"] = ""
            kind = "response.function_call_arguments"
            text = item["arguments"]
            events = [
                {"type": f"{kind}.delta", **place, "delta": text},
                {"type": f"{kind}.done", **place, "arguments": text},
            ]
        case "custom_tool_call":
            begun["input"] = ""
            kind = "response.custom_tool_call_input"
            text = item["input"]
            events = [
                {"type": f"{kind}.delta", **place, "delta": text},
                {"type": f"{kind}.done", **place, "input": text},
            ]
    added = {"type": "response.output_item.added", "output_index": output_index, "item": begun}
    done = {"type": "response.output_item.done", "output_index": output_index, "item": item}
    return [added, *events, done]


def _part_events(part: Json, place: Json) -> Iterable[Json]:
    if part["type"] == "refusal":
        name, kind, empty = "refusal", "response.refusal", {**part, "refusal": ""}
    else:
        name, kind, empty = "text", "response.output_text", {**part, "text": ""}
    text = part.get(name)
    yield {"type": "response.content_part.added", **place, "part": empty if text else part}
    if isinstance(text, str) and text:
        yield {"type": f"{kind}.delta", **place, "delta": text}
        yield {"type": f"{kind}.done", **place, name: text}
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(part: Json, place: Json) -> Iterable[Json]:
    kind = "response.reasoning_summary"
    yield {"type": f"{kind}_part.added", **place, "part": {**part, "text": ""}}
    yield {"type": f"{kind}_text.delta", **place, "delta": part["text"]}
    yield {"type": f"{kind}_text.done", **place, "text": part["text"]}
    yield {"type": f"{kind}_part.done", **place, "part": part}


def delta_text(event: Json) -> str | None:
    """Return the text that a delta brings, or None where it brings none."""
    delta = event.get("delta")
    if isinstance(delta, dict) and isinstance(delta.get("text"), str):
        delta = delta["text"]
    if delta is None:
        delta = event.get("text")
    return None if delta is None else _json_text(delta)


def _parts(content: object) -> list[Json]:
    """Return a content's parts; it may be a text, one part, or a list with texts in it."""
    if isinstance(content, str):
        content = [content] if content else []
    elif isinstance(content, dict):
        content = [content]
    parts = [
        {"type": "", "text": part} if isinstance(part, str) else part
        for part in (content if isinstance(content, list) else ())
    ]
    return [part for part in parts if isinstance(part, dict)]


def _texted(part: Json, kind: str) -> Json:
    return {**part, "type": _text(part.get("type")) or kind, "text": _text(part.get("text")) or ""}


def _json_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else encode_safely(value).decode()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None

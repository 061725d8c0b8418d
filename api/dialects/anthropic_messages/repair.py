"""Bring odd messages into Anthropic's dialect, drop what is no part of one, or call it an error.

As with chat completions (`openai_chat/repair.py`), the readers decode strictly, and only what fails
comes here; what was repaired must pass the strict decode, too. Servers and proxies that speak this
dialect besides their own leave out members that say nothing, count blocks otherwise or not at all,
and send arguments as they have them.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from api.dialects.base import DialectError
from api.dialects.openai_chat.repair import (
    decode_loosely,
    encode_safely,
    is_idle,
    raise_reported,
)

Json = dict[str, Any]

_decode = msgspec.json.Decoder().decode

# What a block of a kind has at least, if its maker says nothing of it.
_EMPTY: dict[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "redacted_thinking": {"data": ""},
}
# The kind of a delta, and of the block that it belongs to, by the member that it brings.
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "signature": ("signature_delta", "thinking"),
    "partial_json": ("input_json_delta", "tool_use"),
}


def repaired_message(body: bytes) -> bytes:
    """Return a whole message. Raise DialectError for an error, and for what is no message."""
    answer = decode_loosely(body)
    if not isinstance(answer, dict):
        raise_reported(answer)
    if answer.get("type") == "error" or answer.get("error"):
        raise_reported(answer)
    content = answer.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    reason = stop_reason(answer.pop("stop_reason", None))
    if not isinstance(content, list) and reason is None:
        raise DialectError("bad_answer", f"no message: {body[:120]!r}")
    blocks = [
        repaired_block(block, number)
        for number, block in enumerate(content if isinstance(content, list) else ())
        if isinstance(block, dict)
    ]
    is_called = any(block["type"] == "tool_use" for block in blocks)
    return encode_safely(
        {
            **{name: value for name, value in answer.items() if name != "error"},
            "type": "message",
            "role": "assistant",
            "content": blocks,
            "stop_reason": reason or ("tool_use" if is_called else "end_turn"),
            "stop_sequence": _text(answer.get("stop_sequence")),
            "model": _text(answer.get("model")),
        }
    )


def repaired_block(block: Json, number: int) -> Json:
    """Return a content block with what its kind is made of."""
    kind = block.get("type")
    if not isinstance(kind, str):
        kind = next((name for name in ("text", "thinking") if name in block), "tool_use")
    whole = {**_EMPTY.get(kind, {}), **block, "type": kind}
    for name in _EMPTY.get(kind, ()):
        whole[name] = _text(whole[name]) or ""
    if kind == "tool_use":
        whole["id"] = _text(block.get("id")) or f"toolu_{number}"
        whole["name"] = _text(block.get("name")) or ""
        whole["input"] = _input(block.get("input"))
    return whole


def as_events(message: Json) -> list[bytes]:
    """Return the data of the events of a stream that brings a whole message."""
    end = {name: message.get(name) for name in ("stop_reason", "stop_sequence")}
    usage = message.get("usage")
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events: list[Json] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(message["content"]):
        start, deltas = _taken_apart(block)
        place = {"index": index}
        events.append({"type": "content_block_start", **place, "content_block": start})
        events += [{"type": "content_block_delta", **place, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", **place})
    events.append({"type": "message_delta", "delta": end, "usage": usage})
    return [encode_safely(event) for event in (*events, {"type": "message_stop"})]


def _taken_apart(block: Json) -> tuple[Json, list[Json]]:
    """Return a whole block as it begins, and the deltas that bring the rest of it."""
    match block["type"]:
        case "text":
            citations = block.get("citations")
            deltas = [
                {"type": "citations_delta", "citation": citation}
                for citation in (citations if isinstance(citations, list) else ())
            ]
            start = {name: value for name, value in block.items() if name != "citations"}
            return {**start, "text": ""}, [{"type": "text_delta", "text": block["text"]}, *deltas]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            if signature := block.get("signature"):
                deltas.append({"type": "signature_delta", "signature": signature})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            text = encode_safely(block.get("input") or {}).decode()
            delta = {"type": "input_json_delta", "partial_json": text}
            return {**block, "input": {}}, [delta]
    return block, []


def repaired_event(data: bytes, name: str, open_blocks: Mapping[int, str]) -> list[bytes]:
    """Return the events that an odd event's data stands for: none, one, or a block's start with it.

    `name` is the one in the event's own line, if it has one. `open_blocks` are the kinds of the
    blocks that are open, by index. Raise DialectError.
    """
    data = data.strip()
    if is_idle(data) or data == b"[DONE]":
        return []
    event = decode_loosely(data)
    if not isinstance(event, dict) or event.get("error"):
        raise_reported(event)
    if not isinstance(event.get("type"), str) or not event["type"]:
        event["type"] = name
        raise_reported(event, name.encode())
    if event["type"] == "error":
        raise_reported(event)
    match event["type"]:
        case "message_start" if isinstance(event.get("message"), dict):
            return [encode_safely(event)]
        case "message_stop":
            return [encode_safely(event)]
        case "content_block_start":
            block = event.get("content_block")
            block = block if isinstance(block, dict) else {"type": "text"}
            index = _index(event, len(open_blocks))
            return [_event(event, index, content_block=repaired_block(block, index))]
        case "content_block_delta":
            return _repaired_delta(event, open_blocks)
        case "content_block_stop":
            index = _index(event, max(open_blocks, default=-1))
            return [_event(event, index)] if index in open_blocks else []
        case "message_delta":
            delta = event.get("delta")
            delta = delta if isinstance(delta, dict) else {}
            reason, sequence = stop_reason(delta.get("stop_reason")), delta.get("stop_sequence")
            ending = {"stop_reason": reason, "stop_sequence": _text(sequence)}
            return [encode_safely({**event, "delta": {**delta, **ending}})]
    return []


def stop_reason(reason: object) -> str | None:
    """Return why a message ended, or None where that says nothing."""
    return reason if isinstance(reason, str) and reason not in {"", "null", "none"} else None


def _repaired_delta(event: Json, open_blocks: Mapping[int, str]) -> list[bytes]:
    delta = event.get("delta")
    if isinstance(delta, str):
        delta = {"text": delta}
    if not isinstance(delta, dict):
        return []
    name = next((name for name in _DELTAS if delta.get(name) is not None), None)
    if name is None:
        return []
    kind, block = _DELTAS[name]
    value = delta[name]
    text = value if isinstance(value, str) else encode_safely(value).decode()
    whole = {**delta, "type": kind, name: text}
    index = _index(event, max(open_blocks, default=0))
    events = [_event(event, index, delta=whole)]
    if index not in open_blocks and block in _EMPTY:
        start = {"type": "content_block_start", "content_block": {"type": block, **_EMPTY[block]}}
        events.insert(0, _event(start, index))
    return events


def _event(event: Json, index: int, **more: Any) -> bytes:
    return encode_safely({**event, "index": index, **more})


def _index(event: Json, otherwise: int) -> int:
    index = event.get("index")
    return index if type(index) is int else otherwise


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _input(value: object) -> Json:
    """Return a call's arguments as an object, also where they are JSON in a text."""
    if isinstance(value, str) and value:
        try:
            value = _decode(value)
        except msgspec.DecodeError:
            return {"arguments": value}
    return value if isinstance(value, dict) else {}

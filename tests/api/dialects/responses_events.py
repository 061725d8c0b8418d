"""Events of OpenAI Responses as upstreams send them, and how a reader of ours passes them on."""

import json
from typing import Any

from api.dialects import DIALECTS
from api.dialects.base import AnswerContext
from billing.pricing.charge import NO_CHARGE, Usage
from tests.api.dialects.limits import Limits

Json = dict[str, Any]

USED = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
PART = {"type": "output_text", "text": "Hi", "annotations": []}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [PART],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "c1",
    "name": "look",
    "arguments": '{"a":1}',
}


BARE_PART = {"type": "output_text", "text": "Hi"}


def event(kind: str, **more: Any) -> Json:
    return {"type": f"response.{kind}", **more}


def without(each: Json, *names: str) -> Json:
    return {key: value for key, value in each.items() if key not in names}


PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
CREATED = event("created", response=RESPONSE)
ADDED = event(
    "output_item.added",
    output_index=0,
    item={**MESSAGE, "status": "in_progress", "content": []},
)
PART_ADDED = event("content_part.added", **PLACE, part={**PART, "text": ""})
DELTA = event("output_text.delta", **PLACE, delta="Hi")
TEXT_DONE = event("output_text.done", **PLACE, text="Hi")
PART_DONE = event("content_part.done", **PLACE, part=PART)
DONE = event("output_item.done", output_index=0, item=MESSAGE)
END = event(
    "completed",
    response={**RESPONSE, "status": "completed", "output": [MESSAGE], "usage": USED},
)
BARE_END = event("completed", response={"id": "resp_1", "usage": USED})
CALL_ADDED = event("output_item.added", output_index=0, item={**CALL, "arguments": ""})
CALL_DONE = event("output_item.done", output_index=0, item=CALL)


def context(**asked: Any) -> AnswerContext:
    fields = {"model": "m", "input": "Hi", **asked}
    request = DIALECTS["openai_responses"].parse(fields, 100)
    return AnswerContext(request, "m", "reasoning", answer_id="a1")


def data(each: Json | bytes) -> bytes:
    if isinstance(each, bytes):
        return each
    return b"data: " + json.dumps(each).encode() + b"\n\n"


def streamed(*events: Json | bytes) -> list[Json]:
    """Return the events that a client gets, which must be a stream as OpenAI's is."""
    reader = DIALECTS["openai_responses"].stream_reader(context(stream=True))
    out = b""
    for each in events:
        out += reader.feed(data(each))
        if reader.error is not None:
            raise reader.error
    out += reader.finish()
    usage = reader.meter(Limits()).usage or Usage()
    out += reader.ending(usage, NO_CHARGE, is_shown=False)
    got = [json.loads(line[6:]) for line in out.decode().split("\n") if line.startswith("data: ")]
    check_order(got)
    return got


def check_order(events: list[Json]) -> None:
    """Check what clients rely on: all numbered, each item begun, filled and ended."""
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] in {"response.completed", "response.incomplete"}
    numbers = [each["sequence_number"] for each in events]
    assert numbers == sorted(set(numbers))
    is_open: dict[int, str] = {}
    parts: set[tuple[int, int]] = set()
    for each in events:
        kind, index = each["type"], each.get("output_index")
        if kind == "response.output_item.added":
            assert index not in is_open
            is_open[index] = each["item"]["id"]
        elif kind == "response.content_part.added":
            parts.add((index, each["content_index"]))
        elif kind == "response.output_text.delta":
            assert each["item_id"] == is_open[index]
            assert (index, each["content_index"]) in parts
        elif kind == "response.output_item.done":
            assert each["item"]["id"] == is_open[index]
    for name in ("id", "created_at", "tools", "tool_choice", "parallel_tool_calls", "output"):
        assert events[-1]["response"][name] is not None


def text_of(events: list[Json]) -> str:
    deltas = [each["delta"] for each in events if each["type"] == "response.output_text.delta"]
    return "".join(deltas)


def done_items(events: list[Json]) -> list[Json]:
    return [each["item"] for each in events if each["type"] == "response.output_item.done"]


WHOLE = (CREATED, ADDED, PART_ADDED, DELTA, TEXT_DONE, PART_DONE, DONE, END)
SEVERAL_LINES = (
    b'data: {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,\n'
    b'data: "content_index": 0, "delta": "Hi"}\n\n'
)
NAMED = b"event: response.output_text.delta\n" + data(without(DELTA, "type"))
NO_PLACE = ("output_index", "item_id", "content_index")

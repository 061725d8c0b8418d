"""Bring odd events of a streamed response into OpenAI's dialect, and add the ones left out."""

from typing import Any

import msgspec

from api.dialects.openai_chat.repair import decode_loosely, is_idle, raise_reported
from api.dialects.openai_responses.repair import (
    DELTAS,
    delta_text,
    item_events,
    kind_of,
    repaired_item,
)
from api.dialects.openai_responses.stream_items import ADDED, DONE, PARTS, PLACED, StreamItems

Json = dict[str, Any]

_decode = msgspec.json.Decoder().decode

# What some servers call the last event.
OTHER_END = "response.done"
_LAST = frozenset({"response.completed", "response.incomplete", OTHER_END})
# The parts of an item that a delta's text stands in.
_TEXT_PARTS: dict[str, tuple[str, str, Json]] = {
    "response.output_text.delta": (
        "response.content_part.added",
        "content_index",
        {"type": "output_text", "text": "", "annotations": []},
    ),
    "response.refusal.delta": (
        "response.content_part.added",
        "content_index",
        {"type": "refusal", "refusal": ""},
    ),
    "response.reasoning_summary_text.delta": (
        "response.reasoning_summary_part.added",
        "summary_index",
        {"type": "summary_text", "text": ""},
    ),
}
_CALLS = frozenset({"function_call", "custom_tool_call"})


def as_events(response: Json) -> list[Json]:
    """Return the events of a stream that brings a whole response."""
    begun = {**response, "output": [], "status": "in_progress", "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        events += item_events(item, index)
    return [*events, {"type": f"response.{response['status']}", "response": response}]


def repaired_events(data: bytes, name: str, items: StreamItems, answer_id: str) -> list[Json]:
    """Return the events that an odd event's data stands for, with those missing before it.

    `name` is the one in the event's own line, if it has one. Raise DialectError for an error that
    it reports, and for what can't be read.
    """
    data = data.strip()
    if is_idle(data):
        return []
    event = decode_loosely(data)
    if not isinstance(event, dict) or event.get("error"):
        raise_reported(event)
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        kind = name
    if not kind.startswith("response."):
        raise_reported(event, kind.encode())
        return []
    event = {**event, "type": kind}
    if type(event.get("sequence_number")) is not int:
        event.pop("sequence_number", None)
    if kind in _LAST:
        return [_last(event)]
    if kind in {ADDED, DONE}:
        return _item_event(event, items, answer_id)
    if kind in DELTAS:
        return _delta(event, items, answer_id)
    if kind in PARTS or kind in PLACED:
        return _placed(event, items)
    return []


def closing_events(items: StreamItems, output: list[Json], *, is_cut: bool) -> list[Json]:
    """Return the events that end the items which are still open.

    Where no item came by itself, those of the last event's `output` come now. Calls of an answer
    that `is_cut` stay open: they may be run, and are not whole.
    """
    if not items.by_index:
        return [event for index, item in enumerate(output) for event in item_events(item, index)]
    ended, status = (
        {item.get("id"): item for item in output},
        "incomplete" if is_cut else "completed",
    )
    events: list[Json] = []
    for index, item in sorted(items.by_index.items()):
        if item.is_done or (is_cut and item.kind in _CALLS):
            continue
        whole = ended.get(item.item.get("id")) or item.whole(status)
        if whole["type"] != item.kind or not _is_whole(whole):
            continue
        events.append({"type": DONE, "output_index": index, "item": whole})
    return events


def _is_whole(item: Json) -> bool:
    """Return whether an item that did not end may be used: a call's arguments must be JSON."""
    if item["type"] != "function_call":
        return True
    try:
        return isinstance(_decode(item["arguments"] or "{}"), dict)
    except msgspec.DecodeError:
        return False


def _last(event: Json) -> Json:
    """Return the last event, whose response may be missing."""
    response = event.get("response")
    kind = "response.completed" if event["type"] == OTHER_END else event["type"]
    return {**event, "type": kind, "response": response if isinstance(response, dict) else {}}


def _item_event(event: Json, items: StreamItems, answer_id: str) -> list[Json]:
    """Return the event that begins or ends an item; all events of one that only ends."""
    item = event.get("item")
    if not isinstance(item, dict):
        return []
    is_begun = event["type"] == ADDED
    kind = kind_of(item)
    index = None if is_begun else _open_index(event, items, kind, item.get("id"))
    if index is not None:
        item = {**item, "id": items.by_index[index].item["id"]}
    elif any(
        known.item.get("id") == item["id"] for known in items.by_index.values() if item.get("id")
    ):
        # It began, or ended, already.
        return []
    place = items.next_index if index is None else index
    whole = repaired_item(item, f"{answer_id}{place:02d}", is_begun=is_begun)
    if index is None and not is_begun:
        return item_events(whole, place)
    return [{**event, "output_index": place, "item": whole}]


def _delta(event: Json, items: StreamItems, answer_id: str) -> list[Json]:
    """Return the event of more text, after those that begin the item and the part it stands in."""
    kind = event["type"]
    text = delta_text(event)
    if text is None:
        return []
    wanted = DELTAS[kind]
    events: list[Json] = []
    index = _open_index(event, items, wanted, event.get("item_id"))
    if index is not None:
        item, parts = items.by_index[index].item, items.by_index[index].parts
    elif wanted in _CALLS:
        # A call without a name can't be made; where it ends, it comes whole.
        return []
    else:
        index, parts = items.next_index, set()
        given = {"type": wanted, "id": event.get("item_id")}
        item = repaired_item(given, f"{answer_id}{index:02d}", is_begun=True)
        events.append({"type": ADDED, "output_index": index, "item": item})
    place: Json = {"item_id": item["id"], "output_index": index}
    if kind in _TEXT_PARTS:
        added, name, part = _TEXT_PARTS[kind]
        number = event.get(name)
        place[name] = number if type(number) is int and number >= 0 else 0
        if (PARTS[added], place[name]) not in parts:
            events.append({"type": added, **place, "part": part})
    return [*events, {**event, **place, "delta": text}]


def _placed(event: Json, items: StreamItems) -> list[Json]:
    """Return an event about an open item with its place, or nothing where there is no such."""
    index = _open_index(event, items, "", event.get("item_id"))
    if index is None:
        return []
    place: Json = {"output_index": index, "item_id": items.by_index[index].item["id"]}
    for name in ("content_index", "summary_index"):
        if name in event or PARTS.get(event["type"], "") == name.removesuffix("_index"):
            place[name] = event[name] if type(event.get(name)) is int else 0
    return [{**event, **place}]


def _open_index(event: Json, items: StreamItems, kind: str, item_id: object) -> int | None:
    """Return the place of the open item that an event is about: by its id, place or kind."""
    is_open = {
        index: item
        for index, item in items.by_index.items()
        if not item.is_done and kind in {"", item.kind}
    }
    for place, item in is_open.items():
        if item_id and item.item.get("id") == item_id:
            return place
    index = event.get("output_index")
    if type(index) is int and index in is_open:
        return index
    if item_id and type(index) is int:
        # Both are named, and neither is open.
        return None
    return max(is_open, default=None)

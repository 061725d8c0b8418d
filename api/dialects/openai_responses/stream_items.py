"""The items of a streamed response: which began, what came of each, and which ended."""

from typing import Any

from api.dialects.base import DialectError
from api.dialects.openai_responses.repair import DELTAS

Json = dict[str, Any]

ADDED, DONE = "response.output_item.added", "response.output_item.done"
# The events that begin a part of an item, and where the text in it stands.
PARTS = {
    "response.content_part.added": "content",
    "response.reasoning_summary_part.added": "summary",
}
_PLACES = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "content",
    "response.reasoning_summary_text.delta": "summary",
}
# The other events that belong to an item.
PLACED = frozenset(
    {
        *(kind.removesuffix("delta") + "done" for kind in DELTAS),
        "response.content_part.done",
        "response.reasoning_summary_part.done",
    }
)
_ANSWERS = frozenset({"message", "function_call", "custom_tool_call"})


class OddEventError(DialectError):
    """An event that lacks what it must have, and may be repaired."""


class StreamItem:
    """An item as it began or ended, and the text that came since, by its kind and place."""

    __slots__ = ("count", "is_done", "item", "kind", "parts", "texts")

    def __init__(self, item: Json) -> None:
        self.item = item
        self.kind: str = item["type"]
        self.is_done = False
        self.count = 0
        self.parts = {
            (name, place) for name in ("content", "summary") for place in range(_length(item, name))
        }
        self.texts: dict[tuple[str, int], bytearray] = {}

    def whole(self, status: str) -> Json:
        """Return the item with all that came of it."""
        item = dict(self.item)
        if self.is_done:
            return item
        for (kind, _), pieces in sorted(self.texts.items()):
            text = pieces.decode()
            match kind:
                case "response.function_call_arguments.delta":
                    item["arguments"] = text
                case "response.custom_tool_call_input.delta":
                    item["input"] = text
                case "response.reasoning_summary_text.delta":
                    _add(item, "summary", {"type": "summary_text", "text": text})
                case "response.reasoning_text.delta":
                    _add(item, "content", {"type": "reasoning_text", "text": text})
                case "response.refusal.delta":
                    _add(item, "content", {"type": "refusal", "refusal": text})
                case "response.output_text.delta":
                    _add(item, "content", {"type": "output_text", "text": text, "annotations": []})
        if "status" in item:
            item["status"] = status
        return item


class StreamItems:
    """The items of one stream, by their places in the output."""

    __slots__ = ("by_index",)

    def __init__(self) -> None:
        self.by_index: dict[int, StreamItem] = {}

    @property
    def next_index(self) -> int:
        """The place of the next item."""
        return max(self.by_index, default=-1) + 1

    @property
    def are_done(self) -> bool:
        """Whether no item is open."""
        return all(item.is_done for item in self.by_index.values())

    @property
    def has_answer(self) -> bool:
        """Whether there is more than reasoning."""
        return any(item.kind in _ANSWERS for item in self.by_index.values())

    def output(self, status: str = "completed") -> list[Json]:
        """Return all items, as far as they came."""
        return [self.by_index[index].whole(status) for index in sorted(self.by_index)]

    def find(self, index: int | None, item_id: str | None) -> StreamItem:
        """Return the open item of an event. Raise OddEventError where it names none."""
        item = self.by_index.get(-1 if index is None else index)
        if item is None or item.is_done or item_id != item.item["id"]:
            raise OddEventError("bad_answer", "an event belongs to no open item")
        return item

    def begin(self, index: int | None, item: Json) -> None:
        """Begin an item. Raise OddEventError."""
        if index is None or index in self.by_index or not item.get("id"):
            raise OddEventError("bad_answer", "an item begins at no place of its own")
        self.by_index[index] = StreamItem(item)

    def end(self, index: int | None, item: Json, text_bytes: int) -> int:
        """End an item; return how much text it has that did not come before.

        Raise OddEventError.
        """
        known = self.find(index, item.get("id"))
        if known.kind != item["type"]:
            raise OddEventError("bad_answer", "an item is not what it began as")
        known.item, known.is_done = item, True
        known.texts.clear()
        return max(0, text_bytes - known.count)

    def add_part(
        self, kind: str, index: int | None, item_id: str | None, place: int | None
    ) -> None:
        """Begin a part of an item. Raise OddEventError."""
        item = self.find(index, item_id)
        if place is None:
            raise OddEventError("bad_answer", "a part begins at no place")
        item.parts.add((PARTS[kind], place))

    def add_text(
        self, kind: str, index: int | None, item_id: str | None, place: int | None, delta: object
    ) -> int:
        """Add a delta's text; return its length in UTF-8. Raise OddEventError."""
        item = self.find(index, item_id)
        if item.kind != DELTAS[kind] or not isinstance(delta, str):
            raise OddEventError("bad_answer", f"a {kind} has no text, or no item to belong to")
        text = item.texts.get((kind, place or 0))
        if text is None:
            part = _PLACES.get(kind)
            if part is not None and (place is None or (part, place) not in item.parts):
                raise OddEventError("bad_answer", f"a {kind} belongs to no part")
            text = item.texts[kind, place or 0] = bytearray()
        added = delta.encode()
        text += added
        item.count += len(added)
        return len(added)


def _length(item: Json, name: str) -> int:
    parts = item.get(name)
    return len(parts) if isinstance(parts, list) else 0


def _add(item: Json, name: str, part: Json) -> None:
    item[name] = [*(item.get(name) or ()), part]

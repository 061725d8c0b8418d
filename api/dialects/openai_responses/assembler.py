"""A whole response: the stream's last event has it, and its items stand in for what that lacks."""

from typing import Any

from api.dialects.assembly import BaseAssembler, collecting_context
from api.dialects.base import AnswerContext
from api.dialects.openai_responses.stream import DELTAS, ResponseStreamReader

Json = dict[str, Any]


class ResponseAssembler(BaseAssembler):
    """Collects the items of a response's stream."""

    def __init__(self, context: AnswerContext) -> None:
        self._stream = ResponseStreamReader(collecting_context(context))
        super().__init__(self._stream, context.max_event_bytes)
        self._begun: Json = {}
        # By output index: items as they began or ended, and what came since of those that began.
        self._items: dict[int, Json] = {}
        self._pieces: dict[int, list[tuple[str, Json]]] = {}

    def take(self, event: Json) -> None:
        """Keep what an event brings."""
        index = event.get("output_index") or 0
        match event["type"]:
            case "response.created" | "response.in_progress":
                begun = event.get("response")
                self._begun = begun if isinstance(begun, dict) else {}
            case "response.output_item.added":
                self._items[index] = event["item"]
                self._pieces[index] = []
            case "response.output_item.done":
                self._items[index] = event["item"]
                self._pieces.pop(index, None)
            case kind if kind in DELTAS and index in self._pieces:
                self._pieces[index].append((kind, event))

    def whole(self) -> Json:
        """Return the response."""
        stream = self._stream
        response = {"object": "response", **self._begun, **stream.response}
        response["status"] = stream.status
        if not response.get("output"):
            # Some upstreams leave out of the last event what came before it.
            response["output"] = [self._whole_item(index) for index in sorted(self._items)]
        return response

    def _whole_item(self, index: int) -> Json:
        """Return an item with all that came of it."""
        item = dict(self._items[index])
        texts: dict[tuple[str, int], list[str]] = {}
        for kind, event in self._pieces.get(index, ()):
            place = event.get("summary_index" if "summary" in kind else "content_index") or 0
            texts.setdefault((kind, place), []).append(event["delta"])
        for (kind, _), pieces in sorted(texts.items()):
            text = "".join(pieces)
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
            item["status"] = self._stream.status
        return item


def _add(item: Json, name: str, part: Json) -> None:
    item[name] = [*(item.get(name) or ()), part]

"""A whole message, put together from its stream."""

from typing import Any

from api.dialects.anthropic_messages.stream import MessageStreamReader
from api.dialects.assembly import BaseAssembler, collecting_context
from api.dialects.base import AnswerContext, DialectError
from api.dialects.conversation import object_of

Json = dict[str, Any]

# What a delta of each kind adds to which member of its block.
_TEXTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}


class MessageAssembler(BaseAssembler):
    """Collects the events of a message's stream."""

    def __init__(self, context: AnswerContext) -> None:
        self._stream = MessageStreamReader(collecting_context(context))
        super().__init__(self._stream, context.max_event_bytes)
        self._message: Json | None = None
        # By index, in the order in which they began: blocks, and the pieces of their texts.
        self._blocks: dict[int, Json] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}

    def take(self, event: Json) -> None:
        """Keep what an event brings."""
        match event["type"]:
            case "content_block_delta":
                self._take_delta(event["index"], event["delta"])
            case "content_block_start":
                self._blocks[event["index"]] = event["content_block"]
                self._pieces[event["index"]] = {}
            case "message_start":
                self._message = event["message"]

    def _take_delta(self, index: int, delta: Json) -> None:
        kind = delta.get("type")
        if kind in _TEXTS:
            source, name = _TEXTS[kind]
            self._pieces[index].setdefault(name, []).append(delta[source])
        elif kind == "citations_delta":
            block = self._blocks[index]
            known = block.get("citations")
            known = known if isinstance(known, list) else []
            block["citations"] = [*known, delta.get("citation")]

    def whole(self) -> Json:
        """Return the message. Raise DialectError where none began."""
        if self._message is None:
            raise DialectError("bad_answer", "the stream has no message")
        return {
            **self._message,
            "type": "message",
            "content": [self._whole_block(index) for index in self._blocks],
            **self._stream.end,
            "usage": self._stream.usage,
        }

    def _whole_block(self, index: int) -> Json:
        block = dict(self._blocks[index])
        for name, pieces in self._pieces[index].items():
            text = "".join(pieces)
            if name == "input":
                block["input"] = object_of(text) if text else block.get("input") or {}
            else:
                # A block that began with a text goes on from it.
                block[name] = (block.get(name) or "") + text
        return block

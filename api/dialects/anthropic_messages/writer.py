"""A client's message, whole or streamed, from the typed middle."""

from collections.abc import Iterable
from typing import Any

import msgspec

from api.dialects.anthropic_messages.stream import message_end
from api.dialects.anthropic_messages.usage import shown_usage
from api.dialects.base import AnswerContext
from api.dialects.conversation import (
    Block,
    Event,
    Finished,
    FinishReason,
    Reasoning,
    ReasoningDelta,
    ReasoningSigned,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    object_of,
)
from api.dialects.event_reader import named_event
from api.dialects.signatures import tagged_signature
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]

_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "pause": "pause_turn",
    "content_filter": "refusal",
    "context_length": "model_context_window_exceeded",
}
_THINKING = {"type": "thinking", "thinking": "", "signature": ""}


def reply_body(reply: Reply, usage: Usage, context: AnswerContext) -> bytes:
    """Return a client's message in one piece."""
    content = [block for each in reply.blocks if (block := _answered_block(each)) is not None]
    is_refused = any(isinstance(block, Refusal) for block in reply.blocks)
    return _encode(
        {
            **_head(context),
            "content": content,
            "stop_reason": _stop_reason(reply.reason, is_refused=is_refused),
            "stop_sequence": reply.stop_sequence,
            "usage": shown_usage(None, usage),
        }
    )


def _stop_reason(reason: FinishReason, *, is_refused: bool) -> str:
    """Return why a message ended. OpenAI's models refuse in a part of their own, and then stop."""
    return "refusal" if is_refused and reason == "stop" else _STOP_REASONS[reason]


def _head(context: AnswerContext) -> Json:
    return {
        "id": f"msg_{context.answer_id}",
        "type": "message",
        "role": "assistant",
        "model": context.public_name,
    }


def _answered_block(block: Block) -> Json | None:
    match block:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Reasoning():
            signature = _answered_signature(block.signature, block.maker, block.item_id)
            if block.is_redacted:
                return {"type": "redacted_thinking", "data": signature}
            return {"type": "thinking", "thinking": block.text, "signature": signature}
        case ToolCall():
            return {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": object_of(block.arguments),
            }
    return None


def _answered_signature(signature: str, maker: Any, item_id: str) -> str:
    return signature if maker == "anthropic" else tagged_signature(signature, maker, item_id)


class _OpenBlock:
    """A content block of the client's stream, from its first event to its last."""

    __slots__ = ("call", "is_begun", "is_ended", "pieces", "start", "text_start")

    def __init__(self, start: Json, call: int | None = None) -> None:
        self.start = start
        self.call = call
        self.pieces: list[Json] = []
        self.is_begun = self.is_ended = False
        # The event of more text up to the text itself, once the block of a text has begun.
        self.text_start = b""


class ReplyWriter:
    """Writes a client's stream of a message from events.

    Blocks don't interleave in this dialect. Only the first open block is written as it comes; what
    belongs to later ones, such as a second call of a tool, waits until those before are complete.
    """

    sent_events = 0  # not numbered

    __slots__ = ("_blocks", "_context", "_end", "_has_begun", "_index", "_is_refused")

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._blocks: list[_OpenBlock] = []
        self._index = 0
        self._has_begun = self._is_refused = False
        self._end: Json = {"stop_reason": "end_turn", "stop_sequence": None}

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the client's events."""
        written = self._message_start() if not self._has_begun else b""
        for event in events:
            if type(event) is TextDelta and len(self._blocks) == 1:
                block = self._blocks[0]
                if block.text_start and not block.is_ended:
                    # By far the most events are of this kind: nothing else waits to be written.
                    written += block.text_start + _encode(event.text) + b"}}\n\n"
                    continue
            self._take(event)
        return written + self._flushed() if self._blocks else written

    def _message_start(self) -> bytes:
        self._has_begun = True
        message: Json = {
            **_head(self._context),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # What the upstream tells at the end replaces these (Anthropic's SDKs add nothing up).
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return _event({"type": "message_start", "message": message})

    def _take(self, event: Event) -> None:
        """Put what an event brings into its block."""
        match event:
            case TextDelta(text) | RefusalDelta(text):
                self._is_refused |= isinstance(event, RefusalDelta)
                block = self._block("text", {"type": "text", "text": ""})
                block.pieces.append({"type": "text_delta", "text": text})
            case ReasoningDelta(text):
                block = self._block("thinking", _THINKING)
                block.pieces.append({"type": "thinking_delta", "thinking": text})
            case ReasoningSigned():
                self._sign(event)
            case ToolCallStarted(index, call_id, name):
                self._end_what_is_no_call()
                start: Json = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
                self._blocks.append(_OpenBlock(start, index))
            case ToolCallDelta(index, arguments):
                piece = {"type": "input_json_delta", "partial_json": arguments}
                self._call(index).pieces.append(piece)
            case ToolCallEnded(index):
                self._call(index).is_ended = True
            case Finished(reason, stop_sequence):
                self._end = {
                    "stop_reason": _stop_reason(reason, is_refused=self._is_refused),
                    "stop_sequence": stop_sequence,
                }
                for block in self._blocks:
                    block.is_ended = True

    def _block(self, kind: str, start: Json) -> _OpenBlock:
        """Return the last block if it is open and of the kind, else a new one."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.start["type"] == kind and not last.is_ended:
            return last
        self._end_what_is_no_call()
        block = _OpenBlock(start)
        self._blocks.append(block)
        return block

    def _sign(self, event: ReasoningSigned) -> None:
        signature = _answered_signature(event.signature, event.maker, event.item_id)
        if event.is_redacted:
            self._end_what_is_no_call()
            block = _OpenBlock({"type": "redacted_thinking", "data": signature})
            self._blocks.append(block)
        elif signature:
            block = self._block("thinking", _THINKING)
            block.pieces.append({"type": "signature_delta", "signature": signature})
        else:
            self._end_what_is_no_call()
            return
        block.is_ended = True

    def _end_what_is_no_call(self) -> None:
        for block in self._blocks:
            block.is_ended = block.is_ended or block.call is None

    def _call(self, index: int) -> _OpenBlock:
        return next(block for block in reversed(self._blocks) if block.call == index)

    def _flushed(self) -> bytes:
        """Return the events of the first open block, and of those after it as far as they go."""
        written = b""
        while self._blocks:
            block = self._blocks[0]
            if not block.is_begun:
                block.is_begun = True
                written += self._block_event("start", {"content_block": block.start})
                if block.start["type"] == "text":
                    block.text_start = _text_start(self._index)
            for piece in block.pieces:
                written += self._block_event("delta", {"delta": piece})
            block.pieces.clear()
            if not block.is_ended:
                break
            written += self._block_event("stop", {})
            self._index += 1
            del self._blocks[0]
        return written

    def _block_event(self, kind: str, more: Json) -> bytes:
        return _event({"type": f"content_block_{kind}", "index": self._index, **more})

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the message, with the usage that is charged."""
        for block in self._blocks:
            block.is_ended = True
        figures = shown_usage(None, usage)
        if is_shown:
            figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
        return self.write(()) + message_end(self._end, figures)


def _event(data: Json) -> bytes:
    return named_event(data["type"], _encode(data))


def _text_start(index: int) -> bytes:
    """Return the event of more text of a block, up to the text itself."""
    delta = {"type": "text_delta", "text": ""}
    event = _event({"type": "content_block_delta", "index": index, "delta": delta})
    return event.removesuffix(b'""}}\n\n')

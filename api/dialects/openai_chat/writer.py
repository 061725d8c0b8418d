"""A client's chat completion, whole or streamed, from the typed middle."""

import time
from collections.abc import Iterable
from typing import Any

import msgspec

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
    ToolCallStarted,
    ToolKind,
)
from api.dialects.openai_chat.answer import shown_usage
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]

FINISH_REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


# The rest of a text's chunk.
_TEXT_END = b'},"logprobs":null,"finish_reason":null}]}\n\n'


def reply_body(reply: Reply, usage: Usage, context: AnswerContext) -> bytes:
    """Return a client's completion in one piece."""
    message: Json = {"role": "assistant", "content": None}
    texts = [block.text for block in reply.blocks if isinstance(block, Text)]
    if texts:
        message["content"] = "".join(texts)
    refusals = [block.text for block in reply.blocks if isinstance(block, Refusal)]
    if refusals:
        message["refusal"] = "".join(refusals)
    reasoning = "".join(block.text for block in reply.blocks if isinstance(block, Reasoning))
    field = context.reasoning_field
    calls = [block for block in reply.blocks if isinstance(block, ToolCall)]
    if reasoning and field is not None:
        message[field] = reasoning
    elif reasoning and not texts and not refusals and not calls:
        message["content"] = reasoning
    if field is not None and (details := _reasoning_details(reply.blocks)):
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = [_answered_call(call) for call in calls]
    return _encode(
        {
            "id": f"chatcmpl-{context.answer_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": context.public_name,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": FINISH_REASONS[reply.reason],
                }
            ],
            "usage": shown_usage(None, usage),
        }
    )


def _answered_call(call: ToolCall) -> Json:
    if call.kind == "custom":
        custom = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _reasoning_details(blocks: Iterable[Block]) -> list[Json]:
    """Return the signed reasoning as OpenRouter gives it, for clients that send it back."""
    signed = [block for block in blocks if isinstance(block, Reasoning) and block.signature]
    return [_reasoning_detail(block, index) for index, block in enumerate(signed)]


def _reasoning_detail(block: Reasoning, index: int) -> Json:
    form = "openai-responses-v1" if block.maker == "openai" else "anthropic-claude-v1"
    detail: Json = {"format": form, "index": index}
    if block.item_id:
        detail["id"] = block.item_id
    if block.is_redacted or block.maker == "openai":
        return {"type": "reasoning.encrypted", "data": block.signature, **detail}
    return {
        "type": "reasoning.text",
        "text": block.text,
        "signature": block.signature,
        **detail,
    }


class ReplyWriter:
    """Writes a client's stream of chunks from events."""

    sent_events = 0  # not numbered

    __slots__ = (
        "_calls",
        "_context",
        "_details",
        "_finish",
        "_has_answered",
        "_has_begun",
        "_head",
        "_reasoning",
        "_text_start",
        "_withheld",
    )

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._head: Json = {
            "id": f"chatcmpl-{context.answer_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": context.public_name,
        }
        self._has_begun = self._has_answered = False
        # A text's chunk up to the text itself; by far the most chunks are one.
        self._text_start = (
            b"data: " + _encode(self._head)[:-1] + b',"choices":[{"index":0,"delta":{"content":'
        )
        # The number and the kind of each call: clients count calls from 0, without gaps.
        self._calls: dict[int, tuple[int, ToolKind]] = {}
        self._details = 0
        self._finish = ""
        # What is to be signed, and what the surface does not show until there is no answer.
        self._reasoning: list[str] = []
        self._withheld: list[str] = []

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the chunks that events make."""
        written = b""
        for event in events:
            if type(event) is TextDelta and self._has_begun:
                self._has_answered = True
                self._withheld = []
                written += self._text_start + _encode(event.text) + _TEXT_END
                continue
            delta = self._delta(event)
            if delta is not None:
                written += self._chunk(delta, None)
        return written

    def _delta(self, event: Event) -> Json | None:
        field = self._context.reasoning_field
        match event:
            case TextDelta(text):
                return self._answer({"content": text})
            case RefusalDelta(text):
                return self._answer({"refusal": text})
            case ReasoningDelta(text):
                self._reasoning.append(text)
                if field is None:
                    self._withheld.append(text)
                    return None
                return {field: text}
            case ReasoningSigned(signature, maker, is_redacted, item_id):
                text, self._reasoning = "".join(self._reasoning), []
                if field is None or not signature:
                    return None
                block = Reasoning(text, signature, maker, is_redacted, item_id)
                self._details += 1
                return {"reasoning_details": [_reasoning_detail(block, self._details - 1)]}
            case ToolCallStarted(index, call_id, name, kind):
                part = "custom" if kind == "custom" else "function"
                number = len(self._calls)
                self._calls[index] = (number, kind)
                text_name = "input" if kind == "custom" else "arguments"
                call = {"index": number, "id": call_id, "type": part}
                return self._answer({"tool_calls": [{**call, part: {"name": name, text_name: ""}}]})
            case ToolCallDelta(index, arguments):
                number, kind = self._calls[index]
                if kind == "custom":
                    return {"tool_calls": [{"index": number, "custom": {"input": arguments}}]}
                return {"tool_calls": [{"index": number, "function": {"arguments": arguments}}]}
            case Finished(reason):
                self._finish = FINISH_REASONS[reason]
        return None

    def _answer(self, delta: Json) -> Json:
        """Return a delta of the answer proper, before which withheld reasoning is forgotten."""
        self._has_answered = True
        self._withheld = []
        return delta

    def _chunk(self, delta: Json, finish_reason: str | None) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: " + _encode({**self._head, "choices": [choice]}) + b"\n\n"

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the last chunks: the finish reason, the usage if asked for, and `[DONE]`."""
        written = b""
        if self._withheld and not self._has_answered:
            written += self._chunk({"content": "".join(self._withheld)}, None)
        written += self._chunk({}, self._finish or "stop")
        if is_shown:
            figures = shown_usage(None, usage)
            figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
            chunk = {**self._head, "choices": [], "usage": figures}
            written += b"data: " + _encode(chunk) + b"\n\n"
        return written + DONE

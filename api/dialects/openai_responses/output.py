"""The response object and the items of its output, as they are made of the typed middle."""

import time
from typing import Any

import msgspec

from api.dialects.base import AnswerContext
from api.dialects.conversation import Block, FinishReason, Reasoning, Refusal, Reply, Text, ToolCall
from api.dialects.openai_responses.usage import shown_usage
from api.dialects.signatures import tagged_signature
from billing.pricing.charge import Usage

_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]

_INCOMPLETE_REASONS = {
    "length": "max_output_tokens",
    "context_length": "max_output_tokens",
    "content_filter": "content_filter",
}


def reply_body(reply: Reply, usage: Usage, context: AnswerContext) -> bytes:
    """Return a client's response in one piece."""
    items = ItemIds(context)
    output = [item for block in reply.blocks if (item := items.item_of(block)) is not None]
    return _encode(response_object(context, output, reply.reason, shown_usage(None, usage)))


def response_object(
    context: AnswerContext, output: list[Json], reason: FinishReason | None, usage: Json | None
) -> Json:
    """Return a response object; without a `reason` one that is in progress."""
    fields = context.request.fields
    incomplete = _INCOMPLETE_REASONS.get(reason or "")
    status = "in_progress" if reason is None else "incomplete" if incomplete else "completed"
    created_at = int(time.time())
    return {
        "id": f"resp_{context.answer_id}",
        "object": "response",
        "created_at": created_at,
        "completed_at": created_at if status == "completed" else None,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": fields.get("max_output_tokens"),
        "model": context.public_name,
        "output": output,
        "parallel_tool_calls": fields.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **(fields.get("reasoning") or {})},
        "store": False,
        "temperature": fields.get("temperature"),
        "text": {"format": {"type": "text"}, **(fields.get("text") or {})},
        "tool_choice": fields.get("tool_choice") or "auto",
        "tools": fields.get("tools") or [],
        "top_p": fields.get("top_p"),
        "truncation": fields.get("truncation") or "disabled",
        "usage": usage,
        "user": fields.get("user"),
        "metadata": fields.get("metadata") or {},
    }


class ItemIds:
    """Gives the items of an answer their ids, and makes whole items of blocks."""

    __slots__ = ("_answer_id", "_count", "_shows_encrypted")

    def __init__(self, context: AnswerContext) -> None:
        self._answer_id = context.answer_id
        self._count = 0
        include = context.request.fields.get("include") or ()
        self._shows_encrypted = "reasoning.encrypted_content" in include

    def next(self, prefix: str) -> str:
        """Return the next item's id."""
        self._count += 1
        return f"{prefix}_{self._answer_id}{self._count:02d}"

    def item_of(self, block: Block) -> Json | None:
        """Return a block as a whole item of the output."""
        match block:
            case Text(text):
                return message_item(self.next("msg"), [text_part(text)])
            case Refusal(text):
                return message_item(self.next("msg"), [{"type": "refusal", "refusal": text}])
            case Reasoning():
                signature = self.shown_signature(block.signature, block.maker, block.item_id)
                return reasoning_item(self.next("rs"), block.text, signature)
            case ToolCall():
                return call_item(self.next("fc"), block, "completed")
        return None

    def shown_signature(self, signature: str, maker: Any, item_id: str) -> str | None:
        """Return what the client gets as encrypted reasoning, if it asked for it."""
        if not self._shows_encrypted or not signature:
            return None
        return tagged_signature(signature, maker, item_id)


def message_item(item_id: str, content: list[Json], status: str = "completed") -> Json:
    """Return a message of the output."""
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def reasoning_item(item_id: str, text: str, signature: str | None) -> Json:
    """Return reasoning of the output."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Json = {"id": item_id, "type": "reasoning", "summary": summary}
    if signature is not None:
        item["encrypted_content"] = signature
    return item


def call_item(item_id: str, call: ToolCall, status: str) -> Json:
    """Return a call of a tool of the output."""
    item: Json = {"id": item_id, "type": "function_call", "status": status}
    item |= {"call_id": call.id, "name": call.name}
    if call.kind == "custom":
        return {**item, "type": "custom_tool_call", "input": call.arguments}
    if call.namespace:
        item["namespace"] = call.namespace
    return {**item, "arguments": call.arguments}


def text_part(text: str) -> Json:
    """Return text of a message of the output."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

"""An upstream's Responses request, from the typed middle."""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.conversation import (
    Block,
    Conversation,
    Document,
    FinishReason,
    Image,
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolKind,
    ToolResult,
    Turn,
    effort_of,
    text_of,
    unsayable,
)
from api.phrases import Phrase

_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]

# Parameters that change the answer and that only Responses can say.
_ONLY_HERE = ("top_logprobs", "max_tool_calls")
_CALL_KINDS: dict[str, ToolKind] = {"function_call": "function", "custom_tool_call": "custom"}
_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


def body_of(
    conversation: Conversation, model: ModelEntry, route: RouteEntry, max_tokens: int
) -> Json:
    """Return an upstream's body for a conversation that came in another dialect.

    Raise UnsupportedParameterError for what Responses can't say.
    """
    for name in conversation.only_here:
        raise unsayable(name, f"'{name}'")
    for name in ("stop", "presence_penalty", "frequency_penalty", "top_k"):
        if getattr(conversation, name):
            raise unsayable(name, f"'{name}'")
    body: Json = {
        "model": route.upstream_model,
        "input": [item for turn in conversation.turns for item in _items(turn)],
        "max_output_tokens": max_tokens,
        "store": False,
    }
    if conversation.tools:
        body["tools"] = [_written_tool(tool) for tool in conversation.tools]
    if conversation.tool_choice is not None:
        body["tool_choice"] = _written_choice(conversation.tool_choice)
    text: Json = {}
    if form := conversation.output_format:
        text["format"] = _written_format(form)
    if conversation.verbosity is not None:
        text["verbosity"] = conversation.verbosity
    optional: Json = {
        "text": text or None,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "parallel_tool_calls": conversation.parallel_tool_calls,
        "prompt_cache_key": conversation.cache_key or None,
        "user": conversation.end_user or None,
        "stream": conversation.is_streamed or None,
    }
    if "reasoning" in model.features:
        effort = effort_of(conversation)
        optional["reasoning"] = {"effort": effort, "summary": "auto"} if effort else None
        # What proves the reasoning when it comes back with the next request.
        optional["include"] = ["reasoning.encrypted_content"]
    return body | {name: value for name, value in optional.items() if value is not None}


def _items(turn: Turn) -> Iterator[Json]:
    """Yield the items of a turn: its messages, calls, results and reasoning, in their order."""
    parts: list[Json] = []
    role = "developer" if turn.role == "system" else turn.role
    for block in turn.blocks:
        item = _item(block, turn.place)
        if item is None:
            if part := _written_part(block, turn):
                parts.append(part)
            continue
        if parts:
            yield {"type": "message", "role": role, "content": parts}
            parts = []
        yield from item
    if parts:
        yield {"type": "message", "role": role, "content": parts}


def _item(block: Block, place: str) -> list[Json] | None:
    """Return the items that a block is, or None for a part of a message."""
    match block:
        case Reasoning():
            if block.maker != "openai" or not block.signature:
                return []
            summary = [{"type": "summary_text", "text": block.text}] if block.text else []
            item: Json = {"type": "reasoning", "summary": summary}
            if block.item_id:
                item["id"] = block.item_id
            return [{**item, "encrypted_content": block.signature}]
        case ToolCall(call_id, name, arguments, "custom"):
            call = {"type": "custom_tool_call", "call_id": call_id, "name": name}
            return [{**call, "input": arguments}]
        case ToolCall(call_id, name, arguments):
            call = {"type": "function_call", "call_id": call_id, "name": name}
            return [{**call, "arguments": arguments or "{}"}]
        case ToolResult():
            kind = "custom_tool_call_output" if block.kind == "custom" else "function_call_output"
            output = _output_of(block, place)
            return [{"type": kind, "call_id": block.call_id, "output": output}]
    return None


def _output_of(result: ToolResult, place: str) -> str | list[Json]:
    if all(isinstance(part, Text) for part in result.content):
        text = text_of(result.content)
        return f"Error: {text}" if result.is_error else text
    turn = Turn("user", result.content, place)
    parts = [_written_part(part, turn) for part in result.content]
    return [part for part in parts if part is not None]


def _written_part(block: Block, turn: Turn) -> Json | None:
    match block:
        case Text(text):
            kind = "output_text" if turn.role == "assistant" else "input_text"
            return {"type": kind, "text": text} if text else None
        case Refusal(text):
            return {"type": "refusal", "refusal": text}
        case Image():
            where: Json = {"file_id": block.file_id}
            if not block.file_id:
                url = block.url or f"data:{block.media_type};base64,{block.data}"
                where = {"image_url": url}
            return {"type": "input_image", "detail": block.detail or "auto", **where}
        case Document():
            return _written_document(block)
    raise unsayable(turn.place, Phrase("Audio input"))


def _written_document(document: Document) -> Json:
    if document.text:
        title = f"{document.name}\n\n" if document.name else ""
        return {"type": "input_text", "text": title + document.text}
    if document.url:
        return {"type": "input_file", "file_url": document.url}
    if document.file_id:
        return {"type": "input_file", "file_id": document.file_id}
    data = f"data:{document.media_type};base64,{document.data}"
    return {
        "type": "input_file",
        "filename": document.name or "document.pdf",
        "file_data": data,
    }


def _written_tool(tool: Tool) -> Json:
    if tool.kind == "custom":
        written: Json = {"type": "custom", "name": tool.name}
        if tool.format is not None:
            written["format"] = tool.format
    else:
        written = {
            "type": "function",
            "name": tool.name,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
            "strict": bool(tool.is_strict),
        }
    if tool.description is not None:
        written["description"] = tool.description
    return written


def _written_choice(choice: ToolChoice) -> str | Json:
    if not choice.names:
        return choice.mode
    if len(choice.names) == 1 and choice.mode == "required":
        return {"type": "function", "name": choice.names[0]}
    tools = [{"type": "function", "name": name} for name in choice.names]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


def _written_format(form: OutputFormat) -> Json:
    if form.kind == "json_object":
        return {"type": "json_object"}
    written: Json = {"type": "json_schema", "name": form.name, "schema": form.schema or {}}
    if form.description is not None:
        written["description"] = form.description
    if form.is_strict is not None:
        written["strict"] = form.is_strict
    return written

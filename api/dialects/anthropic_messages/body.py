"""An upstream's Messages request, from the typed middle."""

from typing import Any

import msgspec

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.conversation import (
    CUSTOM_TOOL_INPUT,
    Audio,
    Block,
    Conversation,
    Document,
    FinishReason,
    Image,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    alternated,
    custom_tool_schema,
    object_of,
    unsayable,
)
from api.phrases import Phrase

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
    "model_context_window_exceeded": "context_length",
}
# The least that Anthropic takes as a budget for thinking, and how much of it an effort means.
LEAST_BUDGET = 1_024
_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768}
_JSON_ONLY = "Answer with one JSON object and nothing else: no prose, no code fence."
_CHOICE_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "required"}


def body_of(
    conversation: Conversation, model: ModelEntry, route: RouteEntry, max_tokens: int
) -> Json:
    """Return an upstream's body for a conversation that came in another dialect.

    Raise UnsupportedParameterError for what Messages can't say.
    """
    _check_sayable(conversation)
    system: list[Json] = []
    turns: list[Turn] = []
    for turn in conversation.turns:
        if turn.role in {"system", "developer"} and not turns:
            system += _written_blocks(turn)
        elif turn.role in {"system", "developer"}:
            turns.append(Turn("user", turn.blocks, turn.place))
        else:
            turns.append(turn)
    if conversation.output_format is not None and conversation.output_format.kind == "json_object":
        system.append({"type": "text", "text": _JSON_ONLY})
    body: Json = {
        "model": route.upstream_model,
        "max_tokens": max_tokens,
        "messages": [
            {"role": turn.role, "content": written}
            for turn in alternated(turns)
            if (written := _written_blocks(turn))
        ],
    }
    if system:
        body["system"] = system
    if conversation.tools:
        body["tools"] = [_written_tool(tool) for tool in conversation.tools]
        body |= _written_choice(conversation)
    body |= _written_thinking(conversation, model, max_tokens)
    optional = {
        "temperature": conversation.temperature if "thinking" not in body else None,
        "top_p": conversation.top_p,
        "top_k": conversation.top_k if "thinking" not in body else None,
        "stop_sequences": conversation.stop or None,
        "metadata": {"user_id": conversation.end_user} if conversation.end_user else None,
        "stream": conversation.is_streamed or None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _check_sayable(conversation: Conversation) -> None:
    for name in conversation.only_here:
        raise unsayable(name, f"'{name}'")
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(conversation, name):
            raise unsayable(name, f"'{name}'")
    if conversation.temperature is not None and conversation.temperature > 1:
        raise unsayable("temperature", Phrase("A temperature above 1"))
    choice = conversation.tool_choice
    if choice is not None and len(choice.names) > 1:
        raise unsayable("tool_choice", Phrase("A choice among some of the tools"))


def _written_thinking(conversation: Conversation, model: ModelEntry, max_tokens: int) -> Json:
    """Return how much to think, and the form of the answer."""
    written: Json = {}
    budget = conversation.reasoning_budget
    if budget is None and conversation.effort is not None:
        budget = _BUDGETS.get(conversation.effort)
    budget = min(budget or 0, max_tokens - 1)
    may_think = "reasoning" in model.features and budget >= LEAST_BUDGET
    if may_think and _goes_on_unsigned(conversation.turns):
        may_think = False
    if may_think:
        written["thinking"] = {"type": "enabled", "budget_tokens": budget}
    form = conversation.output_format
    if form is not None and form.kind == "json_schema":
        written["output_config"] = {"format": {"type": "json_schema", "schema": form.schema or {}}}
    return written


def _goes_on_unsigned(turns: list[Turn]) -> bool:
    """Return whether the last turn answers tool calls that no signed reasoning stands before.

    Anthropic refuses to think on from there.
    """
    if not turns or not any(isinstance(block, ToolResult) for block in turns[-1].blocks):
        return False
    calling = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    return calling is None or not any(
        isinstance(block, Reasoning) and block.signature and block.maker == "anthropic"
        for block in calling.blocks
    )


def _written_blocks(turn: Turn) -> list[Json]:
    written = [_written_block(block, turn.place) for block in turn.blocks]
    blocks = [block for block in written if block is not None]
    # The results of tools come first in a turn, and thinking first in an answer.
    blocks.sort(key=lambda block: block["type"] not in {"tool_result", "thinking"})
    return blocks


def _written_block(block: Block, place: str) -> Json | None:
    written: Json | None = None
    match block:
        case Text(text) | Refusal(text):
            written = {"type": "text", "text": text} if text.strip() else None
        case Image():
            written = {"type": "image", "source": _source(block, place)}
        case Document():
            written = {"type": "document", "source": _source(block, place)}
            if block.name:
                written["title"] = block.name
        case Reasoning():
            if block.signature and block.maker == "anthropic":
                if block.is_redacted:
                    return {"type": "redacted_thinking", "data": block.signature}
                return {
                    "type": "thinking",
                    "thinking": block.text,
                    "signature": block.signature,
                }
            return None
        case ToolCall():
            written = {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": _arguments(block),
            }
        case ToolResult():
            content = [_written_block(part, place) for part in block.content]
            written = {
                "type": "tool_result",
                "tool_use_id": block.call_id,
                "content": [part for part in content if part is not None],
            }
            if block.is_error:
                written["is_error"] = True
        case Audio():
            raise unsayable(place, Phrase("Audio input"))
    cache_control = getattr(block, "cache_control", None)
    if written is not None and cache_control is not None:
        written["cache_control"] = cache_control
    return written


def _source(block: Image | Document, place: str) -> Json:
    if isinstance(block, Document) and block.text:
        return {"type": "text", "media_type": "text/plain", "data": block.text}
    if block.url:
        return {"type": "url", "url": block.url}
    if block.file_id:
        raise unsayable(place, Phrase("A file by its id"))
    return {"type": "base64", "media_type": block.media_type, "data": block.data}


def _arguments(call: ToolCall) -> Json:
    """Return a call's arguments as the object that the dialect has for them.

    A call that was cut off, or that a model botched, is history all the same: its raw text goes
    into an object of its own, as in our answers.
    """
    if call.kind == "custom":
        return {CUSTOM_TOOL_INPUT: call.arguments}
    return object_of(call.arguments)


def _written_tool(tool: Tool) -> Json:
    schema, description = tool.parameters, tool.description
    if tool.kind == "custom":
        schema, description = custom_tool_schema(tool)
    written: Json = {"name": tool.name}
    if description:
        written["description"] = description
    written["input_schema"] = {"type": "object", **(schema or {})}
    if tool.is_strict:
        written["strict"] = True
    if tool.cache_control is not None:
        written["cache_control"] = tool.cache_control
    return written


def _written_choice(conversation: Conversation) -> Json:
    choice = conversation.tool_choice
    written: Json = {}
    if choice is not None:
        written = {"type": {"required": "any"}.get(choice.mode, choice.mode)}
        if choice.names and choice.mode == "required":
            written = {"type": "tool", "name": choice.names[0]}
    if conversation.parallel_tool_calls is False and written.get("type") != "none":
        written = {"type": "auto", **written, "disable_parallel_tool_use": True}
    return {"tool_choice": written} if written else {}

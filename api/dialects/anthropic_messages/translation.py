"""Messages to and from the typed middle: requests, answers and streams."""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.dialects.anthropic_messages.body import body_of
from api.dialects.anthropic_messages.request import without_attribution
from api.dialects.anthropic_messages.writer import ReplyWriter, reply_body
from api.dialects.base import ParsedRequest
from api.dialects.conversation import (
    Block,
    Conversation,
    Document,
    Event,
    Finished,
    FinishReason,
    Image,
    OutputFormat,
    Reasoning,
    ReasoningDelta,
    ReasoningSigned,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolChoice,
    ToolResult,
    Turn,
    text_of,
    unsayable,
)
from api.dialects.signatures import untagged_signature
from api.phrases import Phrase

__all__ = [
    "EventSource",
    "ReplyWriter",
    "body_of",
    "conversation_of",
    "events_of_answer",
    "reply_body",
]

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


def conversation_of(request: ParsedRequest) -> Conversation:
    """Return what a Messages request asks for."""
    fields = request.fields
    turns = [
        _turn(message, f"messages[{index}]") for index, message in enumerate(fields["messages"])
    ]
    if system := without_attribution(fields.get("system")):
        turns.insert(0, Turn("system", tuple(_blocks(system, "system")), "system"))
    choice = fields.get("tool_choice") or {}
    thinking, config = fields.get("thinking") or {}, fields.get("output_config") or {}
    effort = config.get("effort")
    if thinking.get("type") == "disabled":
        effort = "none"
    form = config.get("format") or fields.get("output_format") or {}
    return Conversation(
        turns=turns,
        tools=[_tool(tool, index) for index, tool in enumerate(fields.get("tools") or ())],
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        output_format=OutputFormat("json_schema", schema=form.get("schema"), is_strict=True)
        if form.get("type") == "json_schema"
        else None,
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        top_k=fields.get("top_k"),
        stop=list(fields.get("stop_sequences") or ()),
        effort="xhigh" if effort == "max" else effort,
        reasoning_budget=thinking.get("budget_tokens"),
        wants_reasoning_summary=thinking.get("type") in {"enabled", "adaptive"},
        end_user=request.end_user,
        is_streamed=request.is_streamed,
    )


def _turn(message: Json, place: str) -> Turn:
    return Turn(message["role"], tuple(_blocks(message["content"], f"{place}.content")), place)


def _blocks(content: Any, place: str) -> Iterator[Block]:
    if isinstance(content, str):
        yield Text(content)
        return
    for index, block in enumerate(content or ()):
        yield from _block(block, f"{place}[{index}]")


def _block(block: Json, place: str) -> Iterator[Block]:
    cache_control = block.get("cache_control")
    match block["type"]:
        case "text":
            if block["text"]:
                yield Text(block["text"], cache_control)
        case "image":
            yield _image(block["source"], cache_control, place)
        case "document":
            yield _document(block, cache_control, place)
        case "thinking":
            signature, maker, item_id = untagged_signature(
                block.get("signature") or "", "anthropic"
            )
            yield Reasoning(block["thinking"], signature, maker, False, item_id)
        case "redacted_thinking":
            signature, maker, item_id = untagged_signature(block.get("data") or "", "anthropic")
            yield Reasoning("", signature, maker, True, item_id)
        case "tool_use":
            arguments = _encode(block["input"]).decode()
            yield ToolCall(block["id"], block["name"], arguments, cache_control=cache_control)
        case "tool_result":
            content = tuple(_blocks(block.get("content"), f"{place}.content"))
            kept = tuple(part for part in content if isinstance(part, (Text, Image, Document)))
            is_error = bool(block.get("is_error"))
            yield ToolResult(block["tool_use_id"], kept, is_error, cache_control=cache_control)
        case "search_result":
            body = "\n".join(part.get("text", "") for part in block.get("content") or ())
            yield Text(f"{block.get('title', '')}\n{block.get('source', '')}\n{body}")
        case _:
            raise unsayable(
                f"{place}.type", Phrase("Content of the type '{type}'", type=block["type"][:40])
            )


def _image(source: Json, cache_control: Json | None, place: str) -> Image:
    match source.get("type"):
        case "base64":
            media_type = source.get("media_type") or "image/png"
            return Image(media_type=media_type, data=source["data"], cache_control=cache_control)
        case "url":
            return Image(url=source.get("url") or "", cache_control=cache_control)
    raise unsayable(f"{place}.source", Phrase("An image by '{type}'", type=source.get("type")))


def _document(block: Json, cache_control: Json | None, place: str) -> Document:
    source, name = block["source"], block.get("title") or ""
    match source.get("type"):
        case "base64":
            media_type = source.get("media_type") or "application/pdf"
            return Document(
                media_type=media_type, data=source["data"], name=name, cache_control=cache_control
            )
        case "text":
            return Document(text=source["data"], name=name, cache_control=cache_control)
        case "content":
            text = text_of(_blocks(source.get("content"), f"{place}.source.content"))
            return Document(text=text, name=name, cache_control=cache_control)
        case "url":
            return Document(url=source.get("url") or "", name=name, cache_control=cache_control)
    raise unsayable(f"{place}.source", Phrase("A document by '{type}'", type=source.get("type")))


def _tool(tool: Json, index: int) -> Tool:
    if tool.get("type") not in {None, "custom"}:
        raise unsayable(
            f"tools[{index}].type", Phrase("Anthropic's own tool '{type}'", type=tool["type"])
        )
    return Tool(
        tool["name"],
        tool.get("description"),
        tool.get("input_schema"),
        tool.get("strict"),
        cache_control=tool.get("cache_control"),
    )


def _tool_choice(choice: Json) -> ToolChoice | None:
    if not choice:
        return None
    names = (choice["name"],) if choice["type"] == "tool" else ()
    return ToolChoice(_CHOICE_MODES[choice["type"]], names)  # type: ignore[arg-type]


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: Json = {}


_decode_event = msgspec.json.Decoder(_Event).decode


def events_of_answer(body: bytes) -> list[Event]:
    """Return the events that a message in one piece makes."""
    message = _decode(body)
    source = EventSource()
    events: list[Event] = []
    for index, block in enumerate(message["content"]):
        events += source.begin(index, block)
        events += source.end(index)
    if (reason := message.get("stop_reason")) is not None:
        events.append(Finished(_REASONS.get(reason, "stop"), message.get("stop_sequence")))
    return events


class EventSource:
    """Makes events of a message's stream, which its reader let pass."""

    __slots__ = ("_calls", "_signatures", "_thinking")

    def __init__(self) -> None:
        self._calls: set[int] = set()
        self._thinking: set[int] = set()
        self._signatures: dict[int, str] = {}

    def read(self, passed: bytes) -> list[Event]:
        """Return what whole events of the stream bring."""
        events: list[Event] = []
        for line in passed.split(b"\n"):
            if not line.startswith(b"data: {"):
                continue
            event = _decode_event(line[6:])
            delta = event.delta
            if delta is not None and delta.type == "text_delta":
                events.append(TextDelta(delta.text))
            else:
                events += self._events(event, delta or _Delta())
        return events

    def _events(self, event: _Event, delta: _Delta) -> Iterator[Event]:
        match event.type:
            case "content_block_start":
                yield from self.begin(event.index, event.content_block)
            case "content_block_delta":
                yield from self._delta(event.index, delta)
            case "content_block_stop":
                yield from self.end(event.index)
            case "message_delta":
                yield Finished(_REASONS.get(delta.stop_reason or "", "stop"), delta.stop_sequence)

    def begin(self, index: int, block: Json) -> Iterator[Event]:
        """Yield what the start of a block, or a whole block, brings."""
        match block["type"]:
            case "text":
                if block.get("text"):
                    yield TextDelta(block["text"])
            case "thinking":
                self._thinking.add(index)
                if block.get("thinking"):
                    yield ReasoningDelta(block["thinking"])
                self._signatures[index] = block.get("signature") or ""
            case "redacted_thinking":
                yield ReasoningSigned(block.get("data") or "", "anthropic", True)
            case "tool_use":
                self._calls.add(index)
                yield ToolCallStarted(index, block["id"], block["name"])
                if block.get("input"):
                    yield ToolCallDelta(index, _encode(block["input"]).decode())

    def _delta(self, index: int, delta: _Delta) -> Iterator[Event]:
        match delta.type:
            case "thinking_delta":
                yield ReasoningDelta(delta.thinking)
            case "signature_delta":
                self._signatures[index] = self._signatures.get(index, "") + delta.signature
            case "input_json_delta":
                if delta.partial_json:
                    yield ToolCallDelta(index, delta.partial_json)

    def end(self, index: int) -> Iterator[Event]:
        """Yield what the end of a block brings."""
        if index in self._thinking:
            self._thinking.discard(index)
            yield ReasoningSigned(self._signatures.get(index, ""), "anthropic")
        elif index in self._calls:
            yield ToolCallEnded(index)

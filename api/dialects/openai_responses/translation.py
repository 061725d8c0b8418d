"""Responses to and from the typed middle: requests, answers and streams."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from api.dialects.base import ParsedRequest
from api.dialects.conversation import (
    Audio,
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
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolChoice,
    ToolKind,
    ToolResult,
    Turn,
    split_data_url,
    unsayable,
)
from api.dialects.openai_responses.body import body_of
from api.dialects.openai_responses.output import reply_body
from api.dialects.openai_responses.request import IGNORED_TOOLS
from api.dialects.openai_responses.writer import ReplyWriter
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

_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]

# Parameters that change the answer and that only Responses can say.
_ONLY_HERE = ("top_logprobs", "max_tool_calls")
_CALL_KINDS: dict[str, ToolKind] = {"function_call": "function", "custom_tool_call": "custom"}
_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


def conversation_of(request: ParsedRequest) -> Conversation:
    """Return what a Responses request asks for."""
    fields = request.fields
    turns = list(_turns(fields["input"]))
    if instructions := fields.get("instructions"):
        turns.insert(0, Turn("system", (Text(instructions),), "instructions"))
    reasoning, text = fields.get("reasoning") or {}, fields.get("text") or {}
    return Conversation(
        turns=turns,
        tools=list(_tools(fields.get("tools") or ())),
        tool_choice=_tool_choice(fields.get("tool_choice")),
        parallel_tool_calls=fields.get("parallel_tool_calls"),
        output_format=_output_format(text.get("format")),
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        effort=reasoning.get("effort"),
        wants_reasoning_summary=reasoning.get("summary") is not None,
        end_user=request.end_user,
        cache_key=fields.get("prompt_cache_key") or "",
        verbosity=text.get("verbosity"),
        is_streamed=request.is_streamed,
        only_here={name: fields[name] for name in _ONLY_HERE if fields.get(name)},
    )


def _turns(given: Any) -> Iterator[Turn]:
    if isinstance(given, str):
        yield Turn("user", (Text(given),), "input")
        return
    for index, item in enumerate(given):
        yield from _turn(item, f"input[{index}]")


def _turn(item: Json, place: str) -> Iterator[Turn]:
    match item.get("type", "message"):
        case "message":
            blocks = tuple(_parts(item["content"], f"{place}.content"))
            yield Turn(item["role"], blocks, place)
        case "function_call":
            namespace = item.get("namespace") or ""
            call = ToolCall(item["call_id"], item["name"], item["arguments"], namespace=namespace)
            yield Turn("assistant", (call,), place)
        case "custom_tool_call":
            call = ToolCall(item["call_id"], item["name"], item["input"], "custom")
            yield Turn("assistant", (call,), place)
        case "function_call_output" | "custom_tool_call_output" as kind:
            content = tuple(_parts(item["output"], f"{place}.output"))
            kept = tuple(part for part in content if isinstance(part, (Text, Image, Document)))
            tool_kind = "custom" if kind.startswith("custom") else "function"
            result = ToolResult(item["call_id"], kept, kind=tool_kind)  # type: ignore[arg-type]
            yield Turn("user", (result,), place)
        case "reasoning":
            yield Turn("assistant", (_reasoning(item),), place)
        case "web_search_call":
            # A record of what the provider's own tool did; the answer after it has what it found.
            return
        case kind:
            raise unsayable(f"{place}.type", Phrase("An item of the type '{kind}'", kind=kind))


def _reasoning(item: Json) -> Reasoning:
    parts = item.get("content") or item.get("summary") or ()
    text = "\n\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    encrypted = item.get("encrypted_content") or ""
    signature, maker, item_id = untagged_signature(encrypted, "openai")
    return Reasoning(text, signature, maker, not text, item_id or item.get("id") or "")


def _parts(content: Any, place: str) -> Iterator[Block]:
    if isinstance(content, str):
        yield Text(content)
        return
    for index, part in enumerate(content):
        yield _part(part, f"{place}[{index}]")


def _part(part: Json, place: str) -> Block:
    match part["type"]:
        case "input_text" | "output_text" | "text":
            return Text(part["text"])
        case "refusal":
            return Refusal(part["refusal"])
        case "input_image":
            url, detail = part.get("image_url") or "", part.get("detail")
            if inline := split_data_url(url):
                return Image(media_type=inline[0], data=inline[1], detail=detail)
            return Image(url=url, file_id=part.get("file_id") or "", detail=detail)
        case "input_file":
            name = part.get("filename") or ""
            if inline := split_data_url(part.get("file_data") or ""):
                return Document(media_type=inline[0], data=inline[1], name=name)
            url, file_id = part.get("file_url") or "", part.get("file_id") or ""
            return Document(url=url, file_id=file_id, name=name)
        case "input_audio":
            audio = part["input_audio"]
            return Audio(audio["data"], audio["format"])
    raise unsayable(place, Phrase("Input of the type '{type}'", type=part["type"]))


def _tools(tools: Iterable[Json]) -> Iterator[Tool]:
    for index, tool in enumerate(tools):
        match tool["type"]:
            case "function":
                yield _function(tool, "")
            case "namespace":
                for member in tool["tools"]:
                    yield _function(member, tool["name"])
            case "custom":
                description, form = tool.get("description"), tool.get("format")
                yield Tool(tool["name"], description, kind="custom", format=form)
            case kind if not kind.startswith(IGNORED_TOOLS):
                raise unsayable(f"tools[{index}].type", Phrase("The tool '{kind}'", kind=kind))


def _function(tool: Json, namespace: str) -> Tool:
    return Tool(
        tool["name"],
        tool.get("description"),
        tool.get("parameters"),
        tool.get("strict"),
        namespace=namespace,
    )


def _tool_choice(choice: Any) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return ToolChoice(choice)  # type: ignore[arg-type]
    match choice.get("type"):
        case "function" | "custom":
            return ToolChoice("required", (choice["name"],))
        case "allowed_tools":
            names = tuple(str(tool.get("name")) for tool in choice.get("tools") or ())
            return ToolChoice(choice.get("mode") or "auto", names)
    raise unsayable("tool_choice", Phrase("This choice of a tool"))


def _output_format(form: Any) -> OutputFormat | None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_schema":
        return OutputFormat(
            "json_schema",
            form.get("name") or "answer",
            form.get("schema"),
            form.get("description"),
            form.get("strict"),
        )
    return OutputFormat("json_object") if kind == "json_object" else None


class _Event(msgspec.Struct, gc=False):
    type: str
    output_index: int | None = None
    delta: Any = None
    item: Json = {}
    response: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def events_of_answer(body: bytes) -> list[Event]:
    """Return the events that a response in one piece makes."""
    response = _decode(body)
    source = EventSource()
    events: list[Event] = []
    for index, item in enumerate(response["output"]):
        events += source.item_done(index, item)
    events.append(source.finished(response))
    return events


class EventSource:
    """Makes events of a response's stream, which its reader let pass."""

    __slots__ = ("_calls", "_seen")

    def __init__(self) -> None:
        # Output indexes: of calls that began, and of items whose text came in pieces.
        self._calls: set[int] = set()
        self._seen: set[int] = set()

    def read(self, passed: bytes) -> list[Event]:
        """Return what whole events of the stream bring."""
        events: list[Event] = []
        for line in passed.split(b"\n"):
            if not line.startswith(b"data: {"):
                continue
            event = _decode_event(line[6:])
            if event.type == "response.output_text.delta":
                self._seen.add(event.output_index or 0)
                events.append(TextDelta(event.delta))
            else:
                events += self._events(event)
        return events

    def _events(self, event: _Event) -> Iterator[Event]:
        index = event.output_index or 0
        match event.type:
            case "response.output_item.added":
                yield from self._item_added(index, event.item)
            case "response.refusal.delta":
                self._seen.add(index)
                yield RefusalDelta(event.delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._seen.add(index)
                yield ReasoningDelta(event.delta)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._seen.add(index)
                yield ToolCallDelta(index, event.delta)
            case "response.output_item.done":
                yield from self.item_done(index, event.item)
            case "response.completed" | "response.incomplete":
                yield self.finished(event.response)

    def _item_added(self, index: int, item: Json) -> Iterator[Event]:
        if item["type"] in _CALL_KINDS and index not in self._calls:
            self._calls.add(index)
            kind = _CALL_KINDS[item["type"]]
            yield ToolCallStarted(index, item["call_id"], item["name"], kind)

    def item_done(self, index: int, item: Json) -> Iterator[Event]:
        """Yield what the end of an item brings: all of it, if no part of it came before."""
        is_new = index not in self._seen
        match item["type"]:
            case "message" if is_new:
                for part in item["content"]:
                    if part["type"] == "refusal":
                        yield RefusalDelta(part["refusal"])
                    elif part.get("text"):
                        yield TextDelta(part["text"])
            case "reasoning":
                parts = (item.get("summary") or []) + (item.get("content") or [])
                if is_new and parts:
                    yield ReasoningDelta("\n\n".join(part.get("text") or "" for part in parts))
                encrypted = item.get("encrypted_content") or ""
                is_redacted = not parts and bool(encrypted)
                yield ReasoningSigned(encrypted, "openai", is_redacted, item.get("id") or "")
            case "function_call" | "custom_tool_call" as kind:
                yield from self._item_added(index, item)
                text = item["input" if kind == "custom_tool_call" else "arguments"]
                if is_new and text:
                    yield ToolCallDelta(index, text)
                yield ToolCallEnded(index)

    def finished(self, response: Json) -> Finished:
        """Return the end of a response."""
        if response.get("status") == "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason")
            return Finished(_INCOMPLETE.get(str(reason), "length"))
        return Finished("tool_calls" if self._calls else "stop")

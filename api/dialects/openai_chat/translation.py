"""Chat completions to and from the typed middle: requests, answers and streams.

Clients' bodies were checked by `parse_chat` and upstreams' answers by the readers beside this
module, so what is read here has the dialect's types.
"""

from collections.abc import Iterator
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
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolChoice,
    ToolResult,
    Turn,
    split_data_url,
    unsayable,
)
from api.dialects.openai_chat.body import body_of
from api.dialects.openai_chat.writer import ReplyWriter, reply_body
from api.dialects.signatures import Maker
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
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# Parameters that change the answer and that only chat completions can say; with the values that
# change nothing.
_ONLY_HERE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "repetition_penalty": (1,),
    "modalities": (["text"],),
    "audio": (),
    "plugins": ([],),
    "functions": ([],),
    "web_search_options": (),
}


def conversation_of(request: ParsedRequest) -> Conversation:
    """Return what a chat completion's request asks for."""
    fields = request.fields
    stop = fields.get("stop") or []
    thinking = (fields.get("thinking") or {}).get("type")
    reasoning = fields.get("reasoning")
    effort = fields.get("reasoning_effort")
    if effort is None and isinstance(reasoning, dict):
        effort = reasoning.get("effort")
    if effort is None and thinking is not None:
        effort = "none" if thinking == "disabled" else "medium"
    return Conversation(
        turns=[_turn(message, index) for index, message in enumerate(fields["messages"])],
        tools=[_tool(tool) for tool in fields.get("tools") or ()],
        tool_choice=_tool_choice(fields.get("tool_choice")),
        parallel_tool_calls=fields.get("parallel_tool_calls"),
        output_format=_output_format(fields.get("response_format")),
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        top_k=fields.get("top_k"),
        stop=[stop] if isinstance(stop, str) else list(stop),
        presence_penalty=fields.get("presence_penalty") or None,
        frequency_penalty=fields.get("frequency_penalty") or None,
        seed=fields.get("seed"),
        effort=effort if isinstance(effort, str) else None,
        end_user=request.end_user,
        cache_key=str(fields.get("prompt_cache_key") or ""),
        verbosity=fields.get("verbosity"),
        is_streamed=request.is_streamed,
        only_here={
            name: fields[name]
            for name, neutral in _ONLY_HERE.items()
            if fields.get(name) is not None and fields[name] not in neutral
        },
    )


def _turn(message: Json, index: int) -> Turn:
    place = f"messages[{index}]"
    role = message["role"]
    if role == "tool":
        content = tuple(_parts(message.get("content"), place))
        result = ToolResult(
            message["tool_call_id"],
            tuple(part for part in content if isinstance(part, (Text, Image, Document))),
        )
        return Turn("user", (result,), place)
    if role == "function":
        raise unsayable(place, Phrase("A message with the role 'function'"))
    blocks: list[Block] = []
    if role == "assistant":
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        signed = list(_signed_reasoning(message.get("reasoning_details")))
        if signed:
            blocks += signed
        elif isinstance(reasoning, str):
            blocks.append(Reasoning(reasoning))
    blocks += _parts(message.get("content"), place)
    if refusal := message.get("refusal"):
        blocks.append(Refusal(refusal))
    if message.get("audio"):
        raise unsayable(f"{place}.audio", "Earlier audio answers are")
    if message.get("function_call"):
        raise unsayable(f"{place}.function_call", Phrase("The older 'function_call'"))
    for call in message.get("tool_calls") or ():
        if custom := call.get("custom"):
            blocks.append(ToolCall(call["id"], custom["name"], custom["input"], "custom"))
        else:
            function = call["function"]
            blocks.append(ToolCall(call["id"], function["name"], function["arguments"]))
    return Turn(role, tuple(blocks), place)


def _signed_reasoning(details: Any) -> Iterator[Reasoning]:
    """Yield the reasoning in `reasoning_details`, as OpenRouter's and our own answers have it."""
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        maker: Maker = (
            "openai" if str(detail.get("format", "")).startswith("openai") else "anthropic"
        )
        item_id = detail.get("id") or ""
        if detail.get("type") == "reasoning.encrypted" and isinstance(detail.get("data"), str):
            yield Reasoning("", detail["data"], maker, True, item_id)
        elif isinstance(detail.get("signature"), str) and isinstance(detail.get("text"), str):
            yield Reasoning(detail["text"], detail["signature"], maker, False, item_id)


def _parts(content: Any, place: str) -> Iterator[Block]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for index, part in enumerate(content or ()):
        yield _part(part, f"{place}.content[{index}]")


def _part(part: Json, place: str) -> Block:
    match part.get("type"):
        case "text":
            return Text(part["text"], part.get("cache_control"))
        case "refusal":
            return Refusal(part["refusal"])
        case "image_url":
            url, detail = part["image_url"]["url"], part["image_url"].get("detail")
            if inline := split_data_url(url):
                return Image(media_type=inline[0], data=inline[1], detail=detail)
            return Image(url=url, detail=detail)
        case "input_audio":
            return Audio(part["input_audio"]["data"], part["input_audio"]["format"])
        case "file":
            return _document(part["file"], place)
    raise unsayable(place, Phrase("Input of the type '{type}'", type=part.get("type")))


def _document(file: Json, place: str) -> Document:
    name = file.get("filename") or ""
    if isinstance(data := file.get("file_data"), str):
        if inline := split_data_url(data):
            return Document(media_type=inline[0], data=inline[1], name=name)
        if data.startswith(("https:", "http:")):
            return Document(url=data, name=name)
        return Document(media_type="application/pdf", data=data, name=name)
    if isinstance(file_id := file.get("file_id"), str):
        return Document(file_id=file_id, name=name)
    raise unsayable(place, Phrase("A file without 'file_data'"))


def _tool(tool: Json) -> Tool:
    if custom := tool.get("custom"):
        return Tool(
            custom["name"],
            custom.get("description"),
            kind="custom",
            format=custom.get("format"),
        )
    function = tool["function"]
    return Tool(
        function["name"],
        function.get("description"),
        function.get("parameters"),
        function.get("strict"),
        cache_control=tool.get("cache_control"),
    )


def _tool_choice(choice: Any) -> ToolChoice | None:
    if choice is None or isinstance(choice, str):
        return None if choice is None else ToolChoice(choice)  # type: ignore[arg-type]
    if allowed := choice.get("allowed_tools"):
        names = [_named(tool) for tool in allowed.get("tools") or ()]
        return ToolChoice(allowed.get("mode") or "auto", tuple(names))
    return ToolChoice("required", (_named(choice),))


def _named(tool: Json) -> str:
    return str((tool.get("function") or tool.get("custom") or tool).get("name"))


def _output_format(given: Any) -> OutputFormat | None:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "json_schema":
        schema = given["json_schema"]
        return OutputFormat(
            "json_schema",
            schema["name"],
            schema.get("schema"),
            schema.get("description"),
            schema.get("strict"),
        )
    return OutputFormat("json_object") if kind == "json_object" else None


class _Delta(msgspec.Struct, gc=False):
    """What events are made of: a delta, or a whole message."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Json] | None = None
    function_call: Json | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def events_of_answer(body: bytes) -> list[Event]:
    """Return the events that a completion in one piece makes."""
    choice = _decode(body)["choices"][0]
    source = EventSource()
    message = choice.get("message") or {"content": choice.get("text")}
    for index, call in enumerate(message.get("tool_calls") or ()):
        call["index"] = index
    events = source.events_of_delta(msgspec.convert(message, _Delta))
    if choice.get("finish_reason"):
        events.append(Finished(_REASONS.get(choice["finish_reason"], "stop")))
    return events


class EventSource:
    """Makes events of a stream's chunks, which its reader let pass."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: set[int] = set()

    def read(self, passed: bytes) -> list[Event]:
        """Return what whole events of the stream bring."""
        events: list[Event] = []
        for line in passed.split(b"\n"):
            if not line.startswith(b"data: {"):
                continue
            for choice in _decode_chunk(line[6:]).choices:
                if (delta := choice.delta) is not None:
                    events += self.events_of_delta(delta)
                elif choice.text:
                    events.append(TextDelta(choice.text))
                if reason := choice.finish_reason:
                    events.append(Finished(_REASONS.get(reason, "stop")))
        return events

    def events_of_delta(self, delta: _Delta) -> list[Event]:
        """Return what a delta, or a whole message, brings."""
        events: list[Event] = []
        if reasoning := delta.reasoning_content or delta.reasoning:
            events.append(ReasoningDelta(reasoning))
        if content := delta.content:
            events.append(TextDelta(content))
        if refusal := delta.refusal:
            events.append(RefusalDelta(refusal))
        if calls := delta.tool_calls:
            for call in calls:
                events += self._events_of_call(call)
        if called := delta.function_call:
            events += self._events_of_call({"index": 0, "id": "call_0", "function": called})
        return events

    def _events_of_call(self, call: Json) -> Iterator[Event]:
        index = call.get("index") or 0
        kind = "custom" if call.get("custom") else "function"
        called = call.get("function") or call.get("custom") or {}
        if index not in self._calls:
            self._calls.add(index)
            call_id = call.get("id") or f"call_{index}"
            yield ToolCallStarted(index, call_id, called.get("name") or "", kind)  # type: ignore[arg-type]
        if arguments := called.get("arguments") or called.get("input"):
            yield ToolCallDelta(index, arguments)

"""An upstream's chat completion request, from the typed middle."""

from collections.abc import Iterable, Iterator
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
    OutputFormat,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    alternated,
    custom_tool_schema,
    effort_of,
    text_of,
    unsayable,
)
from api.dialects.openai_chat.fields import finish_body
from api.phrases import Phrase

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


def body_of(
    conversation: Conversation, model: ModelEntry, route: RouteEntry, max_tokens: int
) -> Json:
    """Return an upstream's body for a conversation that came in another dialect.

    Raise UnsupportedParameterError for what chat completions can't say.
    """
    for name in conversation.only_here:
        raise unsayable(name, f"'{name}'")
    developer = "developer" if route.takes_developer_role else "system"
    body: Json = {"messages": list(_messages(conversation.turns, developer))}
    if conversation.tools:
        body["tools"] = [_written_tool(tool) for tool in conversation.tools]
        body |= _written_choice(conversation)
    optional = {
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "top_k": conversation.top_k,
        "stop": conversation.stop or None,
        "presence_penalty": conversation.presence_penalty,
        "frequency_penalty": conversation.frequency_penalty,
        "seed": conversation.seed,
        "user": conversation.end_user or None,
        "prompt_cache_key": conversation.cache_key or None,
        "verbosity": conversation.verbosity,
    }
    if "reasoning" in model.features:
        optional["reasoning_effort"] = effort_of(conversation)
    body |= {name: value for name, value in optional.items() if value is not None}
    if form := conversation.output_format:
        body["response_format"] = _written_format(form)
    if conversation.is_streamed:
        body["stream"] = True
    finish_body(body, model, route, max_tokens, is_streamed=conversation.is_streamed)
    return body


def _messages(turns: Iterable[Turn], developer: str) -> Iterator[Json]:
    for turn in alternated(turns):
        if turn.role == "assistant":
            yield _assistant_message(turn)
            continue
        rest: list[Block] = []
        for block in turn.blocks:
            if isinstance(block, ToolResult):
                yield from _tool_messages(block, turn.place, rest)
            else:
                rest.append(block)
        if rest:
            role = developer if turn.role == "developer" else turn.role
            yield {"role": role, "content": _content(rest, turn.place)}


def _tool_messages(result: ToolResult, place: str, after: list[Block]) -> Iterator[Json]:
    """Yield a tool's message. Images of the result go into the user's message `after` it."""
    text = text_of(result.content)
    if result.is_error:
        text = f"Error: {text}" if text else "Error"
    yield {"role": "tool", "tool_call_id": result.call_id, "content": text}
    after += [block for block in result.content if not isinstance(block, Text)]


def _assistant_message(turn: Turn) -> Json:
    message: Json = {"role": "assistant", "content": None}
    texts = [block.text for block in turn.blocks if isinstance(block, Text)]
    refusals = [block.text for block in turn.blocks if isinstance(block, Refusal)]
    reasoning = [block.text for block in turn.blocks if isinstance(block, Reasoning) and block.text]
    calls = [_written_call(block) for block in turn.blocks if isinstance(block, ToolCall)]
    if texts:
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if calls:
        message["tool_calls"] = calls
    if reasoning and calls:
        # Models that reason between calls want it back; after a finished answer none does.
        message["reasoning_content"] = "".join(reasoning)
    if message["content"] is None and not calls and not refusals:
        message["content"] = ""
    return message


def _written_call(call: ToolCall) -> Json:
    arguments = call.arguments
    if call.kind == "custom":
        arguments = _encode({CUSTOM_TOOL_INPUT: arguments}).decode()
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments or "{}"},
    }


def _content(blocks: list[Block], place: str) -> str | list[Json]:
    if all(isinstance(block, Text) for block in blocks):
        return text_of(blocks)
    return [_written_part(block, place) for block in blocks]


def _written_part(block: Block, place: str) -> Json:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            if block.file_id:
                raise unsayable(place, Phrase("An image by its file's id"))
            url = block.url or f"data:{block.media_type};base64,{block.data}"
            detail = {"detail": block.detail} if block.detail else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case Audio(data, form):
            return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
        case Document():
            return _written_document(block, place)
    raise unsayable(place, Phrase("This part"))


def _written_document(document: Document, place: str) -> Json:
    if document.text:
        title = f"{document.name}\n\n" if document.name else ""
        return {"type": "text", "text": title + document.text}
    if document.url:
        raise unsayable(place, Phrase("A document by its address"))
    if document.file_id:
        raise unsayable(place, Phrase("A document by its file's id"))
    data = f"data:{document.media_type};base64,{document.data}"
    return {
        "type": "file",
        "file": {"filename": document.name or "document.pdf", "file_data": data},
    }


def _written_tool(tool: Tool) -> Json:
    parameters, description = tool.parameters, tool.description
    if tool.kind == "custom":
        parameters, description = custom_tool_schema(tool)
    function: Json = {"name": tool.name}
    if description is not None:
        function["description"] = description
    function["parameters"] = parameters or {"type": "object", "properties": {}}
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {"type": "function", "function": function}


def _written_choice(conversation: Conversation) -> Json:
    written: Json = {}
    choice = conversation.tool_choice
    if choice is not None and choice.names and choice.mode == "required" and len(choice.names) == 1:
        written["tool_choice"] = {"type": "function", "function": {"name": choice.names[0]}}
    elif choice is not None:
        if choice.names:
            raise unsayable("tool_choice", Phrase("A choice among some of the tools"))
        written["tool_choice"] = choice.mode
    if conversation.parallel_tool_calls is not None:
        written["parallel_tool_calls"] = conversation.parallel_tool_calls
    return written


def _written_format(form: OutputFormat) -> Json:
    if form.kind == "json_object":
        return {"type": "json_object"}
    schema: Json = {"name": form.name, "schema": form.schema or {}}
    if form.description is not None:
        schema["description"] = form.description
    if form.is_strict is not None:
        schema["strict"] = form.is_strict
    return {"type": "json_schema", "json_schema": schema}

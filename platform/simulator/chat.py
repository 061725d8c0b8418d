"""`POST /chat/completions`, plain and streamed."""

from typing import Any

import msgspec

from simulator import delivery, faults, usage
from simulator.answer import CONTENT, REASONING, REFUSAL, AnswerRequest, Choice, PlannedAnswer, plan
from simulator.chunks import ChatChunks
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.prompt import Passage, Prompt, read_prompt
from simulator.script import Script
from simulator.scripted_request import (
    Choices,
    Flag,
    MaxTokens,
    StreamOptions,
    read_scripted_request,
)
from simulator.tools import Tool, ToolUse


class Message(msgspec.Struct):
    """A message; what it carries besides is the model's business, and this one ignores it."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatRequest(msgspec.Struct):
    """The fields of a chat request that change the answer."""

    model: str
    messages: list[Message]
    stream: Flag = None
    stream_options: StreamOptions | None = None
    n: Choices = None
    max_tokens: MaxTokens = None
    max_completion_tokens: MaxTokens = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    reasoning: dict[str, Any] | bool | None = None
    stop: str | list[str] | None = None
    parallel_tool_calls: Flag = None


_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


async def create(exchange: HttpExchange) -> None:
    """Answer a chat request."""
    scripted = read_scripted_request(exchange, ChatRequest)
    request = scripted.fields
    _check_messages(request.messages)
    passages = [Passage(message.role, message.content) for message in request.messages]
    prompt = read_prompt(scripted, passages, _tool_use(request))
    script = scripted.script
    answer = plan(request.model, _answer_request(request, prompt), script)
    scripted.note(answer.counts.prompt, messages=len(request.messages), prompt_bytes=prompt.size)
    if await faults.instead(exchange, script, stream=bool(request.stream)):
        return
    if request.stream:
        chunks = ChatChunks(answer, script, usage_asked=scripted.usage_asked)
        await delivery.stream(exchange, chunks)
    else:
        body = _body(answer, script)
        await delivery.plain(exchange, body, script, answer.counts.completion)


def _check_messages(messages: list[Message]) -> None:
    if not messages:
        raise SimulatedError("messages: at least one is needed", param="messages")
    for place, message in enumerate(messages):
        param = f"messages[{place}]"
        if message.role not in _ROLES:
            raise SimulatedError(f"{param}.role: {message.role!r} is no role", param=param)
        if message.role == "tool" and not message.tool_call_id:
            raise SimulatedError(f"{param}: a tool's message names its tool_call_id", param=param)
        if message.content is None and not message.tool_calls and message.role != "assistant":
            raise SimulatedError(f"{param}.content: a text or parts are needed", param=param)


def _answer_request(request: ChatRequest, prompt: Prompt) -> AnswerRequest:
    limits = [
        limit for limit in (request.max_tokens, request.max_completion_tokens) if limit is not None
    ]
    return AnswerRequest(
        choices=request.n or 1,
        max_tokens=min(limits, default=None),
        prompt_tokens=prompt.tokens,
        reasoning=_reasoning(request),
        calls=prompt.calls,
        tool_results=prompt.tool_results,
        json_schema=_json_schema(request.response_format),
        stop=[request.stop] if isinstance(request.stop, str) else request.stop or (),
        turn=prompt.turn,
    )


def _reasoning(request: ChatRequest) -> bool | None:
    """Return whether reasoning is switched on or off, or None where the request doesn't say.

    Providers have three ways to ask for it: GLM's `thinking`, OpenAI's `reasoning_effort` and
    OpenRouter's `reasoning`.
    """
    if request.thinking is not None:
        match request.thinking.get("type"):
            case "enabled":
                return True
            case "disabled":
                return False
        raise SimulatedError("thinking.type: enabled or disabled", param="thinking")
    if isinstance(request.reasoning, bool):
        return request.reasoning
    if request.reasoning is not None:
        off = request.reasoning.get("enabled") is False
        return not off and request.reasoning.get("effort") != "none"
    return None if request.reasoning_effort is None else request.reasoning_effort != "none"


def _tool_use(request: ChatRequest) -> ToolUse:
    functions = [_declared(tool) for tool in request.tools or []]
    return ToolUse(
        tools=[Tool(each["name"], each.get("parameters")) for each in functions],
        named=_named(request.tool_choice),
        barred=request.tool_choice == "none",
        answered=request.messages[-1].role == "tool",
        parallel=request.parallel_tool_calls is not False,
    )


def _declared(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise SimulatedError("tools: each needs a function with a name", param="tools")
    return function


def _named(choice: str | dict[str, Any] | None) -> str:
    """Return the function that `tool_choice` names, or nothing."""
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise SimulatedError("tool_choice: a function's name is needed", param="tool_choice")
        return name
    if choice not in {None, "none", "auto", "required"}:
        raise SimulatedError(f"tool_choice: {choice!r} is no choice", param="tool_choice")
    return ""


def _json_schema(response_format: dict[str, Any] | None) -> Any:
    """Return the schema to satisfy, True for any JSON object, None for free text."""
    match (response_format or {"type": "text"}).get("type"):
        case "text":
            return None
        case "json_object":
            return True
        case "json_schema":
            named = (response_format or {}).get("json_schema")
            if isinstance(named, dict) and isinstance(named.get("schema"), dict):
                return named["schema"]
    raise SimulatedError("response_format: unknown, or without its schema", param="response_format")


def _body(answer: PlannedAnswer, script: Script) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"{ChatChunks.id_prefix}{answer.number:08d}",
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {
                "index": choice.index,
                "message": _message(choice, script),
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for choice in answer.choices
        ],
    }
    if not script.usage.missing:
        body["usage"] = usage.usage_object(answer.counts, script)
    return body


def _message(choice: Choice, script: Script) -> dict[str, Any]:
    content = choice.joined(CONTENT)
    refusal = choice.joined(REFUSAL)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content or None if choice.calls or refusal else content,
    }
    if refusal:
        message["refusal"] = refusal
    if choice.reasoning and script.dialect != "think":
        message[script.dialect] = choice.joined(REASONING)
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.calls
        ]
    return message

"""`POST /responses`, plain and streamed: OpenAI's newer dialect.

Nothing is stored, so a `previous_response_id` is never found. It refuses what the real one
refuses and a translation may get wrong: parts of another dialect, tool outputs without their
calls, calls without their outputs, and encrypted reasoning that is not ours.
"""

from typing import Any

import msgspec

from simulator import delivery, faults
from simulator.answer import AnswerRequest, plan
from simulator.dialect import OPENAI, Dialect, Frame
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.prompt import Passage, Prompt, read_prompt
from simulator.responses_answer import ResponseStream
from simulator.responses_input import checked_passages
from simulator.scripted_request import Flag, MaxTokens, read_scripted_request
from simulator.tools import Tool, ToolUse


class ResponsesRequest(msgspec.Struct):
    """The fields of a Responses request that change the answer or are repeated in it."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: Flag = None
    max_output_tokens: MaxTokens = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: Flag = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    text: dict[str, Any] | None = None
    store: Flag = None
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None
    temperature: float | None = None
    top_p: float | None = None


async def create(exchange: HttpExchange) -> None:
    """Answer a Responses request."""
    exchange.dialect = OPENAI_RESPONSES
    scripted = read_scripted_request(exchange, ResponsesRequest)
    request = scripted.fields
    if request.previous_response_id is not None:
        raise SimulatedError(
            f"Previous response with id {request.previous_response_id!r} not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    passages = _passages(request)
    prompt = read_prompt(scripted, passages, _tool_use(request))
    answer = plan(request.model, _answer_request(request, prompt), scripted.script)
    scripted.note(answer.counts.prompt, messages=len(passages), prompt_bytes=prompt.size)
    if await faults.instead(exchange, scripted.script, stream=bool(request.stream)):
        return
    stream = ResponseStream(
        answer,
        scripted.script,
        repeated=_repeated(request),
        summarised=bool((request.reasoning or {}).get("summary")),
        encrypted="reasoning.encrypted_content" in (request.include or ()),
    )
    if request.stream:
        await delivery.stream(exchange, stream)
    else:
        await delivery.plain(exchange, stream.whole(), scripted.script, answer.counts.completion)


def _passages(request: ResponsesRequest) -> list[Passage]:
    instructions = [Passage("system", request.instructions)] if request.instructions else []
    return instructions + checked_passages(request.input)


def _repeated(request: ResponsesRequest) -> dict[str, Any]:
    """Return the request's settings as the answer repeats them, with the API's defaults."""
    reasoning = request.reasoning or {}
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": request.text or {"format": {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
    }


def _answer_request(request: ResponsesRequest, prompt: Prompt) -> AnswerRequest:
    return AnswerRequest(
        max_tokens=request.max_output_tokens,
        prompt_tokens=prompt.tokens,
        reasoning=None if request.reasoning is None else request.reasoning.get("effort") != "none",
        calls=prompt.calls,
        tool_results=prompt.tool_results,
        json_schema=_json_schema(request.text),
        turn=prompt.turn,
    )


def _tool_use(request: ResponsesRequest) -> ToolUse:
    choice = request.tool_choice
    if isinstance(choice, str) and choice not in {"none", "auto", "required"}:
        raise SimulatedError(f"Invalid value: {choice!r}.", param="tool_choice")
    named = ""
    if isinstance(choice, dict) and choice.get("type") in {"function", "custom"}:
        named = str(choice.get("name", ""))
    last = request.input[-1] if isinstance(request.input, list) and request.input else {}
    return ToolUse(
        tools=[
            tool
            for place, each in enumerate(request.tools or [])
            for tool in _declared(each, f"tools[{place}]")
        ],
        named=named,
        barred=choice == "none",
        answered=str(last.get("type", "")).endswith("_call_output"),
        parallel=request.parallel_tool_calls is not False,
    )


def _declared(tool: dict[str, Any], where: str, namespace: str = "") -> list[Tool]:
    """Return the tools a client runs; OpenAI's own (web search and the like) are never called."""
    kind, name = tool.get("type"), tool.get("name")
    if kind not in {"function", "custom", "namespace"}:
        if not isinstance(kind, str):
            raise SimulatedError(f"Missing required parameter: '{where}.type'.", param=where)
        return []
    if not isinstance(name, str) or not name:
        raise SimulatedError(f"Missing required parameter: '{where}.name'.", param=f"{where}.name")
    if kind == "namespace":
        inner = tool.get("tools") or []
        return [one for each in inner for one in _declared(each, f"{where}.tools", name)]
    return [Tool(name, tool.get("parameters"), kind == "custom", namespace)]


def _json_schema(settings: dict[str, Any] | None) -> Any:
    """Return the schema to satisfy, True for any JSON object, None for free text."""
    wanted = (settings or {}).get("format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return True
        case "json_schema" if isinstance(wanted.get("schema"), dict) and wanted.get("name"):
            return wanted["schema"]
    raise SimulatedError("text.format: unknown, or without its name or schema", param="text.format")


OPENAI_RESPONSES = Dialect(
    error=OPENAI.error,
    plain=Frame(
        b'{"id":"resp_sim_broken","object":"response","status":"completed","model":"sim",'
        b'"output":[{"id":"msg_sim_broken","type":"message","role":"assistant",'
        b'"content":[{"type":"output_text","annotations":[],"text":"',
        b'"}]}]}',
    ),
    stream=Frame(
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":0,"output_index":0,'
        b'"content_index":0,"item_id":"msg_sim_broken","delta":"',
        b'"}\n\n',
        b"event: response.completed\n"
        b'data: {"type":"response.completed","sequence_number":1,'
        b'"response":{"id":"resp_sim_broken","status":"completed"}}\n\n',
    ),
)

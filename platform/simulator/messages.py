"""`POST /messages`, plain and streamed, and `/messages/count_tokens`: Anthropic's dialect.

It refuses what the real one refuses and a translation may get wrong: a missing `max_tokens` or
version header, tool results without their calls, calls without their results, empty texts, and
thinking whose signature is not ours.
"""

from typing import Annotated, Any

import msgspec

from simulator import delivery, faults
from simulator.answer import AnswerRequest, plan
from simulator.dialect import Dialect, Frame
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.messages_answer import MessageStream, error_details, message_body
from simulator.messages_content import checked_passages
from simulator.prompt import Passage, Prompt, read_prompt
from simulator.scripted_request import Flag, read_scripted_request
from simulator.tools import Tool, ToolUse

MIN_THINKING_BUDGET = 1024


class MessagesRequest(msgspec.Struct):
    """The fields of a Messages request that change the answer; the others are ignored."""

    model: str
    messages: list[dict[str, Any]]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: Flag = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    stop_sequences: list[str] | None = None
    output_config: dict[str, Any] | None = None


async def create(exchange: HttpExchange) -> None:
    """Answer a Messages request."""
    exchange.dialect = ANTHROPIC
    _check_version(exchange)
    scripted = read_scripted_request(exchange, MessagesRequest)
    request = scripted.fields
    if request.max_tokens is None:
        raise SimulatedError("max_tokens: Field required", param="max_tokens")
    passages = _passages(request)
    prompt = read_prompt(scripted, passages, _tool_use(request))
    answer = plan(request.model, _answer_request(request, prompt), scripted.script)
    scripted.note(answer.counts.prompt, messages=len(request.messages), prompt_bytes=prompt.size)
    if await faults.instead(exchange, scripted.script, stream=bool(request.stream)):
        return
    hidden = (request.thinking or {}).get("display") == "omitted"
    if request.stream:
        await delivery.stream(exchange, MessageStream(answer, scripted.script, hidden=hidden))
    else:
        body = message_body(answer, scripted.script, hidden=hidden)
        await delivery.plain(exchange, body, scripted.script, answer.counts.completion)


async def count_tokens(exchange: HttpExchange) -> None:
    """Answer with the input tokens that `create` would count."""
    exchange.dialect = ANTHROPIC
    _check_version(exchange)
    scripted = read_scripted_request(exchange, MessagesRequest)
    prompt = read_prompt(scripted, _passages(scripted.fields), _tool_use(scripted.fields))
    script = scripted.script
    tokens = prompt.tokens if script.prompt_tokens is None else script.prompt_tokens
    scripted.note(tokens, messages=len(scripted.fields.messages), prompt_bytes=prompt.size)
    if not await faults.instead(exchange, script):
        await delivery.plain(exchange, {"input_tokens": tokens}, script, tokens=0)


def _check_version(exchange: HttpExchange) -> None:
    if not exchange.request.headers.get("anthropic-version"):
        raise SimulatedError("anthropic-version: header is required")


def _passages(request: MessagesRequest) -> list[Passage]:
    system = [Passage("system", request.system)] if request.system else []
    return system + checked_passages(request.messages)


def _answer_request(request: MessagesRequest, prompt: Prompt) -> AnswerRequest:
    return AnswerRequest(
        max_tokens=request.max_tokens,
        prompt_tokens=prompt.tokens,
        reasoning=_thinks(request),
        calls=prompt.calls,
        tool_results=prompt.tool_results,
        json_schema=_json_schema(request.output_config),
        stop=request.stop_sequences or (),
        turn=prompt.turn,
    )


def _thinks(request: MessagesRequest) -> bool | None:
    """Return whether thinking is switched on or off, or None where the request doesn't say."""
    if request.thinking is None:
        return None
    match request.thinking.get("type"):
        case "adaptive":
            return True
        case "disabled":
            return False
        case "enabled":
            budget = request.thinking.get("budget_tokens")
            if not isinstance(budget, int) or budget < MIN_THINKING_BUDGET:
                raise SimulatedError(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to"
                    f" {MIN_THINKING_BUDGET}"
                )
            if budget >= (request.max_tokens or budget + 1):
                raise SimulatedError("`max_tokens` must be greater than `thinking.budget_tokens`")
            return True
    raise SimulatedError("thinking.type: Input should be 'adaptive', 'disabled' or 'enabled'")


def _tool_use(request: MessagesRequest) -> ToolUse:
    choice = request.tool_choice or {"type": "auto"}
    kind = choice.get("type")
    if kind not in {"auto", "any", "tool", "none"}:
        raise SimulatedError("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    return ToolUse(
        tools=[tool for each in request.tools or [] if (tool := _declared(each))],
        named=str(choice.get("name", "")) if kind == "tool" else "",
        barred=kind == "none",
        answered=bool(request.messages) and _brings_result(request.messages[-1]),
        parallel=choice.get("disable_parallel_tool_use") is not True,
    )


def _declared(tool: dict[str, Any]) -> Tool | None:
    """Return a client's tool. Anthropic's own have a versioned type and are never called here."""
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        raise SimulatedError("tools.0.name: Field required")
    if tool.get("type", "custom") != "custom":
        return None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise SimulatedError(f"tools.{name}.input_schema.type: Input should be 'object'")
    return Tool(name, schema)


def _brings_result(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _json_schema(output_config: dict[str, Any] | None) -> Any:
    wanted = (output_config or {}).get("format")
    if wanted is None:
        return None
    if (
        isinstance(wanted, dict)
        and wanted.get("type") == "json_schema"
        and isinstance(wanted.get("schema"), dict)
    ):
        return wanted["schema"]
    raise SimulatedError("output_config.format: unknown, or without its schema")


def _error(error: SimulatedError, request_id: str) -> dict[str, Any]:
    return {"type": "error", "error": error_details(error), "request_id": request_id}


ANTHROPIC = Dialect(
    error=_error,
    plain=Frame(
        b'{"id":"msg_sim_broken","type":"message","role":"assistant","model":"sim",'
        b'"content":[{"type":"text","text":"',
        b'"}],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":1,"output_tokens":1}}',
    ),
    stream=Frame(
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"',
        b'"}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    id_header="request-id",
    takes_api_key_header=True,
)

"""`POST /completions`, the legacy endpoint: a prompt instead of messages."""

from typing import Any

import msgspec

from simulator import delivery, faults, text, usage
from simulator.answer import CONTENT, AnswerRequest, PlannedAnswer, plan
from simulator.chunks import TextChunks
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.script import Script
from simulator.scripted_request import (
    Choices,
    Flag,
    MaxTokens,
    StreamOptions,
    read_scripted_request,
)

# One text, one tokenised text, or a list of either.
Prompt = str | list[Any]


class CompletionRequest(msgspec.Struct):
    """The fields of a completion request that change the answer."""

    model: str
    prompt: Prompt
    stream: Flag = None
    stream_options: StreamOptions | None = None
    n: Choices = None
    max_tokens: MaxTokens = None
    stop: str | list[str] | None = None


async def create(exchange: HttpExchange) -> None:
    """Answer a completion request: `n` choices for each prompt, in the prompts' order."""
    scripted = read_scripted_request(exchange, CompletionRequest)
    request, script = scripted.fields, scripted.script
    sizes = prompt_sizes(request.prompt)
    if len(sizes) > 128:
        raise SimulatedError("prompt: at most 128", param="prompt")
    wanted = AnswerRequest(
        choices=len(sizes) * (request.n or 1),
        max_tokens=request.max_tokens,
        prompt_tokens=text.token_count(sum(sizes)),
        stop=[request.stop] if isinstance(request.stop, str) else request.stop or (),
        reasoning=False,  # the legacy endpoint has no place for it
    )
    answer = plan(request.model, wanted, script)
    scripted.note(answer.counts.prompt, prompts=len(sizes), prompt_bytes=sum(sizes))
    if await faults.instead(exchange, script, stream=bool(request.stream)):
        return
    if request.stream:
        chunks = TextChunks(answer, script, usage_asked=scripted.usage_asked)
        await delivery.stream(exchange, chunks)
    else:
        body = _body(answer, script)
        await delivery.plain(exchange, body, script, answer.counts.completion)


def prompts_in(prompt: Prompt) -> list[Any]:
    """Return the prompts one by one: texts, or lists of tokens."""
    if not isinstance(prompt, str) and not prompt:
        raise SimulatedError("prompt: at least one is needed", param="prompt")
    return [prompt] if isinstance(prompt, str) or _is_tokens(prompt) else prompt


def prompt_sizes(prompt: Prompt) -> list[int]:
    """Return the bytes of each prompt; a prompt's ready-made token counts as one of ours."""
    return [_size(one) for one in prompts_in(prompt)]


def _size(prompt: Any) -> int:
    if isinstance(prompt, str):
        return text.text_bytes(prompt)
    if _is_tokens(prompt):
        return len(prompt) * text.TOKEN_BYTES
    raise SimulatedError("prompt: texts, or lists of tokens", param="prompt")


def _is_tokens(prompt: Any) -> bool:
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(isinstance(token, int) and not isinstance(token, bool) for token in prompt)
    )


def _body(answer: PlannedAnswer, script: Script) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"{TextChunks.id_prefix}{answer.number:08d}",
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {
                "text": choice.joined(CONTENT),
                "index": choice.index,
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for choice in answer.choices
        ],
    }
    if not script.usage.missing:
        body["usage"] = usage.usage_object(answer.counts, script)
    return body

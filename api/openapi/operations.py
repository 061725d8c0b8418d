"""The relay's operations: one row for each endpoint of `api/surfaces.py`, by its name."""

from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from api.completion_requests import CompletionRequest
from api.openapi import answers
from api.requests import ChatRequest

KEY_ERRORS = (401, 403, 429, 500, 503)
CALL_ERRORS = (400, 401, 402, 403, 404, 413, 415, 429, 500, 502, 503, 504)
COMMON_HEADERS = ("X-Request-Id",)
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

HELLO = [{"role": "user", "content": "Hello!"}]
_USAGE = {"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}
_COMPLETION = {
    "id": "chatcmpl-0198c2f0a1b27cc8",
    "object": "chat.completion",
    "created": 1_719_000_000,
    "model": "glm-5.2",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello! How can I help you?"},
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}
_CHUNK = (
    'data: {"id":"chatcmpl-0198c2f0a1b27cc8","object":"chat.completion.chunk",'
    '"created":1719000000,"model":"glm-5.2","choices":[{"index":0,"delta":{"content":"Hello"},'
    '"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
_MODEL = {
    "id": "glm-5.2",
    "object": "model",
    "created": 1_700_000_000,
    "owned_by": "z-ai",
    "name": "GLM-5.2",
    "context_length": 256_000,
    "max_completion_tokens": 128_000,
    "reasoning": True,
    "supports_files": True,
    "supports_images": False,
    "input_modalities": ["text", "file"],
    "output_modalities": ["text"],
    "quantization": None,
    "pricing": {"prompt": "0.0000007", "completion": "0.0000025"},
    "supported_sampling_parameters": ["temperature", "top_p", "stop"],
    "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
    "datacenters": [],
}
_TEXT = {
    "id": "cmpl-0198c2f0a1b27cc8",
    "object": "text_completion",
    "created": 1_719_000_000,
    "model": "zai-org/GLM-4.7-FP8",
    "choices": [
        {"index": 0, "text": " there was a mill.", "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": _USAGE,
}
_TEXT_CHUNK = (
    'data: {"id":"cmpl-0198c2f0a1b27cc8","object":"text_completion","created":1719000000,'
    '"model":"zai-org/GLM-4.7-FP8","choices":[{"index":0,"text":" there","logprobs":null,'
    '"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
_CHAT_MODEL = {
    **_MODEL,
    "key": "glm-5.2",
    "max_output_tokens": 128_000,
    "default_max_tokens": 16_384,
    "max_messages": None,
    "supports_web_search": False,
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One endpoint in OpenAPI's terms.

    `path` is the endpoint's, its argument in braces. `errors` are statuses; their answers are made
    from the tree of `api/errors.py`. `stream` is the struct in a stream's events. `examples` are
    requests by title.
    """

    path: str
    method: str
    operation_id: str
    tag: str
    summary: str
    description: str
    answer: type[Struct]
    answer_example: Any
    errors: tuple[int, ...]
    body: type[Struct] | None = None
    stream: type[Struct] | None = None
    stream_example: str = ""
    examples: dict[str, Any] = field(default_factory=dict)
    argument: str = ""
    headers: tuple[str, ...] = COMMON_HEADERS + LIMIT_HEADERS
    is_public: bool = False


OPERATIONS: dict[str, Operation] = {
    "chat_completions": Operation(
        path="/chat/completions",
        method="post",
        operation_id="create_chat_completion",
        tag="Chat",
        summary="Create a chat completion",
        description=(
            "Answers a conversation, whole or (`stream: true`) as server-sent events that end "
            "with `data: [DONE]`. Comments (`: keepalive`) may stand between events. Credits are "
            "reserved before the model is asked, and what is left of them returns with the exact "
            "usage; a failed or empty answer costs nothing. Who closes the connection pays for "
            "what was delivered. Fields unknown to us are passed on to the model."
        ),
        body=ChatRequest,
        examples={
            "Minimal": {"model": "glm-5.2", "messages": HELLO},
            "Streamed, with usage": {
                "model": "glm-5.2",
                "messages": HELLO,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        },
        answer=answers.ChatCompletion,
        answer_example=_COMPLETION,
        stream=answers.ChatCompletionChunk,
        stream_example=_CHUNK,
        errors=CALL_ERRORS,
        headers=(*COMMON_HEADERS, *LIMIT_HEADERS, "X-Request-Cost"),
    ),
    "completions": Operation(
        path="/completions",
        method="post",
        operation_id="create_completion",
        tag="Chat",
        summary="Continue a text (legacy)",
        description=(
            "Continues one or several prompts, whole or streamed. For anything new, use chat "
            "completions: the same models answer there, at the same prices."
        ),
        body=CompletionRequest,
        examples={
            "Minimal": {
                "model": "zai-org/GLM-4.7-FP8",
                "prompt": "Once upon a time",
                "max_tokens": 200,
                "temperature": 0.7,
            }
        },
        answer=answers.TextCompletion,
        answer_example=_TEXT,
        stream=answers.TextCompletion,
        stream_example=_TEXT_CHUNK,
        errors=CALL_ERRORS,
        headers=(*COMMON_HEADERS, *LIMIT_HEADERS, "X-Request-Cost"),
    ),
    "chat_models": Operation(
        path="/chat/models",
        method="get",
        operation_id="list_chat_models",
        tag="Models",
        summary="List the chat models with their output limits",
        description="What `GET /models` says of chat models, and how much they may generate.",
        answer=answers.ChatModelList,
        answer_example={"object": "list", "data": [_CHAT_MODEL]},
        errors=KEY_ERRORS,
    ),
    "models": Operation(
        path="/models",
        method="get",
        operation_id="list_models",
        tag="Models",
        summary="List the models",
        description="Lists the models that the mount serves, with capabilities and prices.",
        answer=answers.ModelList,
        answer_example={"object": "list", "data": [_MODEL]},
        errors=KEY_ERRORS,
    ),
    "model": Operation(
        path="/models/{model}",
        method="get",
        operation_id="get_model",
        tag="Models",
        summary="Get a model",
        description="Shows one model by its name or an alias. Names may contain slashes.",
        argument="The model's name.",
        answer=answers.ModelObject,
        answer_example=_MODEL,
        errors=(*KEY_ERRORS, 404),
    ),
    "health": Operation(
        path="/health",
        method="get",
        operation_id="get_health",
        tag="Health",
        summary="Ask how the models do",
        description="Needs no key.",
        answer=answers.Health,
        answer_example={"status": "ok", "version": "1.0", "models": {"glm-5.2": "operational"}},
        errors=(500,),
        headers=COMMON_HEADERS,
        is_public=True,
    ),
}

"""`POST …/chat/completions`: an answer to a conversation, whole or streamed."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.dialects.openai_chat import CHAT
from api.dialects.openai_chat.messages import ToolCall
from api.dialects.openai_chat.request import ChatRequest
from api.gateway.quote import quote_text
from api.operations.base import (
    MODEL_NOTE,
    USER_NOTE,
    Cost,
    DocsPage,
    Playground,
    Tokens,
    UnixSeconds,
    metered,
)


class PromptTokensDetails(Struct):
    """A breakdown of the prompt's tokens."""

    cached_tokens: Annotated[Tokens, Meta(description="Charged at the cached-input price.")] = 0


class CompletionTokensDetails(Struct):
    """A breakdown of the completion's tokens."""

    reasoning_tokens: Annotated[Tokens, Meta(description="Tokens used for reasoning; charged.")] = 0


class Usage(Struct):
    """The billed tokens."""

    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Cost | UnsetType = UNSET


class AnswerMessage(Struct):
    """The model's message. The mount determines which reasoning field it has."""

    role: Literal["assistant"]
    content: str | None = None
    reasoning: Annotated[str, Meta(description="Under `/` and `/v1`.")] | None = None
    reasoning_content: Annotated[str, Meta(description="Under `/api/…`.")] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(Struct):
    """One of the `n` answers."""

    index: Annotated[int, Meta(ge=0)]
    message: AnswerMessage
    finish_reason: (
        Annotated[str, Meta(description="`stop`, `length`, `tool_calls`, `content_filter`, …")]
        | None
    )
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Struct):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: UnixSeconds
    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    choices: list[ChatChoice]
    usage: Usage


class Delta(Struct):
    """What an event adds to a choice's message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChunkChoice(Struct):
    """A part of one of the `n` answers. The last has an empty delta and the finish reason."""

    index: Annotated[int, Meta(ge=0)]
    delta: Delta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Struct):
    """The data of one event of a stream, which ends with `data: [DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: UnixSeconds
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}
COMPLETION = {
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
    "usage": USAGE,
}
CHUNK = (
    'data: {"id":"chatcmpl-0198c2f0a1b27cc8","object":"chat.completion.chunk",'
    '"created":1719000000,"model":"glm-5.2","choices":[{"index":0,"delta":{"content":"Hello"},'
    '"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)

# Of every request for text.
GENERATION_NOTES = {
    "model": MODEL_NOTE,
    "max_tokens": "Maximum number of tokens to generate, including reasoning. Default: the "
    "model's. Capped at the model's output limit.",
    "n": "Number of answers to generate; all of them are charged.",
    "stream": "Whether to stream the response as server-sent events.",
    "stream_options": "With `include_usage`, the last event before `[DONE]` has the usage.",
    "logit_bias": "Bias to add to tokens' logits, by token id.",
    "metadata": "Passed on unchanged.",
    "temperature": "Randomness of the output. Default: the model's.",
    "top_p": "Nucleus sampling: the probability mass to sample from. Default: the model's.",
    "top_k": "Sample only from the K most likely tokens.",
    "stop": "Sequences at which generation stops.",
    "seed": "The same seed and input give the same output, if the model supports it.",
    "presence_penalty": "Values above 0 encourage new topics.",
    "frequency_penalty": "Values above 0 discourage repetition.",
    "repetition_penalty": "Values above 1 discourage repetition, as many open models define it.",
    "user": USER_NOTE,
}

CHAT_COMPLETIONS = metered(
    name="chat_completions",
    dialect=CHAT,
    quote=quote_text,
    path="/chat/completions",
    # Other paths below /chat at the root are a page's.
    root_prefix="/chat/completions",
    operation_id="create_chat_completion",
    tag="Chat",
    summary="Create a chat completion",
    description=(
        "Answers a conversation, whole or (`stream: true`) as server-sent events that end with "
        "`data: [DONE]`. Comments (`: keepalive`) may stand between events. Credits are reserved "
        "before the model is called, and the rest is released with the exact usage; a failed or "
        "empty answer costs nothing. If you close the connection, you pay for what was delivered. "
        "Unknown fields are ignored; parameters that would change the price are refused unless the "
        "model offers them."
    ),
    body=ChatRequest,
    notes={
        **GENERATION_NOTES,
        "messages": "The conversation so far.",
        "max_completion_tokens": (
            "OpenAI's newer name for `max_tokens`; the smaller of the two applies."
        ),
        "tools": "Functions the model can call.",
        "tool_choice": "`auto` (the default), `none`, `required`, or a specific function.",
        "parallel_tool_calls": "Whether the model can call several functions at once.",
        "response_format": "`json_object`: any JSON object (also ask for it in a message). "
        "`json_schema`: JSON that matches the schema.",
        "thinking": 'Turns reasoning on or off: `{"type": "enabled"}` or `{"type": "disabled"}`.',
        "plugins": '`[{"id": "web"}]` lets the model search the web, if it supports that.',
        "logprobs": "Whether to return the tokens' log probabilities.",
        "top_logprobs": "Number of most likely tokens to return at each position.",
    },
    examples={
        "Minimal": {"model": "glm-5.2", "messages": HELLO},
        "Streamed, with usage": {
            "model": "glm-5.2",
            "messages": HELLO,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    },
    answer=ChatCompletion,
    answer_example=COMPLETION,
    stream=ChatCompletionChunk,
    stream_example=CHUNK,
    model_kind="chat",
    page=DocsPage(
        slug="chat-completions", title="Chat completions", summary="Answer a conversation."
    ),
    playground=Playground(
        common=("model", "messages", "max_tokens", "temperature", "stream"),
        call="chat.completions.create",
        takes=(
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "n",
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "seed",
            "stream",
            "stream_options",
            "logit_bias",
            "metadata",
            "user",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "logprobs",
            "top_logprobs",
        ),
        prints="answer.choices[0].message.content",
        streams="chunk.choices[0].delta.content",
    ),
)

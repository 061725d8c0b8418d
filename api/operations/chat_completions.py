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
    DocsPage,
    Playground,
    Tokens,
    UnixSeconds,
    metered,
)


class PromptTokensDetails(Struct):
    """What the prompt's tokens were made up of."""

    cached_tokens: Annotated[Tokens, Meta(description="Read from the cache, at its price.")] = 0


class CompletionTokensDetails(Struct):
    """What the completion's tokens were made up of."""

    reasoning_tokens: Annotated[Tokens, Meta(description="Spent on reasoning; billed.")] = 0


class Usage(Struct):
    """The tokens that are billed."""

    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Annotated[float, Meta(description="In dollars; in streams only.")] | UnsetType = UNSET


class AnswerMessage(Struct):
    """The model's message. Which of the reasoning fields is there, the mount decides."""

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
    model: Annotated[str, Meta(description="The name that the request called the model by.")]
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
    """A part of one of the `n` answers. The last one has an empty delta and the reason."""

    index: Annotated[int, Meta(ge=0)]
    delta: Delta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Struct):
    """The data of one event of a stream. After the last comes `data: [DONE]`."""

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
    "max_tokens": "The most tokens to generate, reasoning included. Default: the model's. "
    "More than the model's largest output counts as that.",
    "n": "How many answers to generate; each is paid for.",
    "stream": "Whether to answer as server-sent events.",
    "stream_options": "With `include_usage`, the usage is the last event before `[DONE]`.",
    "logit_bias": "What to add to tokens' logits, by token id.",
    "metadata": "Passed on as it is.",
    "temperature": "How varied the output is. Default: the model's.",
    "top_p": "Nucleus sampling: the share of probability to choose from. Default: the model's.",
    "top_k": "Choose from the K most likely tokens only.",
    "stop": "Texts that end the output.",
    "seed": "The same seed with the same input gives the same output, where the model can.",
    "presence_penalty": "Above 0: rather new topics.",
    "frequency_penalty": "Above 0: fewer repetitions.",
    "repetition_penalty": "Above 1: fewer repetitions; another way to count them.",
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
        "max_completion_tokens": "OpenAI's newer name of `max_tokens`; of both, the smaller holds.",
        "tools": "Functions that the model may call.",
        "tool_choice": "`auto` (the default), `none`, `required`, or one function by name.",
        "parallel_tool_calls": "Whether the model may call several at once.",
        "response_format": "`json_object`: some JSON (ask for it in a message, too). "
        "`json_schema`: JSON that matches the schema.",
        "thinking": 'Switches reasoning: `{"type": "enabled"}` or `{"type": "disabled"}`.',
        "plugins": '`[{"id": "web"}]` lets the model search the web, where it can.',
        "logprobs": "Whether to tell the tokens' log probabilities.",
        "top_logprobs": "For how many of the most likely tokens.",
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

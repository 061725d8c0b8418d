"""`POST …/messages`: the next message of a conversation, as Anthropic's clients ask for it."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.dialects.anthropic_messages import MESSAGES
from api.dialects.anthropic_messages.request import MessagesRequest
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.quote import quote_text
from api.gateway.spend_limits import SpendLimits
from api.operations.base import (
    MODEL_NOTE,
    USER_NOTE,
    Cost,
    DocsPage,
    Playground,
    Tokens,
    metered,
)

_SPEND_LIMITS = SpendLimits()


class CacheCreation(Struct):
    """What was written to the cache, by how long it stays."""

    ephemeral_5m_input_tokens: Tokens = 0
    ephemeral_1h_input_tokens: Tokens = 0


class MessageUsage(Struct):
    """The tokens that are billed. All of the input is the sum of the three input figures."""

    input_tokens: Annotated[
        Tokens, Meta(description="Tokens neither read from nor written to the cache.")
    ]
    output_tokens: Annotated[Tokens, Meta(description="Thinking included.")]
    cache_creation_input_tokens: Tokens = 0
    cache_read_input_tokens: Tokens = 0
    cache_creation: CacheCreation | UnsetType = UNSET
    cost: Cost | UnsetType = UNSET


class MessageObject(Struct):
    """A message of the model's."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    content: Annotated[
        list[dict[str, Any]],
        Meta(description="Blocks: `text`, `thinking`, `redacted_thinking`, `tool_use`."),
    ]
    stop_reason: (
        Annotated[
            str,
            Meta(description="`end_turn`, `max_tokens`, `stop_sequence`, `tool_use`, `refusal`, …"),
        ]
        | None
    )
    stop_sequence: str | None
    usage: MessageUsage


class MessageEvent(Struct):
    """The data of an event, whose name is its `type`.

    `message_start`; for each block `content_block_start`, `content_block_delta` and
    `content_block_stop`; `message_delta` with the usage; `message_stop`. A `ping` may come
    anywhere.
    """

    type: str
    index: int | UnsetType = UNSET
    message: dict[str, Any] | UnsetType = UNSET
    content_block: dict[str, Any] | UnsetType = UNSET
    delta: dict[str, Any] | UnsetType = UNSET
    usage: MessageUsage | UnsetType = UNSET


MESSAGE = {
    "id": "msg_0198c2f0a1b27cc8",
    "type": "message",
    "role": "assistant",
    "model": "glm-5.2",
    "content": [{"type": "text", "text": "Hello! How can I help you?"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 9,
    },
}
EVENTS = (
    "event: content_block_delta\n"
    'data: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Hello"}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
PROMPT_NOTES = {
    "model": MODEL_NOTE,
    "messages": "The conversation so far: strings, or blocks such as `text`, `image`, `document`, "
    "`tool_use`, `tool_result` and `thinking`.",
    "system": "System instructions, as a string or text blocks.",
    "tools": "Tools the model can call, each with a JSON schema. The provider's own tools, "
    "such as its web search, aren't available.",
    "tool_choice": "`auto`, `any`, `none`, or the `tool` of a name.",
    "thinking": 'Enable thinking: `{"type": "enabled", "budget_tokens": 4096}`.',
}

_METERED = metered(
    name="messages",
    dialect=MESSAGES,
    quote=quote_text,
    path="/messages",
    also_at=("/v1/messages",),
    operation_id="create_message",
    tag="Messages",
    summary="Create a message",
    description=(
        "Answers a conversation as Anthropic's Messages API does, with any chat model, whole or "
        "(`stream: true`) as server-sent events. Send the key as `x-api-key` or as a bearer token. "
        "Set Anthropic's SDKs and Claude Code to the address without `/v1`. Unknown fields, "
        "headers and betas are never refused."
    ),
    body=MessagesRequest,
    notes={
        **PROMPT_NOTES,
        "max_tokens": "Maximum number of tokens to generate, including thinking.",
        "stream": "Whether to stream the response as server-sent events.",
        "stop_sequences": "Sequences at which generation stops.",
        "temperature": "Randomness of the output. Default: the model's.",
        "top_p": "Nucleus sampling: the probability mass to sample from.",
        "top_k": "Sample only from the K most likely tokens.",
        "metadata": "`user_id`: " + USER_NOTE,
        "output_config": "`effort`: how much to reason; `format`: a JSON schema for the answer.",
        "output_format": "The older name for `output_config.format`.",
    },
    examples={
        "Minimal": {
            "model": "glm-5.2",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": "Hello!"}],
        },
        "A tool": {
            "model": "glm-5.2",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": "How warm is it in Prague?"}],
            "tools": [
                {
                    "name": "get_weather",
                    "description": "Get the weather in a city.",
                    "input_schema": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                }
            ],
        },
    },
    answer=MessageObject,
    answer_example=MESSAGE,
    stream=MessageEvent,
    stream_example=EVENTS,
    model_kind="chat",
    page=DocsPage(
        slug="messages",
        title="Messages",
        summary="Answer a conversation for Anthropic's clients, such as Claude Code.",
    ),
    playground=Playground(common=("model", "messages", "max_tokens", "system", "stream")),
)


async def create_message(gateway: Gateway, request: ApiRequest) -> None:
    """Answer a metered request, with the key's spending in the headers."""
    _SPEND_LIMITS.show_in(gateway, request)
    await _METERED.handle(gateway, request)


CREATE_MESSAGE = replace(_METERED, handle=create_message)

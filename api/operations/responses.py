"""`POST …/responses`: an answer to a conversation, as OpenAI's newer clients ask for it."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.dialects.openai_responses import RESPONSES
from api.dialects.openai_responses.request import ResponsesRequest
from api.gateway.quote import quote_text
from api.operations.base import (
    MODEL_NOTE,
    PASSED_ON_NOTE,
    USER_NOTE,
    Cost,
    DocsPage,
    Playground,
    Tokens,
    UnixSeconds,
    metered,
)


class InputTokensDetails(Struct):
    """What the input's tokens were made up of."""

    cached_tokens: Annotated[
        Tokens, Meta(description="Read from the cache and charged at its price.")
    ] = 0


class OutputTokensDetails(Struct):
    """What the output's tokens were made up of."""

    reasoning_tokens: Annotated[Tokens, Meta(description="Tokens used for reasoning; charged.")] = 0


class ResponseUsage(Struct):
    """The tokens that are billed."""

    input_tokens: Tokens
    input_tokens_details: InputTokensDetails
    output_tokens: Tokens
    output_tokens_details: OutputTokensDetails
    total_tokens: Tokens
    cost: Cost | UnsetType = UNSET


class ResponseObject(Struct):
    """A response. It is not stored."""

    id: str
    object: Literal["response"]
    created_at: UnixSeconds
    status: Annotated[str, Meta(description="`completed`, `incomplete` or `failed`.")]
    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    output: Annotated[
        list[dict[str, Any]],
        Meta(description="Items: `message`, `reasoning`, `function_call`, `custom_tool_call`."),
    ]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    store: Literal[False]
    usage: ResponseUsage | None


class ResponseEvent(Struct):
    """The data of an event, whose name is its `type`.

    From `response.created` to one of `response.completed`, `response.incomplete` and
    `response.failed`, with the items of the output between them.
    """

    type: str
    sequence_number: Annotated[int, Meta(ge=0)]
    output_index: int | UnsetType = UNSET
    item: dict[str, Any] | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    response: dict[str, Any] | UnsetType = UNSET


USAGE = {
    "input_tokens": 2,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 11,
}
RESPONSE = {
    "id": "resp_0198c2f0a1b27cc8",
    "object": "response",
    "created_at": 1_719_000_000,
    "status": "completed",
    "model": "glm-5.2",
    "output": [
        {
            "id": "msg_0198c2f0a1b27cc801",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hello! How can I help you?", "annotations": []}
            ],
        }
    ],
    "error": None,
    "incomplete_details": None,
    "store": False,
    "usage": USAGE,
}
EVENTS = (
    "event: response.output_text.delta\n"
    'data: {"type":"response.output_text.delta","sequence_number":4,"output_index":0,'
    '"content_index":0,"item_id":"msg_0198c2f0a1b27cc801","delta":"Hello"}\n\n'
)

CREATE_RESPONSE = metered(
    name="responses",
    dialect=RESPONSES,
    quote=quote_text,
    path="/responses",
    operation_id="create_response",
    tag="Responses",
    summary="Create a response",
    description=(
        "Answers a conversation as OpenAI's Responses API does, with any chat model, whole or "
        "(`stream: true`) as server-sent events. Responses are not stored: send the whole "
        "conversation each time, as Codex does. Reasoning can be carried on: ask for it with "
        '`include: ["reasoning.encrypted_content"]`, and send its items back.'
    ),
    body=ResponsesRequest,
    notes={
        "model": MODEL_NOTE,
        "input": "The conversation so far: a string, or items such as `message`, `function_call`, "
        "`function_call_output` and `reasoning`.",
        "instructions": "Instructions for this response.",
        "max_output_tokens": "Maximum number of tokens to generate, including reasoning. "
        "Default: the model's.",
        "tools": "Tools the model can call: `function`, `custom`, or a `namespace` of "
        "functions. The provider's web search is left out; its other tools are refused.",
        "tool_choice": "`auto` (the default), `none`, `required`, or one tool by name.",
        "parallel_tool_calls": "Whether the model can call several tools at once.",
        "text": "`format`: `text`, `json_object`, or `json_schema` with a schema.",
        "reasoning": "`effort`: how much to reason; `summary`: whether to return a summary of it.",
        "temperature": "Randomness of the output. Default: the model's.",
        "top_p": "Nucleus sampling: the probability mass to sample from.",
        "stream": "Whether to stream the response as server-sent events.",
        "store": "Accepted, but always `false` in the response: nothing is stored.",
        "background": "Not supported, because nothing is stored.",
        "previous_response_id": "Not supported, because nothing is stored.",
        "include": "`reasoning.encrypted_content`: reasoning to send back with the next request.",
        "metadata": PASSED_ON_NOTE,
        "prompt_cache_key": PASSED_ON_NOTE,
        "safety_identifier": USER_NOTE,
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {"model": "glm-5.2", "input": "Hello!"},
        "Streamed, with instructions": {
            "model": "glm-5.2",
            "instructions": "Answer in one sentence.",
            "input": [{"role": "user", "content": "Why is the sky blue?"}],
            "stream": True,
        },
    },
    answer=ResponseObject,
    answer_example=RESPONSE,
    stream=ResponseEvent,
    stream_example=EVENTS,
    model_kind="chat",
    page=DocsPage(
        slug="responses",
        title="Responses",
        summary="Answer a conversation for OpenAI's newer clients, such as Codex.",
    ),
    playground=Playground(
        common=("model", "input", "instructions", "max_output_tokens", "stream"),
        call="responses.create",
        takes=(
            "model",
            "input",
            "instructions",
            "max_output_tokens",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "text",
            "reasoning",
            "temperature",
            "top_p",
            "stream",
            "store",
            "background",
            "previous_response_id",
            "include",
            "metadata",
            "prompt_cache_key",
            "safety_identifier",
            "user",
        ),
        prints="answer.output_text",
        streams="chunk",
    ),
)

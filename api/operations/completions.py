"""`POST …/completions`, the legacy endpoint: a text instead of messages, else as a chat."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from api.dialects.openai_completions import COMPLETIONS, CompletionRequest
from api.gateway.quote import quote_text
from api.operations.base import DocsPage, Playground, UnixSeconds, metered
from api.operations.chat_completions import GENERATION_NOTES, USAGE, Usage


class TextChoice(Struct):
    """One of the texts; in a stream, a part of one."""

    text: str
    index: Annotated[int, Meta(ge=0)]
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class TextCompletion(Struct):
    """A legacy completion. A stream's events are of this form, too, without the usage."""

    id: str
    object: Literal["text_completion"]
    created: UnixSeconds
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


TEXT = {
    "id": "cmpl-0198c2f0a1b27cc8",
    "object": "text_completion",
    "created": 1_719_000_000,
    "model": "zai-org/GLM-4.7-FP8",
    "choices": [
        {"index": 0, "text": " there was a mill.", "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}
TEXT_CHUNK = (
    'data: {"id":"cmpl-0198c2f0a1b27cc8","object":"text_completion","created":1719000000,'
    '"model":"zai-org/GLM-4.7-FP8","choices":[{"index":0,"text":" there","logprobs":null,'
    '"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)

LEGACY_COMPLETIONS = metered(
    name="completions",
    dialect=COMPLETIONS,
    quote=quote_text,
    path="/completions",
    operation_id="create_completion",
    tag="Chat",
    summary="Create a completion (legacy)",
    description=(
        "Continues one or several prompts, whole or streamed. For anything new, use chat "
        "completions: the same models answer there, at the same prices."
    ),
    body=CompletionRequest,
    notes={
        **GENERATION_NOTES,
        "prompt": "A string, a list of strings, a list of token ids, or a list of such lists.",
        "echo": "Whether to return the prompt before its completion.",
        "suffix": "Text that follows the completion.",
        "best_of": (
            "Number of completions to generate, of which the best `n` are "
            "returned; all are charged."
        ),
        "logprobs": "Number of most likely tokens to return log probabilities for.",
    },
    examples={
        "Minimal": {
            "model": "zai-org/GLM-4.7-FP8",
            "prompt": "Once upon a time",
            "max_tokens": 200,
            "temperature": 0.7,
        }
    },
    answer=TextCompletion,
    answer_example=TEXT,
    stream=TextCompletion,
    stream_example=TEXT_CHUNK,
    model_kind="chat",
    page=DocsPage(
        slug="completions", title="Completions", summary="Complete a text, for older clients."
    ),
    playground=Playground(
        common=("model", "prompt", "max_tokens", "temperature", "stream"),
        call="completions.create",
        takes=(
            "model",
            "prompt",
            "max_tokens",
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
            "user",
            "echo",
            "suffix",
            "best_of",
            "logprobs",
        ),
        prints="answer.choices[0].text",
        streams="chunk.choices[0].text",
    ),
)

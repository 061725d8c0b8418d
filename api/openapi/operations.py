"""The relay's operations: one row for each endpoint of `api/surfaces.py`, by its name."""

from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from api.completion_requests import CompletionRequest
from api.media_requests import ImageRequest, VideoRequest
from api.openapi import answers, samples
from api.requests import ChatRequest

KEY_ERRORS = (401, 403, 429, 500, 503)
CALL_ERRORS = (400, 401, 402, 403, 404, 413, 415, 429, 500, 502, 503, 504)
COMMON_HEADERS = ("X-Request-Id",)
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


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
            "Minimal": {"model": "glm-5.2", "messages": samples.HELLO},
            "Streamed, with usage": {
                "model": "glm-5.2",
                "messages": samples.HELLO,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        },
        answer=answers.ChatCompletion,
        answer_example=samples.COMPLETION,
        stream=answers.ChatCompletionChunk,
        stream_example=samples.CHUNK,
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
        answer_example=samples.TEXT,
        stream=answers.TextCompletion,
        stream_example=samples.TEXT_CHUNK,
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
        answer_example={"object": "list", "data": [samples.CHAT_MODEL]},
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
        answer_example={"object": "list", "data": [samples.MODEL]},
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
        answer_example=samples.MODEL,
        errors=(*KEY_ERRORS, 404),
    ),
    "images_generations": Operation(
        path="/images/generations",
        method="post",
        operation_id="create_images",
        tag="Pictures and videos",
        summary="Make pictures",
        description="Makes `n` pictures of a text. What is delivered is paid for, piece by piece.",
        body=ImageRequest,
        examples={
            "Minimal": {
                "model": "glm-image",
                "prompt": "A sunset over mountains",
                "size": "1280x1280",
            }
        },
        answer=answers.Pictures,
        answer_example={
            "created": 1_719_000_000,
            "data": [{"url": "https://pictures.example/sunset.png"}],
        },
        errors=CALL_ERRORS,
        headers=(*COMMON_HEADERS, *LIMIT_HEADERS, "X-Request-Cost"),
    ),
    "videos_generations": Operation(
        path="/videos/generations",
        method="post",
        operation_id="create_video",
        tag="Pictures and videos",
        summary="Order a video",
        description=(
            "Orders a video of a text, of pictures, or of both, and answers before it is made. Its "
            "price is held until it is ready, and released if it fails."
        ),
        body=VideoRequest,
        examples={
            "Whole": {
                "model": "cogvideox-3",
                "prompt": "A bird flying over the ocean",
                "quality": "quality",
                "size": "1920x1080",
                "fps": 30,
                "with_audio": True,
            }
        },
        answer=answers.VideoOrder,
        answer_example={"id": samples.VIDEO_ID, "status": "processing"},
        errors=CALL_ERRORS,
    ),
    "video": Operation(
        path="/videos/{id}",
        method="get",
        operation_id="get_video",
        tag="Pictures and videos",
        summary="Ask for a video",
        description="Shows how a video of the key's team is coming along, and where it is.",
        argument="The order's id.",
        answer=answers.Video,
        answer_example={
            "id": samples.VIDEO_ID,
            "status": "completed",
            "video_url": "https://videos.example/bird.mp4",
        },
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

"""`GET …/async-result/{id}`: the state or result of a chat or a video, in Z.AI's format."""

import re
from typing import Annotated, Any, Literal

import msgspec
import psycopg
from msgspec import UNSET, Meta, Struct, UnsetType

from api import errors
from api.gateway.admission import identify
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.operations.async_chat import EXAMPLE_ID, shown_answer
from api.operations.base import KEY_ERRORS, ErrorObject, Operation, UnixSeconds
from api.operations.chat_completions import COMPLETION, ChatChoice, Usage
from api.operations.video_results import error_of, find_video
from api.phrases import Phrase

_CHAT_ID = re.compile(r"chat-([0-9a-f]{32})")
_TASK_STATUS = {"processing": "PROCESSING", "completed": "SUCCESS"}
_encode = msgspec.json.Encoder().encode


async def show_async_result(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with a chat's or video's result, if it is the key's team's.

    Raise an error of `api.errors`.
    """
    named = _CHAT_ID.fullmatch(request.argument)
    shown = (
        await _chat(gateway, request, named[1])
        if named is not None
        else await _video(gateway, request)
    )
    await request.respond(_encode(shown))


async def _chat(gateway: Gateway, request: ApiRequest, request_id: str) -> dict[str, Any]:
    admission = await identify(gateway, request, request.key_digests())
    if admission is None:
        raise errors.ServiceUnavailableError()
    try:
        found = await gateway.jobs.find_chat(request_id, admission.team_id)
    except psycopg.Error:
        raise errors.ServiceUnavailableError() from None
    if found is None:
        raise errors.NotFoundError(
            Phrase(
                "There is no chat '{argument}'. Check its id.",
                argument=errors.quoted(request.argument),
            ),
            param="id",
        )
    shown = _head(request.argument, found.model, found.state)
    if found.state == "completed":
        return {**shown, **shown_answer(found.answer)}
    if found.state == "processing":
        return shown
    error = {
        "message": found.error,
        "type": "server_error",
        "code": found.error_code,
        "param": None,
    }
    return {**shown, "error": error}


async def _video(gateway: Gateway, request: ApiRequest) -> dict[str, Any]:
    found = await find_video(gateway, request)
    shown = _head(request.argument, found.model, found.state)
    if found.url:
        shown["video_result"] = [{"url": found.url}]
    elif shown["task_status"] == "FAIL":
        shown["error"] = error_of(found)
    return shown


def _head(public_id: str, model: str, state: str) -> dict[str, Any]:
    """Return the fields that every result has; an expired job is reported as failed."""
    return {
        "id": public_id,
        "request_id": public_id,
        "model": model,
        "task_status": _TASK_STATUS.get(state, "FAIL"),
    }


class VideoResult(Struct):
    """The URL of a finished video."""

    url: str


class AsyncResult(Struct):
    """The state of a chat or a video. An answered chat has the fields of a chat completion."""

    id: Annotated[str, Meta(pattern="^(chat-|video[-_])[0-9a-f]{32}$")]
    request_id: str
    model: str
    task_status: Literal["PROCESSING", "SUCCESS", "FAIL"]
    created: UnixSeconds | UnsetType = UNSET
    choices: list[ChatChoice] | UnsetType = UNSET
    usage: Usage | UnsetType = UNSET
    video_result: list[VideoResult] | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET


ASYNC_RESULT = Operation(
    name="async_result",
    handle=show_async_result,
    methods=("GET", "HEAD"),
    path="/async-result/{id}",
    operation_id="get_async_result",
    tag="Chat",
    summary="Get the result of an asynchronous chat or video",
    description=(
        "Shows the answer of a chat of the key's team that was asked for asynchronously, or the "
        "progress of a video, as Z.AI's API does. Chats are kept for a day after their end."
    ),
    argument="The id of the chat or video.",
    answer=AsyncResult,
    answer_example={
        "id": EXAMPLE_ID,
        "request_id": EXAMPLE_ID,
        "model": "glm-5.2",
        "task_status": "SUCCESS",
        "created": COMPLETION["created"],
        "choices": COMPLETION["choices"],
        "usage": COMPLETION["usage"],
    },
    errors=(*KEY_ERRORS, 404),
)

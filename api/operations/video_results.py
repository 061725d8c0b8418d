"""How an ordered video is coming along, in the form of the API that it was ordered by.

`GET …/videos/{id}` shows `video-…` in our own form and `video_…` in OpenAI's, whose
`GET …/videos/{id}/content` leads to the video. Z.AI's form is in `async_results.py`.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
import psycopg
from msgspec import UNSET, Meta, Struct, UnsetType

from api import errors
from api.gateway.admission import identify
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.jobs.store import JobState
from api.operations.base import COMMON_HEADERS, KEY_ERRORS, LIMIT_HEADERS, ErrorObject, Operation
from api.phrases import Phrase

OPENAI_PREFIX = "video_"
EXAMPLE_ID = "video-01a1fe52cceb7802829b84e9b03862db"
OPENAI_EXAMPLE_ID = "video_01a1fe52cceb7802829b84e9b03862db"

_PUBLIC_ID = re.compile(r"video[-_]([0-9a-f]{32})")
_OPENAI_STATUS = {"queued": "queued", "processing": "in_progress", "completed": "completed"}
_encode = msgspec.json.Encoder().encode


async def show_video(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the progress of a video of the key's team. Raise an error of `api.errors`."""
    found = await find_video(gateway, request)
    public_id = request.argument
    if public_id.startswith(OPENAI_PREFIX):
        await request.respond(_encode(as_openai(public_id, found)))
    else:
        await request.respond(_encode(_presented(public_id, found)))


async def show_content(gateway: Gateway, request: ApiRequest) -> None:
    """Lead to a finished video, which nobody fetches here. Raise an error of `api.errors`."""
    found = await find_video(gateway, request)
    if not found.url:
        raise errors.NotFoundError(
            Phrase(
                "The video '{argument}' is not finished. Check its status first.",
                argument=errors.quoted(request.argument),
            ),
            param="id",
        )
    # Whatever an upstream puts into an address, it is one header.
    address = quote(found.url, safe="!#$%&'()*+,/:;=?@[]~").encode()
    await request.respond(b"", status=302, headers=[(b"location", address)])


def as_openai(public_id: str, found: JobState) -> dict[str, Any]:
    """Return a video as OpenAI shows it. How far it is nobody says until it is finished."""
    status = _OPENAI_STATUS.get(found.state, "failed")
    return {
        "id": public_id,
        "object": "video",
        "model": found.model,
        "status": status,
        "progress": 100 if status == "completed" else 0,
        "created_at": found.created_at,
        "completed_at": found.ended_at if status == "completed" else None,
        "expires_at": None,
        "seconds": str(found.seconds) if found.seconds else None,
        "remixed_from_video_id": None,
        "error": error_of(found) if status == "failed" else None,
    }


async def find_video(gateway: Gateway, request: ApiRequest) -> JobState:
    """Return the video of the request's argument. Raise an error of `api.errors`."""
    admission = await identify(gateway, request, request.key_digests())
    if admission is None:
        raise errors.ServiceUnavailableError()
    named = _PUBLIC_ID.fullmatch(request.argument)
    try:
        found = await gateway.jobs.find(named[1], admission.team_id) if named else None
    except psycopg.Error:
        raise errors.ServiceUnavailableError() from None
    if found is None:
        raise errors.NotFoundError(
            Phrase(
                "There is no video '{argument}'. Check its id.",
                argument=errors.quoted(request.argument),
            ),
            param="id",
        )
    return found


def _presented(public_id: str, found: JobState) -> dict[str, Any]:
    """Return a video in our own form. One that took too long has failed, as any other."""
    if found.state in {"processing", "completed"}:
        shown = {"id": public_id, "status": found.state}
        return {**shown, "video_url": found.url} if found.url else shown
    return {"id": public_id, "status": "failed", "error": error_of(found)}


def error_of(found: JobState) -> dict[str, Any]:
    """Return why there is no video."""
    return {
        "message": found.error,
        "type": "server_error",
        "code": f"video_{found.state}",
        "param": None,
    }


VideoId = Annotated[str, Meta(pattern="^video[-_][0-9a-f]{32}$")]


class Video(Struct):
    """How a video is coming along. Only a completed one is paid for.

    Those from `object` on are of orders by `POST /videos`.
    """

    id: VideoId
    status: Literal["queued", "in_progress", "processing", "completed", "failed"]
    video_url: str | UnsetType = UNSET
    error: ErrorObject | UnsetType | None = UNSET
    object: Literal["video"] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    progress: Annotated[int, Meta(description="0, or 100 when it is completed.")] | UnsetType = (
        UNSET
    )
    created_at: Annotated[int, Meta(description="Unix time.")] | UnsetType = UNSET
    completed_at: Annotated[int, Meta(description="Unix time.")] | UnsetType | None = UNSET
    expires_at: int | UnsetType | None = UNSET
    seconds: Annotated[str, Meta(description="The requested length.")] | UnsetType | None = UNSET
    size: str | UnsetType = UNSET
    remixed_from_video_id: str | UnsetType | None = UNSET


VIDEO = Operation(
    name="video",
    handle=show_video,
    methods=("GET", "HEAD"),
    path="/videos/{id}",
    operation_id="get_video",
    tag="Images and videos",
    summary="Get a video",
    description="Returns the status of a video of the key's team and, when finished, its URL.",
    argument="The video's id.",
    answer=Video,
    answer_example={
        "id": EXAMPLE_ID,
        "status": "completed",
        "video_url": "https://videos.example/bird.mp4",
    },
    errors=(*KEY_ERRORS, 404),
)

VIDEO_CONTENT = Operation(
    name="video_content",
    handle=show_content,
    methods=("GET", "HEAD"),
    path="/videos/{id}/content",
    operation_id="get_video_content",
    tag="Images and videos",
    summary="Download a video",
    description="Redirects to a finished video of the key's team.",
    argument="The video's id.",
    success=302,
    headers=(*COMMON_HEADERS, *LIMIT_HEADERS, "Location"),
    errors=(*KEY_ERRORS, 404),
)

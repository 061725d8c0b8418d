"""`POST …/videos`: the order of a video as OpenAI's SDKs place it.

It is made one of ours (`videos.py`), so what is called upstream, held, charged and stored is the
same. `video_results.py` shows how it is coming along.
"""

import base64
import math
import time
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import ParsedRequest
from api.dialects.form import TakesForms, take_file
from api.gateway.admission import admit
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.quote import Quote
from api.jobs.store import JobState
from api.operations.base import (
    CALL_ERRORS,
    MODEL_NOTE,
    USER_NOTE,
    AnyFile,
    DocsPage,
    Operation,
    Playground,
)
from api.operations.images import Name, Word
from api.operations.video_orders import place_order
from api.operations.video_results import OPENAI_EXAMPLE_ID, OPENAI_PREFIX, Video, as_openai
from api.operations.videos import MAX_SECONDS, VideosDialect, parse_video, quote_video
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained

_encode = msgspec.json.Encoder().encode


class OpenAiVideoRequest(Struct, kw_only=True, gc=False):
    """The parameters of OpenAI's order of a video. In its SDKs `seconds` is a text."""

    model: Name
    prompt: Annotated[str, Meta(min_length=1)]
    seconds: Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None = None
    size: Word | None = None
    input_reference: AnyFile | None = None
    user: str | None = None


def parse_openai_video(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return an order of a video, as ours. Raise a 400 error of `api.errors`."""
    try:
        # A form has nothing but texts.
        request = msgspec.convert(fields, OpenAiVideoRequest, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    own = {**fields}
    for name in ("seconds", "input_reference"):
        own.pop(name, None)
    if request.seconds is not None:
        own["duration"] = math.ceil(request.seconds)
    if request.input_reference is not None:
        own["image_url"] = _address_of(fields)
    return parse_video(own, size_bytes)


def _address_of(fields: dict[str, Any]) -> str:
    """Return the picture's address, which a file has as a `data:` URL."""
    given = fields["input_reference"]
    if isinstance(given, dict) and isinstance(given.get("image_url"), str):
        return str(given["image_url"])
    file = take_file(fields, "input_reference")
    if not file.content_type.startswith("image/"):
        raise errors.InvalidValueError(
            Phrase("Invalid 'input_reference': expected an image."), param="input_reference"
        )
    return f"data:{file.content_type};base64,{base64.b64encode(file.data).decode()}"


class OpenAiVideosDialect(VideosDialect, TakesForms):
    """OpenAI's orders of videos, which go to upstreams as all orders do."""

    takes_json = True
    parse = staticmethod(parse_openai_video)


def quote_openai_video(
    max_seconds: float, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of an order of a video. Raise an error of `api.errors`."""
    try:
        return quote_video(max_seconds, DIALECT, snapshot, surface, request)
    except errors.UnsupportedParameterError as error:
        if error.param == "image_url":
            error.param = "input_reference"
        raise


async def create_openai_video(gateway: Gateway, request: ApiRequest) -> None:
    """Answer an order of a video. Raise an error of `api.errors`; then nothing is held."""
    quote = partial(quote_openai_video, gateway.limits.video_max_seconds)
    admitted = await admit(gateway, request, DIALECT, quote)
    await place_order(gateway, request, admitted)
    order = admitted.quote
    job = JobState(
        state="queued",
        url="",
        error="",
        model=order.model.name,
        seconds=order.units.seconds if order.units is not None else 0,
        created_at=int(time.time()),
        ended_at=None,
    )
    shown = as_openai(f"{OPENAI_PREFIX}{admitted.request_id}", job)
    if size := order.request.typed.size:
        shown["size"] = size
    await request.respond(_encode(shown))


DIALECT = OpenAiVideosDialect()

VIDEOS = Operation(
    name="videos",
    handle=create_openai_video,
    render_error=DIALECT.render_error,
    methods=("POST",),
    path="/videos",
    operation_id="create_openai_video",
    tag="Images and videos",
    summary="Create a video (OpenAI format)",
    description=(
        "Orders a video in OpenAI's format, as a form or JSON. Poll it by its id; its "
        "content is at `/videos/{id}/content`."
    ),
    body=OpenAiVideoRequest,
    files=("input_reference",),
    notes={
        "model": MODEL_NOTE,
        "prompt": "A description of the video.",
        "seconds": "Length in seconds. Default: the model's.",
        "size": "Width and height in pixels, such as `1920x1080`: one of the model's sizes.",
        "input_reference": "An image to start from, if the model accepts one.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {
            "model": "cogvideox-3",
            "prompt": "A bird flying over the ocean",
            "size": "1920x1080",
        }
    },
    answer=Video,
    answer_example={
        "id": OPENAI_EXAMPLE_ID,
        "object": "video",
        "model": "cogvideox-3",
        "status": "queued",
        "progress": 0,
        "created_at": 1_790_000_000,
        "completed_at": None,
        "expires_at": None,
        "seconds": "5",
        "size": "1920x1080",
        "remixed_from_video_id": None,
        "error": None,
    },
    errors=CALL_ERRORS,
    model_kind="video",
    page=DocsPage(
        slug="openai-videos",
        title="Videos with OpenAI's SDKs",
        summary="Order, poll and download a video with OpenAI's SDKs.",
        charge=(
            "Like any video: its price is held when you order, charged when it is finished, and "
            "released if it fails. Only the format and the id are different."
        ),
    ),
    playground=Playground(
        common=("model", "prompt", "seconds", "size", "input_reference"),
        call="videos.create",
        takes=("model", "prompt", "seconds", "size", "input_reference"),
        prints="answer.id",
    ),
)

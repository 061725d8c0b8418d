"""`POST …/videos/generations` orders a video, `GET …/videos/{id}` reports its progress."""

import math
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import AnswerContext, Dialect, OpenAiFamily, ParsedRequest
from api.dialects.fields import names_of
from api.dialects.openai_chat.messages import ImageUrl
from api.gateway.admission import admit
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.quote import Quote, check_served, find_sold, quote_units
from api.operations.base import (
    CALL_ERRORS,
    MODEL_NOTE,
    PASSED_ON_NOTE,
    USER_NOTE,
    DocsPage,
    Operation,
    Playground,
    check_not_streamed,
)
from api.operations.images import Name, Word, check_described, check_size, shown_words
from api.operations.video_orders import place_order
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage

MAX_SECONDS = 3_600
# The length of a video that is paid for by the second, where the client names no duration.
DEFAULT_SECONDS = 5
NAME = "videos_generations"

Address = Annotated[str, Meta(min_length=1)]
Addresses = Annotated[list[Address], Meta(min_length=1, max_length=16)]

_encode = msgspec.json.Encoder().encode


class VideoRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for a video, as far as we must know them.

    It is made from a text, from images, or from both. `duration` is in seconds.
    """

    model: Name
    prompt: str | None = None
    image_url: Address | Addresses | ImageUrl | None = None
    image_urls: Addresses | None = None
    quality: Word | None = None
    size: Word | None = None
    fps: Annotated[int, Meta(ge=1, le=240)] | None = None
    with_audio: bool | None = None
    duration: Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None = None
    user: str | None = None

    @property
    def has_images(self) -> bool:
        """Whether the video is to be made from images."""
        return self.image_url is not None or self.image_urls is not None

    @property
    def named_seconds(self) -> int | None:
        """The duration that the client names, in seconds, rounded up."""
        return None if self.duration is None else math.ceil(self.duration)


def parse_video(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return an order of a video. Raise a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, VideoRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    if request.prompt is not None:
        check_described(request.prompt)
    elif not request.has_images:
        raise errors.MissingParameterError(
            Phrase(
                "Missing required parameter: 'prompt'. Describe the video, or give an 'image_url'."
            ),
            param="prompt",
        )
    check_not_streamed(fields)
    if fields.get("n") is not None and fields["n"] != 1:
        raise errors.UnsupportedParameterError(
            Phrase("A request creates one video. Send several requests for more."),
            param="n",
        )
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=shown_words(fields),
        end_user=request.user or "",
        typed=request,
    )


class VideosDialect(OpenAiFamily):
    """An order of a video, as OpenAI-compatible providers take it."""

    known_fields = names_of(VideoRequest)
    name = "openai_videos"
    path = "/videos/generations"
    parse = staticmethod(parse_video)

    def read_answer(self, body: bytes, context: AnswerContext) -> Any:
        """Refuse: what an order answers is an id, which `job_id_in` reads."""
        raise TypeError("An order has no answer to read.")


def quote_video(
    max_seconds: float,
    dialect: Dialect,
    snapshot: Snapshot,
    surface: Surface,
    request: ParsedRequest,
) -> Quote:
    """Return the quote of an order of a video, whose job may take `max_seconds`.

    Raise an error of `api.errors`. Where seconds are paid for, a duration is always sent upstream,
    so that the hold is an upper bound of the cost.
    """
    video: VideoRequest = request.typed
    model, prices = find_sold(snapshot, request.model)
    check_served(model, surface, request, "video", Phrase("videos"))
    check_size(video.size, model.image_sizes)
    if video.has_images and "image" not in model.input_modalities:
        raise errors.UnsupportedParameterError(
            Phrase(
                "The model '{model}' doesn't make videos from images. Leave them out or "
                "use another model.",
                model=errors.quoted(request.model),
            ),
            param="image_url" if video.image_url is not None else "image_urls",
        )
    seconds = video.named_seconds
    if seconds is None and prices.second_nanos:
        seconds = DEFAULT_SECONDS
        request.fields = {**request.fields, "duration": seconds}
    units = Usage(pieces=1, seconds=seconds or 0)
    return quote_units(
        NAME,
        dialect,
        snapshot,
        request,
        sold=(model, prices),
        units=units,
        job_seconds=max_seconds,
    )


async def create_video(gateway: Gateway, request: ApiRequest) -> None:
    """Answer an order of a video. Raise an error of `api.errors`; then nothing is held."""
    quote = partial(quote_video, gateway.limits.video_max_seconds, DIALECT)
    admitted = await admit(gateway, request, DIALECT, quote)
    await place_order(gateway, request, admitted)
    order = VideoOrder(id=f"video-{admitted.request_id}", status="processing")
    await request.respond(_encode(order))


VideoId = Annotated[str, Meta(pattern="^video-[0-9a-f]{32}$")]


class VideoOrder(Struct):
    """A video that is being made: ask for it by its id."""

    id: VideoId
    status: Literal["processing"]


DIALECT = VideosDialect()
_EXAMPLE_ID = "video-01a1fe52cceb7802829b84e9b03862db"

VIDEOS_GENERATIONS = Operation(
    name=NAME,
    handle=create_video,
    render_error=DIALECT.render_error,
    methods=("POST",),
    path="/videos/generations",
    operation_id="create_video",
    tag="Images and videos",
    summary="Create a video",
    description=(
        "Orders a video from text, images or both, and returns immediately. Its price "
        "is reserved until it's finished, and released if it fails."
    ),
    body=VideoRequest,
    notes={
        "model": MODEL_NOTE,
        "prompt": "A description of the video. Required without images.",
        "image_url": "One or more images to start from, as URLs or `data:` URLs.",
        "image_urls": "Images to start from; another name for `image_url`.",
        "quality": PASSED_ON_NOTE,
        "size": "Width and height in pixels, such as `1920x1080`: one of the model's sizes.",
        "fps": "Frames per second.",
        "with_audio": "Whether the video has sound.",
        "duration": "Length in seconds. Default: the model's.",
        "user": USER_NOTE,
    },
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
    answer=VideoOrder,
    answer_example={"id": _EXAMPLE_ID, "status": "processing"},
    errors=CALL_ERRORS,
    model_kind="video",
    page=DocsPage(
        slug="videos", title="Videos", summary="Order a video and poll it until it is finished."
    ),
    playground=Playground(common=("model", "prompt", "size", "duration", "with_audio")),
)

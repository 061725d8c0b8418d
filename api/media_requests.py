"""What clients may send to make pictures and videos: typed structs, as in `requests.py`."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.mistakes import explained
from api.requests import ImageUrl

MAX_PICTURES = 10
MAX_SECONDS = 3_600

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Address = Annotated[str, Meta(min_length=1)]
Addresses = Annotated[list[Address], Meta(min_length=1, max_length=16)]


class ImageRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for pictures, as far as we must know them."""

    model: Name
    prompt: str
    n: Annotated[int, Meta(ge=1, le=MAX_PICTURES)] | None = None
    size: Word | None = None
    quality: Word | None = None
    style: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None


class VideoRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for a video, as far as we must know them.

    It is made from a text, from pictures, or from both. `duration` is in seconds.
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
    def has_pictures(self) -> bool:
        """Whether the video is to be made from pictures."""
        return self.image_url is not None or self.image_urls is not None

    @property
    def named_seconds(self) -> int | None:
        """The duration that the client names, in begun seconds."""
        return None if self.duration is None else math.ceil(self.duration)


class ImageBody(NamedTuple):
    """A body that asks for pictures: what we know of it, and all its fields."""

    request: ImageRequest
    fields: dict[str, object]


class VideoBody(NamedTuple):
    """A body that asks for a video: what we know of it, and all its fields."""

    request: VideoRequest
    fields: dict[str, object]


def parse_image_body(fields: dict[str, object], _size_bytes: int) -> ImageBody:
    """Returns the typed view of a request for pictures. Raises a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, ImageRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    _check_prompt(request.prompt)
    _check_not_streamed(fields)
    return ImageBody(request, fields)


def parse_video_body(fields: dict[str, object], _size_bytes: int) -> VideoBody:
    """Returns the typed view of a request for a video. Raises a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, VideoRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    if request.prompt is not None:
        _check_prompt(request.prompt)
    elif not request.has_pictures:
        raise errors.MissingParameterError(
            "Missing required parameter: 'prompt'. Describe the video, or give an 'image_url'.",
            param="prompt",
        )
    _check_not_streamed(fields)
    if fields.get("n") is not None and fields["n"] != 1:
        raise errors.UnsupportedParameterError(
            "One request makes one video. Send several requests for several.", param="n"
        )
    return VideoBody(request, fields)


def check_size(size: str | None, sizes: Sequence[str]) -> None:
    """Refuses a size that isn't among those that the model makes; without any, all are taken."""
    if size is not None and sizes and size not in sizes:
        allowed = ", ".join(f"'{allowed}'" for allowed in sizes)
        raise errors.InvalidValueError(
            f"Invalid value: '{errors.quoted(size)}'. Supported values are: {allowed}.",
            param="size",
        )


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise errors.InvalidValueError(
            "Invalid 'prompt': expected a text, but got none.", param="prompt"
        )


def _check_not_streamed(fields: dict[str, object]) -> None:
    if fields.get("stream"):
        raise errors.UnsupportedParameterError(
            "'stream' is not supported here: the answer comes in one piece.", param="stream"
        )

"""`POST …/images/generations`: images of a text, charged by how many came.

Addresses of images go to the client as they are; nobody fetches them here.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import (
    AnswerContext,
    Dialect,
    DialectError,
    OpenAiFamily,
    ParsedRequest,
    named,
)
from api.dialects.fields import names_of
from api.dialects.usage import Metered, MeteringLimits
from api.gateway.quote import Quote, check_served, find_sold, quote_units
from api.operations.base import (
    MODEL_NOTE,
    PASSED_ON_NOTE,
    USER_NOTE,
    DocsPage,
    Playground,
    UnixSeconds,
    check_not_streamed,
    metered,
)
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage

MAX_IMAGES = 10

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]

_encode = msgspec.json.Encoder().encode


class ImageRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for images, as far as we must know them."""

    model: Name
    prompt: str
    n: Annotated[int, Meta(ge=1, le=MAX_IMAGES)] | None = None
    size: Word | None = None
    quality: Word | None = None
    style: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None


class _Reported(Struct, gc=False):
    data: list[dict[str, Any]]
    created: int | None = None


_decode = msgspec.json.Decoder(_Reported).decode


class ImagesAnswer:
    """The images that came. Raise DialectError for none."""

    text_bytes = 0
    finish_reason = ""

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        try:
            reported = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer has no images") from None
        # One more than was asked for is neither paid for nor delivered.
        asked = context.request.typed.n or 1
        self._images = [image for image in reported.data if _is_there(image)][:asked]
        self._created = reported.created or int(time.time())
        if not self._images:
            raise DialectError("bad_answer", "the answer has no images")

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return how many images came."""
        return Metered(Usage(images=len(self._images)), is_empty=False)

    def body(self, usage: Usage) -> bytes:
        """Return the images and nothing else of the answer."""
        return _encode({"created": self._created, "data": self._images})


def _is_there(image: dict[str, Any]) -> bool:
    """Return whether an item of the answer is an image, by address or in itself."""
    return any(isinstance(image.get(name), str) and image[name] for name in ("url", "b64_json"))


def parse_images(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for images. Raise a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, ImageRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_described(request.prompt)
    check_not_streamed(fields)
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=shown_words(fields),
        end_user=request.user or "",
        typed=request,
    )


class ImagesDialect(OpenAiFamily):
    """OpenAI's images."""

    known_fields = names_of(ImageRequest)
    name = "openai_images"
    path = "/images/generations"
    parse = staticmethod(parse_images)
    read_answer = staticmethod(ImagesAnswer)


def quote_images(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for images. Raise an error of `api.errors`."""
    sold = find_sold(snapshot, request.model)
    check_served(sold[0], surface, request, "image", Phrase("images"))
    check_size(request.typed.size, sold[0].image_sizes)
    units = Usage(images=request.typed.n or 1)
    return quote_units(operation, dialect, snapshot, request, sold=sold, units=units)


def shown_words(fields: dict[str, Any]) -> set[str]:
    """Return the parameters in use, and texts as `quality.hd`, as a row may refuse them."""
    return named(fields) | {
        f"{field}.{value}" for field, value in fields.items() if type(value) is str
    }


def check_size(size: str | None, sizes: Sequence[str]) -> None:
    """Refuse a size that the model doesn't make; a row without sizes takes all."""
    if size is not None and sizes and size not in sizes:
        allowed = ", ".join(f"'{allowed}'" for allowed in sizes)
        raise errors.InvalidValueError(
            Phrase(
                "Invalid value: '{size}'. Supported values are: {allowed}.",
                size=errors.quoted(size),
                allowed=allowed,
            ),
            param="size",
        )


def check_described(prompt: str) -> None:
    """Refuse a blank prompt."""
    if not prompt.strip():
        raise errors.InvalidValueError(
            Phrase("Invalid 'prompt': expected a non-empty string."), param="prompt"
        )


class Image(Struct):
    """An image: by its address, or in itself."""

    url: (
        Annotated[str, Meta(description="The image's URL at the provider. We never fetch it.")]
        | None
    ) = None
    b64_json: Annotated[str, Meta(description="The image as base64.")] | None = None
    revised_prompt: str | None = None


class Images(Struct):
    """The images that were made. Each is paid for; those that failed are not."""

    created: UnixSeconds
    data: Annotated[list[Image], Meta(min_length=1)]


IMAGES_GENERATIONS = metered(
    name="images_generations",
    dialect=ImagesDialect(),
    quote=quote_images,
    path="/images/generations",
    operation_id="create_images",
    tag="Images and videos",
    summary="Create images",
    description="Creates `n` images from a prompt. You pay for each image that is delivered.",
    body=ImageRequest,
    notes={
        "model": MODEL_NOTE,
        "prompt": "A description of the images.",
        "n": "Number of images. You pay for each image that is delivered. Default: 1.",
        "size": "Width and height in pixels, such as `1280x1280`: one of the model's sizes.",
        "quality": PASSED_ON_NOTE,
        "style": PASSED_ON_NOTE,
        "response_format": "`url` for links, `b64_json` for the images themselves.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {
            "model": "glm-image",
            "prompt": "A sunset over mountains",
            "size": "1280x1280",
        }
    },
    answer=Images,
    answer_example={
        "created": 1_719_000_000,
        "data": [{"url": "https://pictures.example/sunset.png"}],
    },
    model_kind="image",
    page=DocsPage(slug="images", title="Images", summary="Create images from a prompt."),
    playground=Playground(
        common=("model", "prompt", "size", "n"),
        call="images.generate",
        takes=(
            "model",
            "prompt",
            "n",
            "size",
            "quality",
            "style",
            "response_format",
            "user",
        ),
        prints="answer.data",
    ),
)

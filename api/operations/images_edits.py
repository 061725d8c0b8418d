"""`POST …/images/edits`: images made from images, charged by how many came."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.base import ParsedRequest
from api.dialects.fields import names_of
from api.dialects.form import FormDialect, check_file, take_file
from api.operations.base import (
    MODEL_NOTE,
    PASSED_ON_NOTE,
    USER_NOTE,
    AnyFile,
    DocsPage,
    Playground,
    check_not_streamed,
    metered,
)
from api.operations.images import (
    MAX_IMAGES,
    Images,
    ImagesAnswer,
    Name,
    Word,
    check_described,
    quote_images,
    shown_words,
)
from api.phrases import Phrase
from api.validation_errors import explained

# As many as OpenAI takes.
MAX_SOURCES = 16


class ImageEditRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for edited images, as far as we must know them."""

    image: AnyFile | Annotated[list[AnyFile], Meta(min_length=1, max_length=MAX_SOURCES)]
    model: Name
    prompt: str
    mask: AnyFile | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_IMAGES)] | None = None
    size: Word | None = None
    quality: Word | None = None
    background: Word | None = None
    output_format: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool | None = None
    user: str | None = None


def parse_image_edit(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for edited images. Raise a 400 error of `api.errors`."""
    images = fields.get("image")
    if isinstance(images, list):
        if len(images) > MAX_SOURCES:
            raise errors.InvalidValueError(
                Phrase(
                    "Invalid 'image': expected at most {max_sources} items.",
                    max_sources=MAX_SOURCES,
                ),
                param="image",
            )
        for index, image in enumerate(images):
            check_file(image, f"image[{index}]")
    else:
        take_file(fields, "image")
    if "mask" in fields:
        take_file(fields, "mask")
    try:
        # A form has nothing but texts.
        request = msgspec.convert(fields, ImageEditRequest, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_described(request.prompt)
    check_not_streamed({"stream": request.stream})
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=shown_words(fields),
        modalities=(("image", "image"),),
        end_user=request.user or "",
        typed=request,
    )


class ImageEditsDialect(FormDialect):
    """OpenAI's edits of images."""

    known_fields = names_of(ImageEditRequest)
    name = "openai_image_edits"
    path = "/images/edits"
    parse = staticmethod(parse_image_edit)
    read_answer = staticmethod(ImagesAnswer)


IMAGES_EDITS = metered(
    name="images_edits",
    dialect=ImageEditsDialect(),
    quote=quote_images,
    path="/images/edits",
    operation_id="edit_images",
    tag="Images and videos",
    summary="Edit images",
    description=(
        "Creates `n` images from images and a prompt. You pay for each image that is delivered."
    ),
    body=ImageEditRequest,
    files=("image", "mask"),
    notes={
        "image": "The image to edit, or up to 16 images to combine (`image[]`).",
        "model": MODEL_NOTE,
        "prompt": "A description of the images.",
        "mask": "A PNG whose transparent areas mark what to change.",
        "n": "Number of images. You pay for each image that is delivered. Default: 1.",
        "size": "Width and height in pixels, such as `1024x1024`: one of the model's sizes.",
        "quality": PASSED_ON_NOTE,
        "background": PASSED_ON_NOTE,
        "output_format": PASSED_ON_NOTE,
        "response_format": "`url` for links, `b64_json` for the images themselves.",
        "stream": "Only `false`: this endpoint doesn't stream.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {
            "image": "house.png",
            "model": "gpt-image-1",
            "prompt": "The same house in winter",
        }
    },
    answer=Images,
    answer_example={
        "created": 1_719_000_000,
        "data": [{"url": "https://pictures.example/winter.png"}],
    },
    model_kind="image",
    model_input="image",
    page=DocsPage(
        slug="image-edits",
        title="Image edits",
        summary="Create images from images.",
        charge=("Per delivered image, at the model's price per image. Failed requests are free."),
    ),
    playground=Playground(
        common=("image", "model", "prompt", "mask", "size", "n"),
        call="images.edit",
        takes=(
            "image",
            "model",
            "prompt",
            "mask",
            "n",
            "size",
            "quality",
            "background",
            "output_format",
            "response_format",
            "user",
        ),
        prints="answer.data",
    ),
)

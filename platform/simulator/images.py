"""`POST /images/generations` and `POST /images/edits`."""

import base64
import time
from typing import Any, Literal

import msgspec

from simulator import delivery, faults, text
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.form import read_form
from simulator.pictures import png
from simulator.scripted_request import Choices, ScriptedRequest, read_scripted_request

MAX_SIDE = 8_192
DEFAULT_SIDE = 1_024
# What an edit counts for each picture it is given.
INPUT_TOKENS_PER_PICTURE = 100

ResponseFormat = Literal["url", "b64_json"]


class ImageRequest(msgspec.Struct):
    """The fields of an image request that change the answer."""

    model: str
    prompt: str
    n: Choices = None
    size: str | None = None
    response_format: ResponseFormat | None = None


async def create(exchange: HttpExchange) -> None:
    """Answer with pictures made from a text."""
    await _answer(exchange, read_scripted_request(exchange, ImageRequest), pictures=0)


async def edit(exchange: HttpExchange) -> None:
    """Answer with pictures made from pictures and a text."""
    form = read_form(exchange.request)
    scripted = read_scripted_request(exchange, ImageRequest, form.fields)
    files = form.named("image", "mask")
    if not form.named("image"):
        raise SimulatedError("image: a file is needed", param="image")
    scripted.note(0, files=len(files), file_bytes=sum(len(file.data) for file in files))
    await _answer(exchange, scripted, pictures=len(files))


async def _answer(
    exchange: HttpExchange, scripted: ScriptedRequest[ImageRequest], *, pictures: int
) -> None:
    request, script = scripted.fields, scripted.script
    if not request.prompt.strip():
        raise SimulatedError("prompt: a text is needed", param="prompt")
    width, height = _sides(request.size)
    size = text.text_bytes(request.prompt)
    scripted.note(text.token_count(size), prompt_bytes=size)
    if await faults.instead(exchange, script):
        return
    if script.image == "failed":
        await delivery.wait(exchange, script.first_ms / 1000, b"")
        raise SimulatedError(script.message or "The picture could not be made.", status=500)
    count = (request.n or 1) if script.images is None else script.images
    made = [_picture(request, width, height, place) for place in range(count)]
    exchange.entry.units_sent = count
    body: dict[str, Any] = {"created": int(time.time()), "data": made}
    if script.image_tokens is not None and not script.usage.missing:
        body["usage"] = _usage(text.token_count(size), pictures, script.image_tokens * count)
    await delivery.plain(exchange, body, script, tokens=0)


def _sides(size: str | None) -> tuple[int, int]:
    """Return the width and height of `1024x768`."""
    if size is None or size == "auto":
        return DEFAULT_SIDE, DEFAULT_SIDE
    width, _, height = size.partition("x")
    for side in (width, height):
        if not (side.isascii() and side.isdigit() and len(side) < 6 and 1 <= int(side) <= MAX_SIDE):
            raise SimulatedError(f"size: {size!r} is not like 1024x1024", param="size")
    return int(width), int(height)


def _picture(request: ImageRequest, width: int, height: int, place: int) -> dict[str, str]:
    encoded = base64.b64encode(png(width, height, place)).decode()
    if request.response_format == "b64_json":
        return {"b64_json": encoded}
    return {"url": f"data:image/png;base64,{encoded}"}


def _usage(text_tokens: int, pictures: int, output_tokens: int) -> dict[str, Any]:
    picture_tokens = pictures * INPUT_TOKENS_PER_PICTURE
    input_tokens = text_tokens + picture_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": picture_tokens},
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }

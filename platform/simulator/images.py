"""`POST /images/generations`."""

import time

import msgspec

from simulator import delivery, faults, text
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.scripted_request import Choices, read_scripted_request


class ImageRequest(msgspec.Struct):
    """The fields of an image request that change the answer."""

    model: str
    prompt: str
    n: Choices = None


async def create(exchange: HttpExchange) -> None:
    """Answer with the addresses of pictures that do not exist."""
    scripted = read_scripted_request(exchange, ImageRequest)
    request, script = scripted.fields, scripted.script
    if not request.prompt.strip():
        raise SimulatedError("prompt: a text is needed", param="prompt")
    size = text.text_bytes(request.prompt)
    scripted.note(text.token_count(size), prompt_bytes=size)
    if await faults.instead(exchange, script):
        return
    if script.image == "failed":
        await delivery.wait(exchange, script.first_ms / 1000, b"")
        raise SimulatedError(script.message or "The picture could not be made.", status=500)
    count = (request.n or 1) if script.images is None else script.images
    pictures = [{"url": f"https://images.sim.invalid/{place}.png"} for place in range(1, count + 1)]
    exchange.entry.units_sent = count
    body = {"created": int(time.time()), "data": pictures}
    await delivery.plain(exchange, body, script, tokens=0)

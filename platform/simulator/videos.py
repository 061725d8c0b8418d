"""`POST /videos/generations` and `GET /videos/{id}`: work that is asked for again later.

A video's id tells when it will be ready and how it ends, so the simulator keeps no table of
them, and an id outlives a restart.
"""

import itertools
import re
import time
from typing import Any

import msgspec

from simulator import delivery, faults, text
from simulator.errors import SimulatedError, error_body
from simulator.exchange import HttpExchange
from simulator.scripted_request import read_scripted_request, script_of

_numbers = itertools.count(1)
_ID = re.compile(r"video-sim-(?P<ready_ms>\d{1,15})-(?P<end>completed|failed|stuck)-\d{1,12}")


class VideoRequest(msgspec.Struct):
    """The fields of a video request that change the answer: a text, pictures, or both."""

    model: str
    prompt: str | None = None
    image_url: Any = None


async def create(exchange: HttpExchange) -> None:
    """Take an order for a video."""
    scripted = read_scripted_request(exchange, VideoRequest)
    request, script = scripted.fields, scripted.script
    if not request.prompt and not request.image_url:
        raise SimulatedError("prompt: a text or an image_url is needed", param="prompt")
    size = text.text_bytes(request.prompt)
    scripted.note(text.token_count(size), prompt_bytes=size)
    if await faults.instead(exchange, script):
        return
    ready_ms = int((time.time() + script.video_s) * 1000)
    video_id = f"video-sim-{ready_ms}-{script.video or 'completed'}-{next(_numbers)}"
    exchange.entry.units_sent = 1
    await delivery.plain(exchange, {"id": video_id, "status": "processing"}, script, tokens=0)


async def show(exchange: HttpExchange, video_id: str) -> None:
    """Tell how a video is coming along. The header's script holds here too."""
    script = script_of(exchange, "")
    if await faults.instead(exchange, script):
        return
    known = _ID.fullmatch(video_id)
    if known is None:
        raise SimulatedError(f"There is no video {video_id!r}.", status=404, param="id")
    ready = time.time() * 1000 >= int(known["ready_ms"])
    body: dict[str, Any] = {"id": video_id, "status": "processing"}
    if ready and known["end"] == "completed":
        body["status"] = "completed"
        body["video_url"] = f"https://videos.sim.invalid/{video_id}.mp4"
    elif ready and known["end"] == "failed":
        body |= {"status": "failed"} | error_body(
            SimulatedError("The video could not be made.", status=500)
        )
    await delivery.plain(exchange, body, script, tokens=0)

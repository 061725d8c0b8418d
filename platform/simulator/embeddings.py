"""`POST /embeddings`: unit vectors that depend on nothing but the input and their length."""

import base64
import hashlib
import math
import random
import struct
from typing import Annotated, Any, Literal

import msgspec

from simulator import delivery, faults, text, usage
from simulator.completions import Prompt, prompt_sizes, prompts_in
from simulator.exchange import HttpExchange
from simulator.scripted_request import read_scripted_request
from simulator.usage import Counts

DIMENSIONS = 64


class EmbeddingRequest(msgspec.Struct):
    """The fields of an embeddings request that change the answer."""

    model: str
    input: Prompt
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4_096)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


async def create(exchange: HttpExchange) -> None:
    """Answer with a vector for each input."""
    scripted = read_scripted_request(exchange, EmbeddingRequest)
    request, script = scripted.fields, scripted.script
    sizes = prompt_sizes(request.input)
    counts = Counts(text.token_count(sum(sizes)), 0, 0)
    scripted.note(counts.prompt, prompts=len(sizes), prompt_bytes=sum(sizes))
    if await faults.instead(exchange, script):
        return
    length = request.dimensions or DIMENSIONS
    vectors = [vector(each, length) for each in prompts_in(request.input)]
    data: list[dict[str, Any]] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": packed(each) if request.encoding_format == "base64" else each,
        }
        for index, each in enumerate(vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": request.model}
    if not script.usage.missing:
        body["usage"] = usage.usage_object(counts, script)
        if isinstance(body["usage"], dict):
            # Embeddings have no completion, and OpenAI's usage object does not name one.
            body["usage"].pop("completion_tokens", None)
    await delivery.plain(exchange, body, script, tokens=0)


def vector(prompt: str | list[int], length: int) -> list[float]:
    """Return the input's vector: always the same one, of length 1, in 32-bit floats."""
    seed = hashlib.sha256(repr(prompt).encode()).digest()
    source = random.Random(seed)
    numbers = [source.gauss(0, 1) for _ in range(length)]
    norm = math.sqrt(sum(number * number for number in numbers))
    return list(
        struct.unpack(f"<{length}f", struct.pack(f"<{length}f", *(n / norm for n in numbers)))
    )


def packed(numbers: list[float]) -> str:
    """Return a vector as OpenAI's base64: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()

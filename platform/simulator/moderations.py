"""`POST /moderations`: a category is flagged where its last word is in the text."""

from typing import Any

import msgspec

from simulator import delivery, faults, text
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.scripted_request import read_scripted_request

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
# The categories that pictures are judged by, too.
_OF_PICTURES = {
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "violence",
    "violence/graphic",
}
_HIGH, _LOW = 0.9, 0.01


class ModerationRequest(msgspec.Struct):
    """The fields of a moderation request that change the answer."""

    input: str | list[str | dict[str, Any]]
    model: str


async def create(exchange: HttpExchange) -> None:
    """Answer with a result for each text, or one for all parts of a mixed input."""
    scripted = read_scripted_request(exchange, ModerationRequest)
    request, script = scripted.fields, scripted.script
    judged = _inputs(request.input)
    size = sum(text.text_bytes(each) for each in judged)
    counted = text.token_count(size)
    tokens = counted if script.prompt_tokens is None else script.prompt_tokens
    scripted.note(tokens, inputs=len(judged), prompt_bytes=size)
    if await faults.instead(exchange, script):
        return
    body: dict[str, Any] = {
        "id": exchange.id.replace("req_", "modr-", 1),
        "model": request.model,
        "results": [_result(each) for each in judged],
    }
    if script.usage.forced:
        # OpenAI's tells none; others do.
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    await delivery.plain(exchange, body, script, tokens=0)


def _inputs(asked: str | list[str | dict[str, Any]]) -> list[Any]:
    """Return the inputs that get a result each: a text, or a list of parts."""
    if isinstance(asked, str):
        return [asked]
    if not asked:
        raise SimulatedError("input: at least one is needed", param="input")
    if all(isinstance(each, str) for each in asked):
        return list(asked)
    parts = [{"type": "text", "text": each} if isinstance(each, str) else each for each in asked]
    if any(part.get("type") not in {"text", "image_url"} for part in parts):
        raise SimulatedError("input: parts are text or image_url", param="input")
    return [parts]


def _result(judged: Any) -> dict[str, Any]:
    said = " ".join(text.texts(judged)).lower()
    found = {category: category.rpartition("/")[2] in said for category in CATEGORIES}
    kinds = {part["type"] for part in judged} if isinstance(judged, list) else {"text"}
    pictured = "image_url" in kinds
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {name: _HIGH if hit else _LOW for name, hit in found.items()},
        "category_applied_input_types": {
            name: (["text"] if "text" in kinds else [])
            + (["image"] if pictured and name in _OF_PICTURES else [])
            for name in CATEGORIES
        },
    }

"""Whole responses, and what they and streams have in common."""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.openai_responses.output import response_object
from api.dialects.openai_responses.repair import repaired_response
from api.dialects.openai_responses.usage import shown_usage
from api.dialects.service_tiers import with_served_tier
from api.dialects.usage import Metered, MeteringLimits, UsageEvidence
from billing.pricing.charge import Usage

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode

Json = dict[str, Any]

ANSWERED = frozenset({"completed", "incomplete"})
# What OpenAI's SDKs take for granted in a response.
_REQUIRED = (
    "id",
    "object",
    "created_at",
    "output",
    "parallel_tool_calls",
    "tool_choice",
    "tools",
)


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


class Item(msgspec.Struct, gc=False):
    """An item of a response's output."""

    type: str
    id: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None

    def check(self) -> None:
        """Raise DialectError if an item of a known kind lacks what it is made of."""
        for name in _ITEM_PARTS.get(self.type, ()):
            if getattr(self, name) is None:
                raise DialectError("bad_answer", f"a {self.type} item has no {name}")
        for part in self.content or ():
            for name in _PART_PARTS.get(part.type, ()):
                if getattr(part, name) is None:
                    raise DialectError("bad_answer", f"a part {part.type} has no {name}")

    def text_bytes(self) -> int:
        """Return how many bytes of generated text it has."""
        parts = [*(self.content or ()), *(self.summary or ())]
        texts = [part.text or part.refusal for part in parts]
        texts += [self.name, self.arguments, self.input]
        return sum(len(text.encode()) for text in texts if text)


_ITEM_PARTS = {
    "message": ("id", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    "reasoning": ("id", "summary"),
}
_PART_PARTS = {"refusal": ("refusal",), "output_text": ("text", "annotations")}


class _Response(msgspec.Struct, gc=False):
    object: str
    status: str
    output: list[Item]
    model: str | None = None
    usage: Any = None
    service_tier: Any = None
    error: None = None
    incomplete_details: Json | None = None


_decode = msgspec.json.Decoder(_Response).decode


class ResponseAnswer:
    """A response in one piece."""

    __slots__ = ("_body", "_context", "_evidence", "_response", "finish_reason", "text_bytes")

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        """Read a response. Raise DialectError if it is none, or reports a failure."""
        self._context = context
        self._body, self._response = proved_response(body, context)
        response = self._response
        self._evidence = UsageEvidence(response.usage)
        self.text_bytes = sum(item.text_bytes() for item in response.output)
        self.finish_reason = finish_reason(response.status, response.incomplete_details)

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage that the upstream reported, or none if it can't be true."""
        metered = self._evidence.meter(self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, self._response.service_tier)
        return metered

    def body(self, usage: Usage) -> bytes:
        """Return the upstream's response with the public name and the usage that is charged."""
        response = {**_decode_anything(self._body), "usage": self._evidence.figures}
        return _encode(for_client(response, self._context, usage))


def proved_response(body: bytes, context: AnswerContext) -> tuple[bytes, _Response]:
    """Return a response's bytes, repaired if they must be, and what was decoded of them.

    Raise DialectError.
    """
    try:
        return body, _checked(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DialectError):
        repaired = repaired_response(body, context.answer_id)
    try:
        return repaired, _checked(repaired)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise DialectError("bad_answer", f"no response: {body[:120]!r}") from None


def _checked(body: bytes) -> _Response:
    """Return a decoded response. Raise DialectError where it lacks what it must have."""
    response = _decode(body)
    if response.status not in ANSWERED:
        raise DialectError("bad_answer", f"the response {response.status[:20]}")
    for item in response.output:
        item.check()
    return response


def finish_reason(status: str, incomplete_details: object) -> str:
    """Return why a response ended, in one word."""
    reason = incomplete_details.get("reason") if isinstance(incomplete_details, dict) else None
    return reason if status == "incomplete" and isinstance(reason, str) else status


def for_client(response: Json, context: AnswerContext, usage: Usage | None) -> Json:
    """Return an upstream's response as the client is to see it.

    That is under the public name, not stored, with the usage that is charged, if there is one yet;
    of a service tier is only spoken where the request names one that has a price.
    """
    shown = {**response, "model": context.public_name, "store": False}
    missing = [name for name in _REQUIRED if shown.get(name) is None]
    if missing:
        whole = response_object(context, [], None, None)
        shown |= {name: whole[name] for name in missing}
    if not context.request.service_tier:
        shown.pop("service_tier", None)
    if usage is not None:
        shown["usage"] = shown_usage(response.get("usage"), usage)
    return shown

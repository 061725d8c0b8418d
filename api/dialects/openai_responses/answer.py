"""Whole responses, and what they and streams have in common."""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.service_tiers import with_served_tier
from api.dialects.usage import Metered, MeteringLimits, meter
from billing.pricing.charge import Usage

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode

Json = dict[str, Any]

ANSWERED = frozenset({"completed", "incomplete"})


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None


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
            if part.type == "refusal" and part.refusal is None:
                raise DialectError("bad_answer", "a refusal has no text")

    def text_bytes(self) -> int:
        """Return how many bytes of generated text it has."""
        parts = [*(self.content or ()), *(self.summary or ())]
        texts = [part.text or part.refusal for part in parts]
        texts += [self.name, self.arguments, self.input]
        return sum(len(text.encode()) for text in texts if text)


_ITEM_PARTS = {
    "message": ("content",),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
}


class _Response(msgspec.Struct, gc=False):
    object: str
    status: str
    output: list[Item]
    model: str | None = None
    usage: Any = None
    service_tier: Any = None
    error: Any = None
    incomplete_details: Json | None = None


_decode = msgspec.json.Decoder(_Response).decode


class ResponseAnswer:
    """A response in one piece."""

    __slots__ = ("_body", "_context", "_response", "finish_reason", "text_bytes")

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        """Read a response. Raise DialectError if it is none, or reports a failure."""
        self._body = body
        self._context = context
        try:
            self._response = response = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer is no response") from None
        if response.status not in ANSWERED:
            detail = f"the response {response.status[:20]}: {_encode(response.error)[:200]!r}"
            raise DialectError("bad_answer", detail)
        for item in response.output:
            item.check()
        self.text_bytes = sum(item.text_bytes() for item in response.output)
        self.finish_reason = finish_reason(response.status, response.incomplete_details)

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage that the upstream reported, or none if it can't be true."""
        response = self._response
        metered = meter(response.usage, self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, response.service_tier)
        return metered

    def body(self, usage: Usage) -> bytes:
        """Return the upstream's response with the public name and the usage that is charged."""
        return _encode(for_client(_decode_anything(self._body), self._context, usage))


def finish_reason(status: str, incomplete_details: Json | None) -> str:
    """Return why a response ended, in one word."""
    reason = (incomplete_details or {}).get("reason")
    return reason if status == "incomplete" and isinstance(reason, str) else status


def for_client(response: Json, context: AnswerContext, usage: Usage | None) -> Json:
    """Return an upstream's response as the client is to see it.

    That is under the public name, not stored, with the usage that is charged, if there is one yet;
    of a service tier is only spoken where the request names one that has a price.
    """
    shown = {**response, "model": context.public_name, "store": False}
    if not context.request.service_tier:
        shown.pop("service_tier", None)
    if usage is not None:
        shown["usage"] = shown_usage(response.get("usage"), usage)
    return shown


def shown_usage(reported: object, usage: Usage) -> Json:
    """Return the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    reported = reported if isinstance(reported, dict) else {}
    return {
        **reported,
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            **_part(reported, "input_tokens_details"),
            "cached_tokens": usage.cached_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {
            **_part(reported, "output_tokens_details"),
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _part(reported: Json, name: str) -> Json:
    part = reported.get(name)
    return part if isinstance(part, dict) else {}

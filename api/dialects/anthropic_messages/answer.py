"""Whole messages."""

from typing import Any

import msgspec

from api.dialects.anthropic_messages.repair import repaired_message, stop_reason
from api.dialects.anthropic_messages.usage import shown_usage
from api.dialects.base import AnswerContext, DialectError
from api.dialects.service_tiers import with_served_tier
from api.dialects.usage import Metered, MeteringLimits, meter
from billing.pricing.charge import Usage

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class Block(msgspec.Struct, gc=False):
    """A content block of an answer, whole or at its start."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None

    def check(self) -> None:
        """Raise DialectError if a block of a known kind lacks what it is made of."""
        for name in _PARTS.get(self.type, ()):
            if getattr(self, name) is None:
                raise DialectError("bad_answer", f"a {self.type} block has no {name}")


_PARTS = {
    "text": ("text",),
    "thinking": ("thinking",),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name", "input"),
}


class _Message(msgspec.Struct, gc=False):
    type: str
    content: list[Block]
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Any = None
    error: None = None


_decode = msgspec.json.Decoder(_Message).decode


class MessageAnswer:
    """A message in one piece."""

    __slots__ = ("_body", "_context", "_message", "finish_reason", "text_bytes")

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        """Read a message. Raise DialectError if it is none."""
        self._context = context
        self._body, self._message = proved_message(body)
        message = self._message
        self.text_bytes = sum(map(_text_bytes, message.content))
        self.finish_reason = message.stop_reason or ""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage that the upstream reported, or none if it can't be true."""
        usage = self._message.usage
        metered = meter(usage, self.text_bytes, limits)
        if limits.prices.has_service_tiers and isinstance(usage, dict):
            return with_served_tier(metered, usage.get("service_tier"))
        return metered

    def body(self, usage: Usage) -> bytes:
        """Return the upstream's message with the public name and the usage that is charged."""
        message = self._message
        figures = shown_usage(message.usage, usage)
        if figures == message.usage and message.model == self._context.public_name:
            return self._body
        answer: dict[str, Any] = _decode_anything(self._body)
        return _encode({**answer, "model": self._context.public_name, "usage": figures})


def proved_message(body: bytes) -> tuple[bytes, _Message]:
    """Return a message's bytes, repaired if they must be, and what was decoded of them.

    Raise DialectError.
    """
    try:
        return body, _checked(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DialectError):
        repaired = repaired_message(body)
    try:
        return repaired, _checked(repaired)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise DialectError("bad_answer", f"no message: {body[:120]!r}") from None


def _checked(body: bytes) -> _Message:
    """Return a decoded message. Raise DialectError where it lacks what it must have."""
    message = _decode(body)
    if message.type != "message":
        raise DialectError("bad_answer", f"the answer is of the type {message.type[:40]}")
    if stop_reason(message.stop_reason) is None:
        raise DialectError("bad_answer", "the answer has no stop reason")
    for block in message.content:
        block.check()
    return message


def _text_bytes(block: Block) -> int:
    """Return how many bytes of generated text a block has."""
    count = 0
    for text in (block.text, block.thinking, block.name):
        if text:
            count += len(text.encode())
    return count + (len(_encode(block.input)) if block.input is not None else 0)

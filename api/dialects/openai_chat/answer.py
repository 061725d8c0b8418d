"""Whole answers of chat completions and legacy completions."""

from typing import Any

import msgspec

from api.dialects.base import AnswerContext, DialectError
from api.dialects.reasoning import needs_translation, translate_message
from api.dialects.usage import (
    Metered,
    MeteringLimits,
    UsageEvidence,
    shown_usage,
    shows_as_reported,
)
from billing.pricing.charge import Usage

_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class _Message(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    finish_reason: str | None = None
    # The legacy completions' choices have this in place of a message.
    text: Any = None


class _Completion(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Completion).decode


class CompletionAnswer:
    """A completion in one piece."""

    __slots__ = (
        "_body",
        "_completion",
        "_context",
        "_evidence",
        "finish_reason",
        "text_bytes",
    )

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        """Read a completion. Raise DialectError if it is none."""
        self._body = body
        self._context = context
        try:
            self._completion = completion = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer is no completion") from None
        if completion.error is not None or completion.choices is None:
            raise DialectError("bad_answer", "the answer has an error or no choices")
        self._evidence = UsageEvidence()
        self._evidence.add(completion.usage)
        choices = completion.choices
        self.text_bytes = sum(map(_text_bytes, choices))
        self.finish_reason = (choices[0].finish_reason or "") if choices else ""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        return self._evidence.meter(self.text_bytes, limits)

    def body(self, usage: Usage) -> bytes:
        """Return the upstream's bytes with what the client sees differently.

        That is the model's public name, the usage that is charged, and where reasoning stands.
        """
        completion, context = self._completion, self._context
        figures = self._evidence.figures
        name = context.public_name
        is_translated = needs_translation(
            self._body,
            completion.choices or (),
            context.reasoning_field,
            is_tagged=context.is_tagged,
        )
        is_shown = self._evidence.is_credible and shows_as_reported(completion.usage, usage)
        if is_translated or not is_shown:
            answer: dict[str, Any] = _decode_anything(self._body)
            answer |= {"model": name, "usage": shown_usage(figures, usage)}
            if is_translated:
                self._translate(answer)
            return _encode(answer)
        if completion.model == name:
            return self._body
        theirs, ours = _encode(completion.model), _encode(name)
        for prefix in (b'"model":', b'"model": '):
            # Quotes inside of strings are escaped, so these bytes can be nothing but the member.
            if self._body.count(prefix + theirs) == 1:
                return self._body.replace(prefix + theirs, prefix + ours)
        return _encode({**_decode_anything(self._body), "model": name})

    def _translate(self, answer: dict[str, Any]) -> None:
        """Put reasoning where the surface has it, or nowhere."""
        field, is_tagged = self._context.reasoning_field, self._context.is_tagged
        for choice in answer["choices"]:
            if choice.get("message") is not None:
                translate_message(choice["message"], field, is_tagged=is_tagged)


def _text_bytes(choice: _Choice) -> int:
    """Return how many bytes of text a choice has, of any kind that is generated."""
    message = choice.message or _Message()
    count = 0
    for part in (
        choice.text,
        message.content,
        message.reasoning_content,
        message.reasoning,
        message.refusal,
        message.tool_calls,
        message.function_call,
        message.audio,
    ):
        if isinstance(part, str):
            count += len(part) if part.isascii() else len(part.encode())
        elif part:
            count += len(_encode(part))
    return count

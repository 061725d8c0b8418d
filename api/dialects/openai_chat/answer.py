"""Whole answers of chat completions and legacy completions."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from api.dialects.base import AnswerContext, DialectError, without_cost
from api.dialects.openai_chat.repair import (
    FINISH_REASONS,
    decode_loosely,
    encode_safely,
    raise_reported,
    repaired_answer,
)
from api.dialects.reasoning import needs_translation, translate_message
from api.dialects.service_tiers import with_served_tier
from api.dialects.usage import Metered, MeteringLimits, UsageEvidence
from billing.pricing.charge import Usage

# The estimates of output that isn't text, in bytes of text: of audio a token takes about 1 kB of
# base64 (20 tokens a second; 48 kB as PCM, a tenth of it compressed), and a picture is some 1,300
# tokens (Gemini's 1,290).
AUDIO_BYTES_PER_TEXT_BYTE = 256
IMAGE_TEXT_BYTES = 5_200

# What a strict decode raises for what isn't the dialect's as it stands.
UNPROVED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode
_decode_anything = msgspec.json.Decoder().decode


class Function(msgspec.Struct, gc=False):
    """A called function, or a part of it."""

    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, gc=False):
    """A called tool whose input is a text, or a part of it."""

    name: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A call of a tool, or a part of it."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    type: Literal["function", "custom"] | None = None


class Audio(msgspec.Struct, gc=False):
    """Spoken output, or a part of it."""

    data: str | None = None
    transcript: str | None = None


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds to a message, or a whole message."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Audio | None = None
    images: list[dict[str, Any]] | None = None
    role: str | None = None


class Groq(msgspec.Struct, gc=False):
    """Groq's own member."""

    usage: None = None
    error: None = None


class _Choice(msgspec.Struct, gc=False):
    index: int
    message: Delta
    finish_reason: str | None = None
    usage: None = None
    error: None = None


class _Completion(msgspec.Struct, gc=False):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: dict[str, Any] | None = None
    service_tier: Any = None
    x_groq: Groq | None = None
    prompt_tokens: None = None
    completion_tokens: None = None
    error: None = None


class _TextChoice(msgspec.Struct, gc=False):
    index: int
    text: str
    finish_reason: str | None = None
    usage: None = None
    error: None = None

    @property
    def message(self) -> Delta:
        """The text as a message."""
        return Delta(self.text)


class _TextCompletion(msgspec.Struct, gc=False):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: Annotated[list[_TextChoice], msgspec.Meta(min_length=1)]
    usage: dict[str, Any] | None = None
    service_tier: Any = None
    error: None = None


class CompletionAnswer:
    """A chat completion in one piece."""

    is_text: ClassVar[bool] = False
    decode: ClassVar[Any] = msgspec.json.Decoder(_Completion).decode

    __slots__ = (
        "_body",
        "_completion",
        "_context",
        "_evidence",
        "finish_reason",
        "text_bytes",
    )

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        """Read a completion. Raise DialectError if it is none, or reports an error."""
        self._context = context
        self._body, self._completion = self._proved(body)
        choices = self._completion.choices
        self._evidence = UsageEvidence(self._completion.usage)
        self.text_bytes = sum(generated_bytes(choice.message) for choice in choices)
        self.finish_reason = choices[0].finish_reason or ""

    def _proved(self, body: bytes) -> tuple[bytes, Any]:
        """Return a completion's bytes, repaired if they must be, and what was decoded of them."""
        try:
            completion = self.decode(body)
        except UNPROVED:
            pass
        else:
            reasons = {choice.finish_reason for choice in completion.choices}
            if reasons <= FINISH_REASONS:
                return body, completion
        answer = decode_loosely(body)
        raise_reported(answer)
        name = self._context.public_name
        repaired = encode_safely(repaired_answer(answer, is_text=self.is_text, name=name))
        try:
            return repaired, self.decode(repaired)
        except UNPROVED:
            raise DialectError("bad_answer", f"no completion: {body[:120]!r}") from None

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        metered = self._evidence.meter(self.text_bytes, limits)
        if limits.prices.has_service_tiers:
            return with_served_tier(metered, self._completion.service_tier)
        return metered

    def body(self, usage: Usage) -> bytes:
        """Return the upstream's bytes with what the client sees differently.

        That is the model's public name, the usage that is charged, and where reasoning stands.
        """
        completion, context = self._completion, self._context
        name = context.public_name
        is_translated = not self.is_text and needs_translation(
            self._body,
            completion.choices,
            context.reasoning_field,
            is_tagged=context.is_tagged,
        )
        is_shown = self._evidence.is_credible and shows_as_reported(completion.usage, usage)
        if is_translated or not is_shown:
            answer: dict[str, Any] = _decode_anything(self._body)
            answer |= {"model": name, "usage": shown_usage(self._evidence.figures, usage)}
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
            translate_message(choice["message"], field, is_tagged=is_tagged)


class TextAnswer(CompletionAnswer):
    """A legacy completion in one piece."""

    is_text = True
    decode = msgspec.json.Decoder(_TextCompletion).decode

    __slots__ = ()


def generated_bytes(delta: Delta) -> int:
    """Return how many bytes of text a delta or message has, of any kind that is generated.

    What isn't text counts as the text that it likely costs as much as.
    """
    count = 0
    if content := delta.content:
        count = len(content) if content.isascii() else len(content.encode())
    if reasoning := delta.reasoning_content or delta.reasoning:
        # Where it comes in both fields, it is the same.
        count += len(reasoning) if reasoning.isascii() else len(reasoning.encode())
    if delta.refusal:
        count += len(delta.refusal.encode())
    if calls := delta.tool_calls:
        for call in calls:
            if (function := call.function) is not None:
                count += utf8_length(function.name) + utf8_length(function.arguments)
            elif (custom := call.custom) is not None:
                count += utf8_length(custom.name) + utf8_length(custom.input)
    if called := delta.function_call:
        count += utf8_length(called.name) + utf8_length(called.arguments)
    if audio := delta.audio:
        count += -(-len(audio.data or "") // AUDIO_BYTES_PER_TEXT_BYTE)
        count += len((audio.transcript or "").encode())
    if images := delta.images:
        count += IMAGE_TEXT_BYTES * len(images)
    return count


def utf8_length(text: str | None) -> int:
    """Return how many bytes a text has in UTF-8."""
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode())


def shown_usage(reported: object, usage: Usage) -> dict[str, Any]:
    """Return the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    figures: dict[str, Any] = {
        **without_cost(reported),
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    _show_part(figures, "prompt_tokens_details", "cached_tokens", usage.cached_tokens)
    _show_part(figures, "completion_tokens_details", "reasoning_tokens", usage.reasoning_tokens)
    return figures


def shows_as_reported(reported: object, usage: Usage) -> bool:
    """Return whether the upstream's usage object already is what the client is to be shown."""
    if type(reported) is not dict:
        return False
    output = usage.output_tokens
    if (
        reported.get("prompt_tokens") != usage.input_tokens
        or reported.get("completion_tokens") != output
        or reported.get("total_tokens") != usage.input_tokens + output
    ):
        return False
    if not usage.cached_tokens and not usage.reasoning_tokens:
        return True
    return shown_usage(reported, usage) == reported


def _show_part(figures: dict[str, Any], name: str, part: str, count: int) -> None:
    """Set a part of the figures, in a new object, if there is something to tell."""
    details = figures.get(name)
    if not isinstance(details, dict):
        details = {}
    if count or part in details:
        figures[name] = {**details, part: count}

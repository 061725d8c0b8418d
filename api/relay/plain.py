"""Answers in one piece: read whole, checked, metered, settled, and then handed on."""

from typing import Any

import msgspec

from api.catalogue.snapshot import RouteEntry
from api.relay.attempts import note_speed, open_answer
from api.relay.call import Call
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError
from api.relay.reasoning import needs_translation, translate_message
from api.relay.relay import Relay
from api.relay.usage import meter, shown_usage, shows_as_reported
from api.relay.watch import Watch
from billing.pricing.charge import Usage
from billing.pricing.money import dollars_text

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


class PlainResponder:
    """Relays an answer in one piece."""

    has_begun = False

    def __init__(self, relay: Relay, call: Call, exchange: Exchange, watch: Watch) -> None:
        self._relay = relay
        self._call = call
        self._exchange = exchange
        self._watch = watch
        self._body = b""
        self._completion = _Completion()
        self._is_tagged = False

    async def attempt(self, route: RouteEntry) -> None:
        """Reads the answer of a route's upstream. Raises AttemptError."""
        answer = await open_answer(self._exchange, self._relay.upstreams, route)
        try:
            self._body = await answer.read(self._relay.limits.max_answer_bytes)
            note_speed(self._exchange, answer, len(self._body) // 4)
        finally:
            await answer.close()
        self._is_tagged = self._exchange.plan.is_tagged_by(route)
        try:
            self._completion = _decode(self._body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise AttemptError("bad_answer", "the answer is no completion") from None
        if self._completion.error is not None or self._completion.choices is None:
            raise AttemptError("bad_answer", "the answer has an error or no choices")

    async def complete(self) -> None:
        """Settles the answer, and then hands it on."""
        exchange, completion = self._exchange, self._completion
        choices = completion.choices or []
        exchange.delivered_bytes = text_bytes = sum(map(_text_bytes, choices))
        if choices:
            exchange.finish_reason = choices[0].finish_reason or ""
        metered = meter(completion.usage, text_bytes, exchange.plan)
        if metered.usage is None:
            completion.usage = None  # it can't be true, so nobody is told
        # Before the settlement, so that a mistake of ours here costs the client nothing.
        body = self._public_body(metered.usage or exchange.estimated())
        exchange.complete(metered)
        await exchange.receipt(self._watch, self._relay.limits.settle_wait_seconds)
        cost = dollars_text(exchange.cost.total_nanos).encode()
        await self._call.respond(body, headers=[(b"x-request-cost", cost)])

    async def apologise(self, fault: AttemptError) -> None:
        """Tells the client what went wrong."""
        await self._call.respond_error(fault.as_error())

    async def close(self) -> None:
        """Does nothing: each attempt ends its own call."""

    def _public_body(self, usage: Usage) -> bytes:
        """Returns the upstream's bytes with what the client gets in other words.

        That is the model's public name, the usage that is charged, and reasoning in its place.
        """
        completion, name = self._completion, self._exchange.plan.public_name
        is_strange = needs_translation(
            self._body,
            completion.choices or (),
            self._call.surface.reasoning_field,
            is_tagged=self._is_tagged,
        )
        if is_strange or not shows_as_reported(completion.usage, usage):
            told: dict[str, Any] = _decode_anything(self._body)
            told |= {"model": name, "usage": shown_usage(completion.usage, usage)}
            if is_strange:
                self._translate(told)
            return _encode(told)
        if completion.model == name:
            return self._body
        theirs, ours = _encode(completion.model), _encode(name)
        for prefix in (b'"model":', b'"model": '):
            # Quotes inside of strings are escaped, so these bytes can be nothing but the member.
            if self._body.count(prefix + theirs) == 1:
                return self._body.replace(prefix + theirs, prefix + ours)
        return _encode({**_decode_anything(self._body), "model": name})

    def _translate(self, told: dict[str, Any]) -> None:
        """Puts reasoning where the surface has it, or nowhere."""
        for choice in told["choices"]:
            if choice.get("message") is not None:
                field = self._call.surface.reasoning_field
                translate_message(choice["message"], field, is_tagged=self._is_tagged)


def _text_bytes(choice: _Choice) -> int:
    """Returns how many bytes of text a choice has, of any kind that is generated."""
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

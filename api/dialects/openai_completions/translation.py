"""Legacy completions to and from the typed middle: one prompt is one message of the user's.

Nothing is asked of upstreams in this dialect for clients of another one: a conversation is no text
to continue.
"""

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import AnswerContext, ParsedRequest
from api.dialects.conversation import (
    Conversation,
    Event,
    Finished,
    Refusal,
    RefusalDelta,
    Reply,
    Text,
    TextDelta,
    Turn,
    unsayable,
)
from api.dialects.openai_chat.answer import shown_usage
from api.dialects.openai_chat.translation import EventSource, events_of_answer
from api.dialects.openai_chat.writer import DONE, FINISH_REASONS
from api.phrases import Phrase
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

__all__ = [
    "EventSource",
    "ReplyWriter",
    "body_of",
    "conversation_of",
    "events_of_answer",
    "reply_body",
]

_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]

# Parameters that change the answer and that a conversation has no place for; with the values that
# change nothing.
_ONLY_HERE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (),
    "logit_bias": ({},),
    "repetition_penalty": (1,),
}


def conversation_of(request: ParsedRequest) -> Conversation:
    """Return what a legacy completion's request asks for.

    Raise UnsupportedParameterError for anything but one prompt of text.
    """
    fields = request.fields
    prompt, stop = fields["prompt"], fields.get("stop") or []
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise unsayable("prompt", Phrase("More than one prompt, or one in tokens,"))
        prompt = prompt[0]
    return Conversation(
        turns=[Turn("user", (Text(prompt),), "prompt")],
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        top_k=fields.get("top_k"),
        stop=[stop] if isinstance(stop, str) else list(stop),
        presence_penalty=fields.get("presence_penalty") or None,
        frequency_penalty=fields.get("frequency_penalty") or None,
        seed=fields.get("seed"),
        end_user=request.end_user,
        is_streamed=request.is_streamed,
        only_here={
            name: fields[name]
            for name, neutral in _ONLY_HERE.items()
            if fields.get(name) is not None and fields[name] not in neutral
        },
    )


def body_of(
    conversation: Conversation, model: ModelEntry, route: RouteEntry, max_tokens: int
) -> Json:
    """Raise UnsupportedParameterError: the dialect has no conversations."""
    raise unsayable("messages", Phrase("A conversation"))


def reply_body(reply: Reply, usage: Usage, context: AnswerContext) -> bytes:
    """Return a client's completion in one piece."""
    text = "".join(block.text for block in reply.blocks if isinstance(block, (Text, Refusal)))
    choice = _choice(text, FINISH_REASONS[reply.reason])
    return _encode({**_head(context), "choices": [choice], "usage": shown_usage(None, usage)})


def _head(context: AnswerContext) -> Json:
    return {
        "id": f"cmpl-{context.answer_id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": context.public_name,
    }


def _choice(text: str, finish_reason: str | None) -> Json:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}


class ReplyWriter:
    """Writes a client's stream of text from events. Reasoning is no part of a text."""

    sent_events = 0  # not numbered

    __slots__ = ("_finish", "_head")

    def __init__(self, context: AnswerContext) -> None:
        self._head = _head(context)
        self._finish = "stop"

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the chunks that events make."""
        written = b""
        for event in events:
            match event:
                case TextDelta(text) | RefusalDelta(text):
                    written += self._chunk(text, None)
                case Finished(reason):
                    self._finish = FINISH_REASONS[reason]
        return written

    def _chunk(self, text: str, finish_reason: str | None) -> bytes:
        chunk = {**self._head, "choices": [_choice(text, finish_reason)]}
        return b"data: " + _encode(chunk) + b"\n\n"

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the last chunks: the finish reason, the usage if asked for, and `[DONE]`."""
        written = self._chunk("", self._finish)
        if is_shown:
            figures = shown_usage(None, usage)
            figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
            written += (
                b"data: " + _encode({**self._head, "choices": [], "usage": figures}) + b"\n\n"
            )
        return written + DONE

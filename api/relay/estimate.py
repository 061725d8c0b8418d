"""How many tokens a prompt has, before any tokeniser saw it: what it can't exceed, what is likely.

The bound makes the hold an upper bound of the cost. It rests on one fact: a byte-level tokeniser
never makes more tokens than there are bytes. JSON text is never shorter than the strings in it, so
the body's length bounds everything that a chat template can put in front of the model, except for
what isn't sent as text: images, and what is only referred to.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from api.catalogue.snapshot import ModelEntry
from api.requests import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Part,
    RefusalPart,
    TextPart,
    VideoPart,
)

# What a template adds around each message, and around the whole: role names, separators, dates.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_PROMPT = 64


class Estimate(NamedTuple):
    """A prompt's tokens. `most` is never exceeded; `likely` is for limits and partial bills."""

    likely: int
    most: int


class _Count:
    """What a walk over the messages found."""

    __slots__ = ("image_bytes", "images", "is_bounded", "text_bytes")

    def __init__(self) -> None:
        self.text_bytes = 0
        self.images = 0
        self.image_bytes = 0
        self.is_bounded = True


def estimate_prompt(chat: ChatRequest, model: ModelEntry, body_bytes: int) -> Estimate:
    """Returns the estimate of a chat request whose JSON body is `body_bytes` long."""
    count = _Count()
    for message in chat.messages:
        content = message.content
        if isinstance(content, str):
            count.text_bytes += len(content) if content.isascii() else _utf8_bytes(content)
        elif content is not None:
            _count_parts(content, count)
        if isinstance(message, AssistantMessage):
            _count_calls(message, count)
    image_tokens = count.images * model.tokens_per_image
    most = model.context_tokens
    if count.is_bounded:
        overhead = TOKENS_PER_MESSAGE * len(chat.messages) + TOKENS_PER_PROMPT
        most = min(most, body_bytes - count.image_bytes + image_tokens + overhead)
    likely = tokens_of(count.text_bytes, model) + image_tokens
    return Estimate(min(likely, most), most)


def estimate_texts(
    prompts: Sequence[str | list[int]], model: ModelEntry, body_bytes: int
) -> Estimate:
    """Returns the estimate of bare prompts, together, in a JSON body of `body_bytes`.

    A prompt of token ids counts itself; in JSON each id takes more bytes than it has tokens.
    """
    text_bytes = sum(_utf8_bytes(prompt) for prompt in prompts if isinstance(prompt, str))
    ids = sum(len(prompt) for prompt in prompts if not isinstance(prompt, str))
    # A tokeniser may begin each prompt with a token of its own.
    most = min(model.context_tokens * len(prompts), body_bytes + len(prompts))
    return Estimate(min(tokens_of(text_bytes, model) + ids, most), most)


def tokens_of(text_bytes: int, model: ModelEntry) -> int:
    """Returns how many tokens a text of so many UTF-8 bytes likely has in the model's eyes."""
    return math.ceil(text_bytes / model.bytes_per_token)


def _count_parts(parts: Sequence[Part], count: _Count) -> None:
    for part in parts:
        if isinstance(part, TextPart):
            count.text_bytes += _utf8_bytes(part.text)
        elif isinstance(part, ImagePart):
            count.images += 1
            if part.image_url.url.startswith("data:"):
                count.image_bytes += len(part.image_url.url)
        elif isinstance(part, RefusalPart):
            count.text_bytes += _utf8_bytes(part.refusal)
        elif isinstance(part, AudioPart):
            pass  # a second of sound is tens of tokens and thousands of bytes
        elif isinstance(part, (FilePart, VideoPart)):
            # It may be given by reference, and then its length is anyone's guess.
            count.is_bounded = False


def _count_calls(message: AssistantMessage, count: _Count) -> None:
    for call in message.tool_calls or ():
        count.text_bytes += len(call.function.name) + _utf8_bytes(call.function.arguments)


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())

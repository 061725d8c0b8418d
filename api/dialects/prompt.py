"""The size of a prompt: how much of each kind of input a request sends to the model.

A stream that the client closes is billed by these counts, so they cover everything that is sent, in
every dialect: messages, tools, schemas, files, images and audio.
"""

from typing import Any

import msgspec

# Bytes of base64 per token, for media. A page of a PDF is 1,500 to 3,000 tokens (Anthropic's
# documentation, PDF support) and about 70 kB. A second of audio is 10 (OpenAI) to 32 tokens
# (Gemini) and about 20 kB; a second of video is 260 to 300 tokens (Gemini) and about 170 kB.
DOCUMENT_BYTES_PER_TOKEN = 32
SOUND_BYTES_PER_TOKEN = 1_024
FILM_BYTES_PER_TOKEN = 512
# Media that is only referenced has an unknown length: assume a page, or some seconds of video.
REFERRED_TOKENS = 2_000

_encode = msgspec.json.Encoder().encode


class PromptSize(msgspec.Struct, gc=False):
    """A prompt's size, counted part by part, from which its bound and its estimate are computed.

    `text_bytes` counts all text, including tools and schemas. `images` is the number of images,
    `image_bytes` the bytes of those in the body; `media_tokens` is the estimate for files, audio
    and video; `token_ids` is the number of tokens that the client sent as ids. `is_bounded` is
    false if the prompt's bytes don't bound its tokens, as with media that is only referenced.
    Each of `prompts` gets an answer; `messages` are those of a conversation. `modalities` maps the
    kinds of input other than text to the places of their first use.
    """

    text_bytes: int = 0
    images: int = 0
    image_bytes: int = 0
    media_tokens: int = 0
    token_ids: int = 0
    is_bounded: bool = True
    messages: int = 0
    prompts: int = 1
    modalities: dict[str, str] = {}

    def count_text(self, text: str) -> None:
        """Count a text."""
        self.text_bytes += len(text) if text.isascii() else len(text.encode())

    def count_json(self, value: Any) -> None:
        """Count a value that the model reads as JSON, such as tools; an absent one counts 0."""
        if value:
            self.text_bytes += len(_encode(value))

    def count_image(self, data: str, place: str) -> None:
        """Count an image; `data` is its part of the body, empty for a URL."""
        self.modalities.setdefault("image", place)
        self.images += 1
        self.image_bytes += len(data)

    def count_sound(self, data: str, place: str) -> None:
        """Count audio in base64. Its bytes bound its tokens, each of which takes hundreds."""
        self.modalities.setdefault("audio", place)
        self.media_tokens += -(-len(data) // SOUND_BYTES_PER_TOKEN)

    def count_document(self, data: str | None, place: str) -> None:
        """Count a document in base64; None if it is only referenced."""
        self.modalities.setdefault("file", place)
        self._count_unbounded(data, DOCUMENT_BYTES_PER_TOKEN)

    def count_film(self, data: str | None, place: str) -> None:
        """Count a video in base64; None if it is only referenced."""
        self.modalities.setdefault("video", place)
        self._count_unbounded(data, FILM_BYTES_PER_TOKEN)

    def _count_unbounded(self, data: str | None, bytes_per_token: int) -> None:
        """Count compressed data, whose bytes don't bound its tokens."""
        self.is_bounded = False
        self.media_tokens += -(-len(data) // bytes_per_token) if data else REFERRED_TOKENS

"""The size of a prompt: how much of each kind of input a request sends to the model.

A closed stream is billed by what is counted here, so all that is sent counts: messages, tools,
schemas, files, pictures and sound, in every dialect.
"""

from typing import Any

import msgspec

# What isn't text, in bytes of base64 for each token. A page of a PDF is 1,500 to 3,000 tokens
# (Anthropic's documentation, PDF support) and some 70 kB. A second of sound is 10 (OpenAI) to 32
# tokens (Gemini) and some 20 kB; a second of film is 260 to 300 tokens (Gemini) and some 170 kB.
DOCUMENT_BYTES_PER_TOKEN = 32
SOUND_BYTES_PER_TOKEN = 1_024
FILM_BYTES_PER_TOKEN = 512
# What is only referred to has no length that we know: a page, or some seconds of film.
REFERRED_TOKENS = 2_000

_encode = msgspec.json.Encoder().encode


class PromptSize(msgspec.Struct, gc=False):
    """How much a prompt brings, as its bounds and estimates are made from it; counted part by part.

    `text_bytes` are those of all text, tools and schemas included. `images` are counted, and
    `image_bytes` are those of the body that are images; `media_tokens` is the estimate for files,
    sound and films; `token_ids` are tokens that the client counted itself. A prompt is not
    `is_bounded` by its bytes where it only refers to something. `prompts` have an answer each;
    `messages` are those of a conversation. `modalities` are the kinds of input that are not text,
    with the places of their first use.
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
        """Count what the model reads as JSON, such as tools; nothing for what is absent."""
        if value:
            self.text_bytes += len(_encode(value))

    def count_image(self, data: str, place: str) -> None:
        """Count an image; `data` is what of it is in the body, which may be nothing."""
        self.modalities.setdefault("image", place)
        self.images += 1
        self.image_bytes += len(data)

    def count_sound(self, data: str, place: str) -> None:
        """Count sound in base64, which bounds it: a token of it has hundreds of bytes."""
        self.modalities.setdefault("audio", place)
        self.media_tokens += -(-len(data) // SOUND_BYTES_PER_TOKEN)

    def count_document(self, data: str | None, place: str) -> None:
        """Count a document in base64, or None for one that is only referred to."""
        self.modalities.setdefault("file", place)
        self._count_unbounded(data, DOCUMENT_BYTES_PER_TOKEN)

    def count_film(self, data: str | None, place: str) -> None:
        """Count a film in base64, or None for one that is only referred to."""
        self.modalities.setdefault("video", place)
        self._count_unbounded(data, FILM_BYTES_PER_TOKEN)

    def _count_unbounded(self, data: str | None, bytes_per_token: int) -> None:
        """Count what is packed, so that its bytes are no bound."""
        self.is_bounded = False
        self.media_tokens += -(-len(data) // bytes_per_token) if data else REFERRED_TOKENS

"""Content blocks of a Messages request, as far as we must know them."""

from typing import Any

from msgspec import Struct

Json = dict[str, Any]


class Source(Struct, gc=False):
    """Where an image or a document is: here, in base64 or as text, or elsewhere."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: str | list[Json] | None = None


class TextBlock(Struct, gc=False):
    """Text."""

    text: str
    cache_control: Json | None = None


class ImageBlock(Struct, gc=False):
    """An image. Never fetched by us."""

    source: Source
    cache_control: Json | None = None


class DocumentBlock(Struct, gc=False):
    """A document."""

    source: Source
    title: str | None = None
    cache_control: Json | None = None


class ThinkingBlock(Struct, gc=False):
    """Reasoning of an earlier answer, and what proves it."""

    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Struct, gc=False):
    """Reasoning that only its maker can read."""

    data: str


class ToolUseBlock(Struct, gc=False):
    """A call of a tool that the assistant asked for."""

    id: str
    name: str
    input: Json
    cache_control: Json | None = None


class ToolResultBlock(Struct, gc=False):
    """What a called tool answered."""

    tool_use_id: str
    content: str | list[Json] | None = None
    is_error: bool | None = None
    cache_control: Json | None = None


class SearchResultBlock(Struct, gc=False):
    """What the client's own search found."""

    title: str
    source: str
    content: list[TextBlock]


# What of a known kind must have; other kinds pass as they are to upstreams of the same dialect.
BLOCKS: dict[str, type[Struct]] = {
    "text": TextBlock,
    "image": ImageBlock,
    "document": DocumentBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
    "search_result": SearchResultBlock,
}


class Kind(Struct, gc=False):
    """What every block has."""

    type: str

"""Items, parts and tools of a Responses request, as far as we must know them."""

from typing import Any, Literal

from msgspec import Struct

Json = dict[str, Any]


class Kind(Struct, gc=False):
    """What every tool and every part of a message has."""

    type: str


class ItemKind(Struct, gc=False):
    """What every item has; without a type it is a message."""

    type: str = "message"


class FunctionTool(Struct, gc=False):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class CustomTool(Struct, gc=False):
    """A tool that takes free text, which `format` may bound."""

    name: str
    description: str | None = None
    format: Json | None = None


class NamespaceTool(Struct, gc=False):
    """Functions under one name."""

    name: str
    tools: list[Json]


class MessageItem(Struct, gc=False):
    """What one side says."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Json]


class FunctionCallItem(Struct, gc=False):
    """A call of a function; `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class CustomToolCallItem(Struct, gc=False):
    """A call of a custom tool."""

    call_id: str
    name: str
    input: str


class OutputItem(Struct, gc=False):
    """What a called tool answered."""

    call_id: str
    output: str | list[Json]


class SummaryPart(Struct, gc=False):
    """A piece of reasoning."""

    text: str | None = None


class ReasoningItem(Struct, gc=False):
    """Reasoning of an earlier answer."""

    id: str | None = None
    summary: list[SummaryPart] | None = None
    content: list[SummaryPart] | None = None
    encrypted_content: str | None = None


class TextPart(Struct, gc=False):
    """Text of a message."""

    text: str


class RefusalPart(Struct, gc=False):
    """What the assistant said instead of an answer."""

    refusal: str


class ImagePart(Struct, gc=False):
    """An image. Never fetched by us."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class FilePart(Struct, gc=False):
    """A document: its content, its address, or the upstream's id for it."""

    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None


class Sound(Struct, gc=False):
    """Sound, in base64."""

    data: str
    format: str


class AudioPart(Struct, gc=False):
    """Sound that the model hears."""

    input_audio: Sound


TOOLS: dict[str, type[Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "namespace": NamespaceTool,
}
# What an item of a known kind must have; others pass to upstreams of the same dialect.
ITEMS: dict[str, type[Struct]] = {
    "message": MessageItem,
    "function_call": FunctionCallItem,
    "function_call_output": OutputItem,
    "custom_tool_call": CustomToolCallItem,
    "custom_tool_call_output": OutputItem,
    "reasoning": ReasoningItem,
}
PARTS: dict[str, type[Struct]] = {
    "input_text": TextPart,
    "output_text": TextPart,
    "text": TextPart,
    "summary_text": TextPart,
    "refusal": RefusalPart,
    "input_image": ImagePart,
    "input_file": FilePart,
    "input_audio": AudioPart,
}

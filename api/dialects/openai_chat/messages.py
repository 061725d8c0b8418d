"""The messages of a chat completion's request, and what they are made up of."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class TextPart(Struct, tag_field="type", tag="text", gc=False):
    """Text."""

    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal", gc=False):
    """What the assistant said instead of an answer, sent back as history."""

    refusal: str


class ImageUrl(Struct, gc=False):
    """Where an image is: an address, or the image itself as a `data:` URL."""

    url: Annotated[str, Meta(min_length=1)]
    detail: str | None = None


class ImagePart(Struct, tag_field="type", tag="image_url", gc=False):
    """An image. Never fetched by us."""

    image_url: ImageUrl


class InputAudio(Struct, gc=False):
    """Sound, in base64."""

    data: str
    format: str


class AudioPart(Struct, tag_field="type", tag="input_audio", gc=False):
    """Sound that the model hears."""

    input_audio: InputAudio


class FilePart(Struct, tag_field="type", tag="file", gc=False):
    """A document: its content, or the upstream's id for it."""

    file: dict[str, Any]


class VideoPart(Struct, tag_field="type", tag="video_url", gc=False):
    """A film. Never fetched by us."""

    video_url: ImageUrl


Part = TextPart | ImagePart | AudioPart | FilePart | VideoPart | RefusalPart
Content = str | Annotated[list[Part], Meta(min_length=1)]
Text = str | Annotated[list[TextPart | RefusalPart], Meta(min_length=1)]


class CalledFunction(Struct, gc=False):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, gc=False):
    """A call that the assistant asked for."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class CalledTool(Struct, gc=False):
    """A tool's name and its input, which is a text."""

    name: str
    input: str


class EarlierToolCall(Struct, gc=False):
    """A call that the assistant asked for, sent back as history: a function's or a tool's.

    Some models leave the type empty.
    """

    id: str
    function: CalledFunction | None = None
    custom: CalledTool | None = None
    type: str | None = "function"


class SystemMessage(Struct, tag_field="role", tag="system", gc=False):
    """Instructions."""

    content: Content


class DeveloperMessage(Struct, tag_field="role", tag="developer", gc=False):
    """Instructions, by their newer name."""

    content: Content


class UserMessage(Struct, tag_field="role", tag="user", gc=False):
    """What the user says and shows."""

    content: Content


class AssistantMessage(Struct, tag_field="role", tag="assistant", gc=False):
    """An earlier answer: content, tool calls, a refusal, audio by its id, or what was thought."""

    content: Text | UnsetType | None = UNSET
    tool_calls: list[EarlierToolCall] | None = None
    function_call: CalledFunction | None = None
    refusal: str | None = None
    audio: Any = None
    reasoning: Any = None
    reasoning_content: Any = None

    @property
    def is_missing(self) -> bool:
        """Whether it has no member that could say anything."""
        return self.content is UNSET and not any(
            (
                self.tool_calls,
                self.function_call,
                self.refusal,
                self.audio,
                self.reasoning,
                self.reasoning_content,
            )
        )

    @property
    def is_tidy(self) -> bool:
        """Whether every upstream takes it as it is."""
        calls = self.tool_calls
        if calls is not None:
            return bool(calls) and all(call.type in {"function", "custom"} for call in calls)
        return bool(self.content) or self.function_call is not None or self.audio is not None


class ToolMessage(Struct, tag_field="role", tag="tool", gc=False):
    """What a called tool answered."""

    tool_call_id: str
    content: Content


class FunctionMessage(Struct, tag_field="role", tag="function", gc=False):
    """What a called function answered, by OpenAI's older way."""

    name: str
    content: str | None


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)

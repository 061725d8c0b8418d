"""A chat completion's body: typed structs, and errors that name the place of a mistake.

A body is decoded once into a dict, whose fields go upstream as far as the dialect lets them;
`parse_chat` reads from it what we must know and refuses what has the wrong type. The structs are
OpenAI's, widened where the documented services accept more.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.base import ParsedRequest
from api.dialects.fields import billed_parameters, names_of
from api.dialects.openai_chat.messages import (
    AssistantMessage,
    AudioPart,
    EarlierToolCall,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    VideoPart,
)
from api.dialects.prompt import PromptSize
from api.json_schema import check_schema
from api.phrases import Phrase
from api.validation_errors import explained

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
Count = Annotated[int, Meta(ge=1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Function(Struct, gc=False):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, gc=False):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function


class NamedFunction(Struct, gc=False):
    """The name of one of the request's functions."""

    name: str


class NamedTool(Struct, tag_field="type", tag="function", gc=False):
    """The choice of one tool."""

    function: NamedFunction


class ToolSubset(Struct, gc=False):
    """Some of the request's tools, by their types and names."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class AllowedTools(Struct, tag_field="type", tag="allowed_tools", gc=False):
    """The choice among some of the tools."""

    allowed_tools: ToolSubset


class StreamOptions(Struct, gc=False):
    """Options of a stream."""

    include_usage: bool | None = None


class TextFormat(Struct, tag_field="type", tag="text", gc=False):
    """Any text."""


class JsonObjectFormat(Struct, tag_field="type", tag="json_object", gc=False):
    """Some JSON object."""


class JsonSchema(Struct, gc=False):
    """A schema that the answer is to match."""

    name: FunctionName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema", gc=False):
    """JSON that matches a schema."""

    json_schema: JsonSchema


class Thinking(Struct, gc=False):
    """Whether the model is to reason first (Z.AI)."""

    type: Literal["enabled", "disabled"]


class Plugin(Struct, gc=False):
    """Something that the upstream is to add, such as a web search."""

    id: str


class GenerationRequest(Struct, kw_only=True, gc=False):
    """The parameters that every request for text has, as far as we must know them."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Int64 | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, float] | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None

    @property
    def named_max_tokens(self) -> int | None:
        """The output limit that the client names."""
        return self.max_tokens


class ChatRequest(GenerationRequest, kw_only=True, gc=False):
    """A chat completion's parameters, as far as we must know them."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: str | NamedTool | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    thinking: Thinking | None = None
    plugins: list[Plugin] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def named_max_tokens(self) -> int | None:
        """The output limit that the client names, by either of its two names."""
        named = self.max_completion_tokens
        if named is None or self.max_tokens is None:
            return self.max_tokens if named is None else named
        return min(named, self.max_tokens)


KNOWN_FIELDS = names_of(ChatRequest)

# What the model reads besides the messages.
_PROMPT_FIELDS = ("tools", "functions", "response_format")


def parse_chat(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a chat completion's request.

    Raise one of the 400 errors of `api.errors`, with the place in `param`.
    """
    try:
        chat = msgspec.convert(fields, ChatRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    if chat.tool_choice is not None:
        _check_tool_choice(chat)
    check_stream_options(chat)
    if type(chat.response_format) is JsonSchemaFormat:
        check_schema(chat.response_format.json_schema.schema, "response_format.json_schema.schema")
    walk = _PromptWalk(messages=len(chat.messages))
    for index, message in enumerate(chat.messages):
        walk.count(message, index)
    for name in _PROMPT_FIELDS:
        if name in fields:
            walk.count_json(fields[name])
    for index in walk.untidy:
        _tidy(fields["messages"][index])
    options = chat.stream_options
    return ParsedRequest(
        model=chat.model,
        fields=fields,
        size_bytes=size_bytes,
        used=_used_parameters(chat, fields),
        billed=billed_parameters(fields, KNOWN_FIELDS),
        prompt=walk,
        modalities=tuple(walk.modalities.items()),
        max_tokens=chat.named_max_tokens,
        choices=chat.n or 1,
        is_streamed=bool(chat.stream),
        wants_usage=options is not None and bool(options.include_usage),
        end_user=chat.user or "",
        typed=chat,
    )


class _PromptWalk(PromptSize, gc=False):
    """One walk over a conversation: its size, and which of its messages must be tidied."""

    untidy: list[int] = []

    def count(self, message: Message, index: int) -> None:
        """Count a message. Raise MissingParameterError for an assistant's that says nothing."""
        content = message.content
        if isinstance(content, str):
            self.text_bytes += len(content) if content.isascii() else len(content.encode())
        elif isinstance(content, list):
            for number, part in enumerate(content):
                self._count_part(part, f"messages[{index}].content[{number}]")
        if isinstance(message, AssistantMessage):
            self._count_answer(message, index)

    def _count_answer(self, message: AssistantMessage, index: int) -> None:
        if message.is_missing:
            place = f"messages[{index}].content"
            raise errors.MissingParameterError.about(place, param=place)
        if not message.is_tidy:
            self.untidy.append(index)
        self.count_text(message.refusal or "")
        if called := message.function_call:
            self.count_text(called.name + called.arguments)
        if calls := message.tool_calls:
            # Models read what was thought before they called tools, and no other reasoning.
            thought = message.reasoning_content or message.reasoning
            self.count_text(thought if isinstance(thought, str) else "")
            for number, call in enumerate(calls):
                self._count_call(call, f"messages[{index}].tool_calls[{number}].function")

    def _count_call(self, call: EarlierToolCall, place: str) -> None:
        self.count_text(call.id)
        if call.function is not None:
            self.count_text(call.function.name + call.function.arguments)
        elif call.custom is not None:
            self.count_text(call.custom.name + call.custom.input)
        else:
            raise errors.MissingParameterError.about(place, param=place)

    def _count_part(self, part: Part, place: str) -> None:
        match part:
            case TextPart(text) | RefusalPart(text):
                self.count_text(text)
            case ImagePart(image):
                self.count_image(image.url if image.url.startswith("data:") else "", place)
            case AudioPart(sound):
                self.count_sound(sound.data, place)
            case FilePart(file):
                data = file.get("file_data")
                self.count_document(data if isinstance(data, str) else None, place)
            case VideoPart(film):
                self.count_film(film.url if film.url.startswith("data:") else None, place)


def _tidy(message: dict[str, Any]) -> None:
    """Bring an earlier answer, as we or others gave it, into the form that every upstream takes.

    That is a text where there is nothing else, no empty list of calls, and calls with a type.
    """
    calls = message.get("tool_calls")
    for call in calls or ():
        call["type"] = "custom" if call.get("function") is None else "function"
    if not calls:
        message.pop("tool_calls", None)
        if not message.get("content") and not message.get("function_call"):
            message["content"] = message.get("refusal") or ""


def _used_parameters(chat: ChatRequest, fields: dict[str, Any]) -> set[str]:
    """Return the parameters in use, with the variants of those that have them."""
    used = {field for field, value in fields.items() if value is not None}
    if chat.response_format is not None:
        used.add(f"response_format.{chat.response_format.__struct_config__.tag}")
    for plugin in chat.plugins or ():
        used.add(f"plugins.{plugin.id}")
    if chat.thinking is not None:
        used.add(f"thinking.{chat.thinking.type}")
    return used


def check_stream_options(request: GenerationRequest) -> None:
    """Refuse options of a stream where none is asked for. Raise InvalidValueError."""
    if request.stream_options is not None and not request.stream:
        raise errors.InvalidValueError(
            Phrase("'stream_options' is only allowed when 'stream' is true."),
            param="stream_options",
        )


def _check_tool_choice(chat: ChatRequest) -> None:
    """Refuse a choice among tools that aren't there."""
    choice = chat.tool_choice
    if isinstance(choice, str):
        if choice not in {"none", "auto", "required"}:
            raise errors.InvalidValueError(
                Phrase(
                    "Invalid value: {choice}. Supported values are: 'none', 'auto', "
                    "'required', or an object naming a function.",
                    choice=repr(errors.quoted(choice)),
                ),
                param="tool_choice",
            )
        if choice == "required" and not chat.tools:
            raise errors.InvalidValueError(
                Phrase("'tool_choice' is only allowed when 'tools' are given."),
                param="tool_choice",
            )
    elif isinstance(choice, AllowedTools):
        if not chat.tools:
            raise errors.InvalidValueError(
                Phrase("'tool_choice' is only allowed when 'tools' are given."),
                param="tool_choice",
            )
    elif choice is not None and not any(
        tool.function.name == choice.function.name for tool in chat.tools or ()
    ):
        raise errors.InvalidValueError(
            Phrase(
                "Tool choice {name} is not among 'tools'.",
                name=repr(errors.quoted(choice.function.name)),
            ),
            param="tool_choice.function.name",
        )

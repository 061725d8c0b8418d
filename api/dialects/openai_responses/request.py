"""The body of a Responses request: typed structs, and errors that name the place of a mistake.

The API is stateless here: `store: true` is answered with `store: false`, and what would need a
stored response is refused. Fields and items that we don't know pass to upstreams of the same
dialect, but for those that choose another bill there.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.base import ParsedRequest, named
from api.dialects.openai_responses.items import (
    ITEMS,
    PARTS,
    TOOLS,
    AudioPart,
    CustomToolCallItem,
    FilePart,
    FunctionCallItem,
    FunctionTool,
    ImagePart,
    ItemKind,
    Kind,
    MessageItem,
    NamespaceTool,
    OutputItem,
    ReasoningItem,
    RefusalPart,
    TextPart,
)
from api.dialects.prompt import PromptSize
from api.dialects.signatures import untagged_signature
from api.json_schema import check_schema
from api.phrases import Phrase
from api.validation_errors import checked, explained

Json = dict[str, Any]

# Tools that the provider runs itself and bills by the use. Codex names the first kind in every
# request and ends its session over a refusal, so that it is left out; the others are refused.
IGNORED_TOOLS = ("web_search",)
CLIENT_TOOLS = ("function", "custom", "namespace", "local_shell", "shell", "apply_patch")
# Fields that choose another bill, or another place for the answer, at the provider: not sent as the
# client says them. A service tier that has a price is put back.
UNPRICED_FIELDS = ("service_tier", "background", "store", "previous_response_id", "stream_options")


class Reasoning(Struct, gc=False):
    """How much the model is to reason, and whether to tell a summary of it."""

    effort: str | None = None
    summary: str | None = None


class OutputForm(Struct, gc=False):
    """The form of the answer's text."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: Json | None = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(Struct, gc=False):
    """The form of the answer's text, and how much of it there is to be."""

    format: OutputForm | None = None
    verbosity: str | None = None


class ToolChoice(Struct, gc=False):
    """The choice of one tool, or of some that are allowed."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required", "none"] | None = None
    tools: list[Json] | None = None


class ResponsesRequest(Struct, kw_only=True, gc=False):
    """The parameters of a Responses request, as far as we must know them."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: str | Annotated[list[Json], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    tools: list[Json] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None


def parse_responses(fields: Json, size_bytes: int) -> ParsedRequest:
    """Return a Responses request. Raise one of the 400 errors of `api.errors` with its place."""
    try:
        request = msgspec.convert(fields, ResponsesRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    _check_stateless(request, fields)
    for index, tool in enumerate(request.tools or ()):
        _check_tool(tool, f"tools[{index}]")
    if request.text is not None and request.text.format is not None:
        _check_form(request.text.format)
    if request.tool_choice is not None:
        _check_tool_choice(request.tool_choice)
    walk = _PromptWalk(messages=1 if isinstance(request.input, str) else len(request.input))
    walk.count_input(request.input)
    walk.count_text(request.instructions or "")
    walk.count_json(request.tools)
    if request.text is not None:
        walk.count_json(request.text.format)
    used = named(fields)
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=used,
        prompt=walk,
        modalities=tuple(walk.modalities.items()),
        max_tokens=request.max_output_tokens,
        is_streamed=bool(request.stream),
        wants_usage=True,
        end_user=request.safety_identifier or request.user or "",
        typed=request,
    )


def _check_stateless(request: ResponsesRequest, fields: Json) -> None:
    """Refuse what needs a response that we would have kept."""
    if request.previous_response_id is not None:
        raise errors.UnsupportedParameterError(
            Phrase(
                "Responses are not stored here, so 'previous_response_id' refers to none. "
                "Send the whole conversation in 'input'."
            ),
            param="previous_response_id",
        )
    if request.background:
        raise errors.UnsupportedParameterError(
            Phrase(
                "'background' is not supported here, as responses are not stored. Leave it "
                "out, or set it to false."
            ),
            param="background",
        )
    for name in ("conversation", "prompt"):
        if fields.get(name) is not None:
            raise errors.UnsupportedParameterError(
                Phrase(
                    "'{name}' refers to what is stored elsewhere. Send the conversation in "
                    "'input'.",
                    name=name,
                ),
                param=name,
            )


def _check_tool(tool: Json, place: str) -> None:
    kind = checked(tool, Kind, place).type
    if kind.startswith(IGNORED_TOOLS):
        return
    if kind not in CLIENT_TOOLS:
        raise errors.UnsupportedParameterError(
            Phrase(
                "The provider's own tool '{kind}' isn't available here. Leave it out, or "
                "define a function of your own.",
                kind=errors.quoted(kind),
            ),
            param=f"{place}.type",
        )
    struct = TOOLS.get(kind)
    typed = checked(tool, struct, place) if struct is not None else None
    if isinstance(typed, NamespaceTool):
        for index, member in enumerate(typed.tools):
            checked(member, FunctionTool, f"{place}.tools[{index}]")


def _check_tool_choice(choice: str | ToolChoice) -> None:
    if isinstance(choice, str):
        if choice not in {"none", "auto", "required"}:
            raise errors.InvalidValueError(
                Phrase(
                    "Invalid value: '{choice}'. Supported values are: 'none', 'auto', "
                    "'required', or an object naming a tool.",
                    choice=errors.quoted(choice),
                ),
                param="tool_choice",
            )
    elif choice.type in {"function", "custom"} and choice.name is None:
        raise errors.MissingParameterError.about("tool_choice.name", param="tool_choice.name")


def _check_form(form: OutputForm) -> None:
    if form.type == "json_schema":
        if form.schema is None:
            raise errors.MissingParameterError.about(
                "text.format.schema", param="text.format.schema"
            )
        check_schema(form.schema, "text.format.schema")


class _PromptWalk(PromptSize, gc=False):
    """One walk over the input: its size, and what kinds of input it has."""

    def count_input(self, given: str | list[Json]) -> None:
        """Count the input. Raise an error of `api.errors` for an item that is not well-formed."""
        if isinstance(given, str):
            self.count_text(given)
            return
        for index, item in enumerate(given):
            self._count_item(item, f"input[{index}]")

    def _count_item(self, item: Json, place: str) -> None:
        kind = checked(item, ItemKind, place).type
        if kind == "item_reference":
            raise errors.UnsupportedParameterError(
                Phrase(
                    "Responses are not stored here, so an item can't be referred to. Send the "
                    "item itself."
                ),
                param=place,
            )
        struct = ITEMS.get(kind)
        match checked(item, struct, place) if struct is not None else None:
            case MessageItem(content=content):
                self._count_content(content, f"{place}.content")
            case FunctionCallItem(_, name, arguments):
                self.count_text(name + arguments)
            case CustomToolCallItem(_, name, given):
                self.count_text(name + given)
            case OutputItem(_, output):
                self._count_content(output, f"{place}.output")
            case ReasoningItem(summary=summary, content=content):
                for part in (*(summary or ()), *(content or ())):
                    self.count_text(part.text or "")
            case _:
                # What we don't know, upstreams may.
                self.count_json(item)

    def _count_content(self, content: str | list[Json], place: str) -> None:
        if isinstance(content, str):
            self.count_text(content)
            return
        for index, part in enumerate(content):
            self._count_part(part, f"{place}[{index}]")

    def _count_part(self, part: Json, place: str) -> None:
        kind = checked(part, Kind, place).type
        if kind not in PARTS:
            raise errors.InvalidValueError(
                Phrase(
                    "Invalid value: '{kind}'. Supported values are: 'input_text', "
                    "'input_image', 'input_file', 'output_text', 'refusal'.",
                    kind=errors.quoted(kind),
                ),
                param=f"{place}.type",
            )
        match checked(part, PARTS[kind], place):
            case TextPart(text) | RefusalPart(text):
                self.count_text(text)
            case ImagePart(url):
                self.count_image(url if url is not None and url.startswith("data:") else "", place)
            case FilePart(file_data=data):
                self.count_document(data, place)
            case AudioPart(sound):
                self.count_sound(sound.data, place)


def upstream_fields(fields: Json) -> Json:
    """Return the fields for an upstream of the same dialect.

    Without what would change the provider's bill, and without reasoning that another provider made
    or that nothing proves: it would be looked for among stored responses.
    """
    sent = {name: value for name, value in fields.items() if name not in UNPRICED_FIELDS}
    sent["store"] = False
    if tools := fields.get("tools"):
        sent["tools"] = [tool for tool in tools if not tool["type"].startswith(IGNORED_TOOLS)]
    if isinstance(fields["input"], list):
        sent["input"] = [item for item in fields["input"] if not _is_foreign(item)]
    return sent


def _is_foreign(item: Json) -> bool:
    if item.get("type") != "reasoning":
        return False
    encrypted = item.get("encrypted_content")
    return not encrypted or untagged_signature(str(encrypted), "openai")[1] != "openai"

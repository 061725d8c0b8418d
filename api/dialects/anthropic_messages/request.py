"""The body of a Messages request: typed structs, and errors that name the place of a mistake.

Fields, headers and content blocks that we don't know are let through to upstreams of the same
dialect (Claude Code's gateway contract: never refuse for what is new). What could change the
upstream's bill and has no price here is not.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.anthropic_messages.blocks import (
    BLOCKS,
    DocumentBlock,
    ImageBlock,
    Kind,
    SearchResultBlock,
    Source,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from api.dialects.base import ParsedRequest, named
from api.dialects.prompt import PromptSize
from api.dialects.signatures import untagged_signature
from api.json_schema import check_schema
from api.phrases import Phrase
from api.validation_errors import checked, explained

Json = dict[str, Any]

# Tools that the provider runs itself, and bills by the use.
PROVIDER_TOOLS = ("web_search", "web_fetch", "code_execution", "tool_search", "mcp_toolset")
# Fields that choose another bill at the provider: never sent.
UNPRICED_FIELDS = ("service_tier", "speed", "inference_geo", "container", "mcp_servers")
# What the model reads besides the system prompt and the messages.
_PROMPT_FIELDS = ("tools", "output_config", "output_format")
# Claude Code's note about its build, for its maker and not for the model.
ATTRIBUTION = "x-anthropic-billing-header:"


class Message(Struct, gc=False):
    """What one side says: a text, or content blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Json]


class Tool(Struct, gc=False):
    """A tool that the model may call; `input_schema` is a JSON schema."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    type: str | None = None
    description: str | None = None
    input_schema: Json | None = None
    strict: bool | None = None
    cache_control: Json | None = None


class ToolChoice(Struct, gc=False):
    """Whether tools are called: `auto`, `any`, `none`, or the `tool` of a name."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, gc=False):
    """Whether the model reasons first, and with how many tokens at most."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None


class Metadata(Struct, gc=False):
    """What is kept with the usage."""

    user_id: str | None = None


class OutputForm(Struct, gc=False):
    """The form of the answer: `json_schema` with a schema."""

    type: str
    schema: Json | None = None


class OutputConfig(Struct, gc=False):
    """How much the model reasons, and the form of its answer."""

    effort: str | None = None
    format: OutputForm | None = None


class PromptRequest(Struct, kw_only=True, gc=False):
    """What a request for a message and a count of its tokens share."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    system: str | list[Json] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None


class CountRequest(PromptRequest, kw_only=True, gc=False):
    """The parameters of a count of tokens."""


class MessagesRequest(PromptRequest, kw_only=True, gc=False):
    """The parameters of a Messages request, as far as we must know them."""

    max_tokens: Annotated[int, Meta(ge=1)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: OutputForm | None = None


def parse_messages(fields: Json, size_bytes: int) -> ParsedRequest:
    """Return a Messages request. Raise one of the 400 errors of `api.errors` with its place."""
    return _parse(fields, size_bytes, MessagesRequest)


def parse_count(fields: Json, size_bytes: int) -> ParsedRequest:
    """Return a request for a count of tokens. Raise like `parse_messages`."""
    return _parse(fields, size_bytes, CountRequest)


def _parse(fields: Json, size_bytes: int, kind: type[PromptRequest]) -> ParsedRequest:
    try:
        typed = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    _check_tools(typed)
    if isinstance(typed, MessagesRequest):
        _check_output_form(typed)
    walk = _PromptWalk(messages=len(typed.messages))
    for name in _PROMPT_FIELDS:
        if name in fields:
            walk.count_json(fields[name])
    walk.count_blocks(typed.system, "system")
    for index, message in enumerate(typed.messages):
        walk.count_blocks(message.content, f"messages[{index}].content")
    used = named(fields)
    if "thinking" in used and typed.thinking is not None:
        used.add(f"thinking.{typed.thinking.type}")
    metadata = typed.metadata if isinstance(typed, MessagesRequest) else None
    return ParsedRequest(
        model=typed.model,
        fields=fields,
        size_bytes=size_bytes,
        used=used,
        prompt=walk,
        modalities=tuple(walk.modalities.items()),
        max_tokens=typed.max_tokens if isinstance(typed, MessagesRequest) else None,
        # Every request must name a limit, so naming one is no wish to have so much.
        is_limit_a_ceiling=True,
        is_streamed=isinstance(typed, MessagesRequest) and bool(typed.stream),
        wants_usage=True,
        end_user=(metadata.user_id or "") if metadata is not None else "",
        typed=typed,
    )


class _PromptWalk(PromptSize, gc=False):
    """One walk over the prompt: its size, and what kinds of input it has."""

    def count_blocks(self, content: str | list[Json] | None, place: str) -> None:
        """Count a text or content blocks. Raise an error for a block that is not well-formed."""
        if isinstance(content, str):
            self.count_text(content)
        elif content is not None:
            for index, block in enumerate(content):
                self._count_block(block, f"{place}[{index}]")

    def _count_block(self, block: Json, place: str) -> None:
        struct = BLOCKS.get(checked(block, Kind, place).type)
        match checked(block, struct, place) if struct is not None else None:
            case TextBlock(text):
                self.count_text(text)
            case ImageBlock(source):
                self.count_image(_source_data(source, place), place)
            case DocumentBlock(source, title):
                self.count_text(title or "")
                self._count_document(source, place)
            case ThinkingBlock(thinking):
                self.count_text(thinking)
            case ToolUseBlock(_, name, given):
                self.count_text(name)
                self.count_json(given)
            case ToolResultBlock(content=content):
                self.count_blocks(content, f"{place}.content")
            case SearchResultBlock(title, source, parts):
                self.count_text(title + source + "".join(part.text for part in parts))
            case _:
                # What we don't know, upstreams may.
                self.count_json(block)

    def _count_document(self, source: Source, place: str) -> None:
        match source.type:
            case "text":
                self.count_text(_source_data(source, place))
            case "content":
                self.count_blocks(source.content, f"{place}.source.content")
            case _:
                self.count_document(_source_data(source, place) or None, place)


def _source_data(source: Source, place: str) -> str:
    """Return what a source brings along. Raise MissingParameterError if it lacks what it names."""
    name = "url" if source.type == "url" else "data"
    if source.type in {"url", "base64", "text"} and getattr(source, name) is None:
        missing = f"{place}.source.{name}"
        raise errors.MissingParameterError.about(missing, param=missing)
    return source.data or ""


def _check_tools(request: PromptRequest) -> None:
    """Refuse tools that the provider would run, and a choice among tools that aren't there."""
    for index, tool in enumerate(request.tools or ()):
        place = f"tools[{index}]"
        if tool.type not in {None, "custom"}:
            if str(tool.type).startswith(PROVIDER_TOOLS):
                raise errors.UnsupportedParameterError(
                    Phrase(
                        "The provider's own tool '{type}' isn't available here. Leave it out, or "
                        "define a tool of your own.",
                        type=errors.quoted(str(tool.type)),
                    ),
                    param=f"{place}.type",
                )
        elif tool.input_schema is None:
            raise errors.MissingParameterError.about(
                f"{place}.input_schema", param=f"{place}.input_schema"
            )
    choice = request.tool_choice
    if (
        choice is not None
        and choice.type == "tool"
        and not any(tool.name == choice.name for tool in request.tools or ())
    ):
        raise errors.InvalidValueError(
            Phrase(
                "Tool choice {name} is not among 'tools'.",
                name=repr(errors.quoted(choice.name or "")),
            ),
            param="tool_choice.name",
        )


def _check_output_form(request: MessagesRequest) -> None:
    config = request.output_config
    for place, form in (
        ("output_config.format", config.format if config is not None else None),
        ("output_format", request.output_format),
    ):
        if form is not None and form.type == "json_schema":
            if form.schema is None:
                raise errors.MissingParameterError.about(f"{place}.schema", param=f"{place}.schema")
            check_schema(form.schema, f"{place}.schema")


def upstream_fields(fields: Json) -> Json:
    """Return the fields for an upstream of the same dialect.

    Without what would change the provider's bill, and without reasoning that another provider made:
    its signature would be refused.
    """
    sent = {name: value for name, value in fields.items() if name not in UNPRICED_FIELDS}
    messages: list[Json] = fields["messages"]
    if any(_is_foreign(block) for message in messages for block in _blocks(message)):
        kept = [_without_foreign_reasoning(message) for message in messages]
        sent["messages"] = [message for message in kept if message["content"]]
    return sent


def _blocks(message: Json) -> Iterable[Json]:
    content = message["content"]
    return content if isinstance(content, list) else ()


def _is_foreign(block: Json) -> bool:
    """Return whether a block is reasoning that Anthropic's models did not sign."""
    if block.get("type") == "thinking":
        signature = block.get("signature")
        return not signature or untagged_signature(str(signature), "anthropic")[1] != "anthropic"
    if block.get("type") == "redacted_thinking":
        return untagged_signature(str(block.get("data") or ""), "anthropic")[1] != "anthropic"
    return False


def _without_foreign_reasoning(message: Json) -> Json:
    if not isinstance(message["content"], list):
        return message
    kept = [block for block in message["content"] if not _is_foreign(block)]
    return {**message, "content": kept}


def without_attribution(system: Any) -> Any:
    """Return a system prompt without Claude Code's note about its build.

    It differs from call to call and would spoil other providers' prompt caches.
    """
    if not isinstance(system, list):
        return system
    return [block for block in system if not str(block.get("text", "")).startswith(ATTRIBUTION)]

"""The typed middle between two dialects: what a request asks for, and what an answer is made of.

Only requests whose client and upstream speak different dialects are taken apart into these types;
see `bridge`. A dialect reads its own request into a `Conversation` and writes its upstream's body
from one; it reads its own answer, whole or streamed, into `Event`s and writes its client's answer
from them. What each pair keeps, changes and can't say is in `platform/docs/dialects.md`.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from api import errors
from api.dialects.signatures import Maker
from api.phrases import Phrase

Role = Literal["system", "developer", "user", "assistant"]
ToolKind = Literal["function", "custom"]

FinishReason = Literal[
    "stop",
    "stop_sequence",
    "length",
    "context_length",
    "tool_calls",
    "content_filter",
    "pause",
]

_decode = msgspec.json.Decoder().decode

# The one parameter of a function that stands for a tool of free text.
CUSTOM_TOOL_INPUT = "input"
# Efforts by the tokens that a budget gives at most.
_BUDGETS = ((2_048, "low"), (12_000, "medium"))


class Text(Struct, frozen=True, gc=False):
    """Text. `cache_control` is Anthropic's mark of what is worth caching."""

    text: str
    cache_control: dict[str, Any] | None = None


class Image(Struct, frozen=True, gc=False):
    """An image: an address, or base64 `data` of a media type."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    file_id: str = ""
    detail: str | None = None
    cache_control: dict[str, Any] | None = None


class Document(Struct, frozen=True, gc=False):
    """A document: an address, an upstream's id, base64 `data` of a media type, or plain text."""

    url: str = ""
    file_id: str = ""
    media_type: str = ""
    data: str = ""
    text: str = ""
    name: str = ""
    cache_control: dict[str, Any] | None = None


class Audio(Struct, frozen=True, gc=False):
    """Sound in base64; `format` is `wav`, `mp3` or the like."""

    data: str
    format: str


class Refusal(Struct, frozen=True, gc=False):
    """What the assistant said instead of an answer."""

    text: str


class Reasoning(Struct, frozen=True, gc=False):
    """Reasoning of an earlier answer.

    `signature` proves it to its `maker`, or holds it encrypted; `is_redacted` says that nothing but
    the signature may be read. `item_id` is the maker's name for it.
    """

    text: str = ""
    signature: str = ""
    maker: Maker = ""
    is_redacted: bool = False
    item_id: str = ""


class ToolCall(Struct, frozen=True, gc=False):
    """A call of a tool: `arguments` is JSON text, or free text for a custom tool."""

    id: str
    name: str
    arguments: str
    kind: ToolKind = "function"
    namespace: str = ""
    cache_control: dict[str, Any] | None = None


class ToolResult(Struct, frozen=True, gc=False):
    """What a called tool answered."""

    call_id: str
    content: tuple["Text | Image | Document", ...]
    is_error: bool = False
    kind: ToolKind = "function"
    cache_control: dict[str, Any] | None = None


Block = Text | Image | Document | Audio | Refusal | Reasoning | ToolCall | ToolResult


class Turn(Struct, frozen=True, gc=False):
    """What one side says at a time. `place` is where the request says it, for errors."""

    role: Role
    blocks: tuple[Block, ...]
    place: str = ""


class Tool(Struct, frozen=True, gc=False):
    """A tool that the model may call. `parameters` is a JSON schema.

    A custom tool takes free text, which `format` may bound. `namespace` groups functions in the
    client's dialect only.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    is_strict: bool | None = None
    kind: ToolKind = "function"
    format: dict[str, Any] | None = None
    namespace: str = ""
    cache_control: dict[str, Any] | None = None


class ToolChoice(Struct, frozen=True, gc=False):
    """Whether tools are called; `names` are the only ones allowed, if any are named."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


class OutputFormat(Struct, frozen=True, gc=False):
    """The form of the answer: some JSON object, or JSON that matches a schema."""

    kind: Literal["json_object", "json_schema"]
    name: str = "answer"
    schema: dict[str, Any] | None = None
    description: str | None = None
    is_strict: bool | None = None


class Conversation(Struct, kw_only=True, gc=False):
    """A request for the next turn of a conversation.

    `effort` is how much the model is to reason (`none` switches it off), `reasoning_budget` the
    same in tokens. `only_here` are parameters that change the answer and that no other dialect can
    say, by name, with their values; an upstream of another dialect refuses them.
    """

    turns: list[Turn]
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output_format: OutputFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = []
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    effort: str | None = None
    reasoning_budget: int | None = None
    wants_reasoning_summary: bool = False
    end_user: str = ""
    cache_key: str = ""
    verbosity: str | None = None
    is_streamed: bool = False
    only_here: dict[str, Any] = {}


class TextDelta(Struct, frozen=True, gc=False):
    """More of the answer's text."""

    text: str


class RefusalDelta(Struct, frozen=True, gc=False):
    """More of a refusal's text."""

    text: str


class ReasoningDelta(Struct, frozen=True, gc=False):
    """More reasoning."""

    text: str


class ReasoningSigned(Struct, frozen=True, gc=False):
    """The end of a piece of reasoning, with its maker's signature, if there is one."""

    signature: str = ""
    maker: Maker = ""
    is_redacted: bool = False
    item_id: str = ""


class ToolCallStarted(Struct, frozen=True, gc=False):
    """A tool is being called. `index` tells the calls of an answer apart."""

    index: int
    id: str
    name: str
    kind: ToolKind = "function"
    namespace: str = ""


class ToolCallDelta(Struct, frozen=True, gc=False):
    """More of a call's arguments."""

    index: int
    arguments: str


class ToolCallEnded(Struct, frozen=True, gc=False):
    """A call is complete: no more of its arguments will come."""

    index: int


class Finished(Struct, frozen=True, gc=False):
    """The end of the answer."""

    reason: FinishReason
    stop_sequence: str | None = None


Event = (
    TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningSigned
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallEnded
    | Finished
)


class Reply(Struct, gc=False):
    """An answer put together: its blocks in order, and why it ended."""

    blocks: list[Block]
    reason: FinishReason = "stop"
    stop_sequence: str | None = None


def put_together(events: Iterable[Event]) -> Reply:
    """Return the answer that events make."""
    reply = Reply([])
    blocks = reply.blocks
    calls: dict[int, int] = {}
    is_signed = True
    for event in events:
        match event:
            case TextDelta(text):
                _extend(blocks, Text, text)
            case RefusalDelta(text):
                _extend(blocks, Refusal, text)
            case ReasoningDelta(text):
                last = blocks[-1] if blocks and not is_signed else None
                if isinstance(last, Reasoning):
                    blocks[-1] = Reasoning(last.text + text)
                else:
                    blocks.append(Reasoning(text))
                is_signed = False
            case ReasoningSigned(signature, maker, is_redacted, item_id):
                last = blocks[-1] if blocks and not is_signed else None
                text = last.text if isinstance(last, Reasoning) else ""
                if isinstance(last, Reasoning):
                    blocks.pop()
                blocks.append(Reasoning(text, signature, maker, is_redacted, item_id))
                is_signed = True
            case ToolCallStarted(index, call_id, name, kind, namespace):
                calls[index] = len(blocks)
                blocks.append(ToolCall(call_id, name, "", kind, namespace))
            case ToolCallDelta(index, arguments):
                place = calls[index]
                call = blocks[place]
                assert isinstance(call, ToolCall)  # noqa: S101 - the index is a call's
                blocks[place] = replace(call, arguments=call.arguments + arguments)
            case Finished(reason, stop_sequence):
                reply.reason, reply.stop_sequence = reason, stop_sequence
            case ToolCallEnded():
                pass
    return reply


def _extend(blocks: list[Block], kind: type[Text | Refusal], text: str) -> None:
    """Add text to the last block if it is of the kind, else in a new one."""
    last = blocks[-1] if blocks else None
    if isinstance(last, (Text, Refusal)) and type(last) is kind:
        blocks[-1] = kind(last.text + text)
    else:
        blocks.append(kind(text))


def unsayable(place: str, what: str) -> errors.UnsupportedParameterError:
    """Return the error that the model's provider has no words for a part of a request.

    `what` is that part as the subject of a sentence.
    """
    return errors.UnsupportedParameterError(
        Phrase(
            "{what} is not supported by this model's provider. Leave it out or use another model.",
            what=what,
        ),
        param=place,
    )


def object_of(arguments: str) -> dict[str, Any]:
    """Return a call's arguments as an object; a text that is none goes into one, as it is."""
    try:
        decoded = _decode(arguments or "{}")
    except msgspec.DecodeError:
        decoded = None
    return decoded if isinstance(decoded, dict) else {"arguments": arguments}


def custom_tool_schema(tool: Tool) -> tuple[dict[str, Any], str]:
    """Return the parameters and the description of the function that stands for a custom tool."""
    grammar = tool.format or {}
    hint = "The whole input of the tool, as free text."
    if grammar.get("type") == "grammar" and isinstance(grammar.get("definition"), str):
        hint += f" It matches this {grammar.get('syntax', '')} grammar:\n{grammar['definition']}"
    schema = {
        "type": "object",
        "properties": {CUSTOM_TOOL_INPUT: {"type": "string", "description": hint}},
        "required": [CUSTOM_TOOL_INPUT],
        "additionalProperties": False,
    }
    return schema, tool.description or ""


def effort_of(conversation: Conversation) -> str | None:
    """Return how much to reason, in words, from words or from a budget in tokens."""
    budget = conversation.reasoning_budget
    if conversation.effort is not None or budget is None:
        return conversation.effort
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return the media type and the base64 data of a `data:` URL (RFC 2397), or None."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.rpartition(";")
    if not comma or encoding.strip().lower() != "base64":
        return None
    return media_type.partition(";")[0].strip().lower() or "text/plain", data


def alternated(turns: Iterable[Turn]) -> list[Turn]:
    """Return the turns with neighbours of one role made into one."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, merged[-1].blocks + turn.blocks, merged[-1].place)
        else:
            merged.append(turn)
    return merged


def text_of(blocks: Iterable[Block]) -> str:
    """Return the text of blocks, one after the other, with an empty line between them."""
    texts = [block.text for block in blocks if isinstance(block, (Text, Refusal))]
    return "\n\n".join(text for text in texts if text)

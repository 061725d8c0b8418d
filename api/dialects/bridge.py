"""The bridge between two dialects: a client of one, an upstream of the other.

The upstream's answer is read by its own dialect's reader, which proves and meters it as for a
client of the same dialect; what the reader lets pass becomes events of the typed middle, and those
become the client's bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import (
    Answer,
    AnswerAssembler,
    AnswerContext,
    Dialect,
    DialectError,
    ParsedRequest,
    StreamFailure,
    StreamReader,
    Translation,
)
from api.dialects.conversation import (
    CUSTOM_TOOL_INPUT,
    Conversation,
    Event,
    Finished,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Turn,
    put_together,
    unsayable,
)
from api.dialects.error_bodies import ErrorReport
from api.dialects.usage import Metered, MeteringLimits
from api.error_responses import RenderedError
from api.phrases import Phrase
from api.surfaces import Surface
from billing.pricing.charge import Charge, Usage

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

LONGEST_TOOL_NAME = 64


class Bridge:
    """A dialect to call an upstream in for a client of another one.

    `said` reads and writes what the client says and hears, `written` what the upstream does.
    """

    translation = None  # a bridge ends at the upstream
    forwards_headers = False

    def __init__(
        self, downstream: Dialect, upstream: Dialect, said: Translation, written: Translation
    ) -> None:
        self.downstream, self.upstream = downstream, upstream
        self.said, self.written = said, written
        self.name, self.family, self.path = upstream.name, upstream.family, upstream.path
        self.keepalive = downstream.keepalive
        self.request_id_header = downstream.request_id_header
        self.has_service_tiers = upstream.has_service_tiers

    def parse(self, fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
        """Return the client's request."""
        return self.downstream.parse(fields, size_bytes)

    def forwarded_headers(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return none: the client's headers are of its own dialect."""
        return {}

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        """Return an error as the client's dialect has it."""
        return self.downstream.render_error(error, surface, request_id)

    def error_event(self, failure: StreamFailure) -> bytes:
        """Return an error as the last event of the client's stream."""
        return self.downstream.error_event(failure)

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers of a call, as the upstream's dialect has them."""
        return self.upstream.upstream_headers(api_key)

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the body of the call. Raise UnsupportedParameterError for what can't be said."""
        conversation = with_flat_tools(self.conversation_of(request))
        body = self.written.body_of(conversation, model, route, max_tokens)
        if request.service_tier:
            if not self.has_service_tiers:
                raise unsayable(
                    "service_tier",
                    Phrase("The service tier '{service_tier}'", service_tier=request.service_tier),
                )
            body["service_tier"] = request.service_tier
        return _encode(body)

    def conversation_of(self, request: ParsedRequest) -> Conversation:
        """Return what the client's request asks for, worked out once. Raise like `parse`."""
        if request.conversation is None:
            request.conversation = self.said.conversation_of(request)
        return request.conversation

    def read_error(self, body: bytes) -> ErrorReport:
        """Return what an upstream's error says, but for its place: the client has no such."""
        return self.upstream.read_error(body)._replace(param=None)

    def read_answer(self, body: bytes, context: AnswerContext) -> "BridgedAnswer":
        """Return an answer in one piece. Raise DialectError."""
        return BridgedAnswer(self, body, context)

    def stream_reader(self, context: AnswerContext) -> "BridgedStreamReader":
        """Return a reader of one streamed answer."""
        return BridgedStreamReader(self, context)

    def assembler(self, context: AnswerContext) -> AnswerAssembler | None:
        """Return what makes a whole answer of the upstream's stream, in its own dialect."""
        return self.upstream.assembler(context)


def bridge(downstream: Dialect, upstream: Dialect) -> Bridge | None:
    """Return what connects two dialects, or None where one of them has no translation."""
    if downstream.translation is None or upstream.translation is None:
        return None
    return Bridge(downstream, upstream, downstream.translation, upstream.translation)


def _upstream_context(context: AnswerContext) -> AnswerContext:
    """Return the context for the upstream's own reader: it is to show all reasoning."""
    return msgspec.structs.replace(context, reasoning_field="reasoning_content")


class BridgedAnswer:
    """An answer in one piece, in the client's dialect."""

    __slots__ = ("_answer", "_bridge", "_context")

    def __init__(self, connection: Bridge, body: bytes, context: AnswerContext) -> None:
        """Read an upstream's answer. Raise DialectError if it is none."""
        self._bridge = connection
        self._context = context
        self._answer: Answer = connection.upstream.read_answer(body, _upstream_context(context))

    @property
    def text_bytes(self) -> int:
        """How many bytes of generated text it has, in UTF-8."""
        return self._answer.text_bytes

    @property
    def finish_reason(self) -> str:
        """Why generation ended, in the upstream's words."""
        return self._answer.finish_reason

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported or from what came."""
        return self._answer.meter(limits)

    def body(self, usage: Usage) -> bytes:
        """Return the client's bytes, which show the usage that is charged."""
        events = self._bridge.written.events_of_answer(self._answer.body(usage))
        tools = ToolRestorer(self._bridge.conversation_of(self._context.request))
        return self._bridge.said.reply_body(
            put_together(tools.restored(events)), usage, self._context
        )


class BridgedStreamReader:
    """A streamed answer, in the client's dialect."""

    __slots__ = ("_is_finished", "_reader", "_source", "_tools", "_writer")

    def __init__(self, connection: Bridge, context: AnswerContext) -> None:
        self._is_finished = False
        self._reader: StreamReader = connection.upstream.stream_reader(_upstream_context(context))
        self._source = connection.written.EventSource()
        self._writer = connection.said.ReplyWriter(context)
        self._tools = ToolRestorer(connection.conversation_of(context.request))

    @property
    def events(self) -> int:
        """How many events came that are no comments."""
        return self._reader.events

    @property
    def sent_events(self) -> int:
        """How many events the client has, where its dialect numbers them."""
        return self._writer.sent_events

    @property
    def text_bytes(self) -> int:
        """How many bytes of generated text came, in UTF-8."""
        return self._reader.text_bytes

    @property
    def finish_reason(self) -> str:
        """Why generation ended, in the upstream's words."""
        return self._reader.finish_reason

    @property
    def is_done(self) -> bool:
        """Whether the upstream said that this was all."""
        return self._reader.is_done

    @property
    def error(self) -> DialectError | None:
        """What can't be passed on, once it came."""
        return self._reader.error

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the upstream's: whole events only."""
        return self._translated(self._reader.feed(data))

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""
        return self._translated(self._reader.finish())

    def _translated(self, passed: bytes) -> bytes:
        events = self._source.read(passed) if passed and not self._is_finished else []
        for number, event in enumerate(events):
            if isinstance(event, Finished):
                # What comes after the end belongs to nothing.
                self._is_finished = True
                del events[number + 1 :]
                break
        return self._writer.write(self._tools.restored(events)) if events else b""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""
        return self._reader.meter(limits)

    def meter_part(self, limits: MeteringLimits) -> Metered:
        """Return the usage of a stream that ended early: what was reported, and an estimate."""
        return self._reader.meter_part(limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the stream, with the charged usage if `is_shown`."""
        last = self._translated(self._reader.ending(usage, cost, is_shown=False))
        return last + self._writer.ending(usage, cost, is_shown=is_shown)


def with_flat_tools(conversation: Conversation) -> Conversation:
    """Return the conversation with each namespaced function under one name of its own."""
    if not any(tool.namespace for tool in conversation.tools):
        return conversation
    flat = msgspec.structs.replace(conversation)
    flat.tools = [
        msgspec.structs.replace(tool, name=flat_name(tool), namespace="")
        for tool in conversation.tools
    ]
    flat.turns = [
        Turn(turn.role, tuple(_with_flat_name(block) for block in turn.blocks), turn.place)
        for turn in conversation.turns
    ]
    return flat


def _with_flat_name(block: Any) -> Any:
    if isinstance(block, ToolCall) and block.namespace:
        return msgspec.structs.replace(block, name=flat_name(block), namespace="")
    return block


def flat_name(tool: Tool | ToolCall) -> str:
    """Return the one name that stands for a tool and its namespace, at most 64 characters long."""
    if not tool.namespace:
        return tool.name
    name = f"{tool.namespace}__{tool.name}"
    if len(name) <= LONGEST_TOOL_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_TOOL_NAME - 9]}_{digest}"


class ToolRestorer:
    """Gives calls of tools the names and forms back that the client knows them by.

    A custom tool went to the upstream as a function with one text, whose arguments are kept until
    they are complete: only then can the text be taken out of the JSON.
    """

    __slots__ = ("_arguments", "_tools")

    def __init__(self, conversation: Conversation) -> None:
        self._tools = {
            flat_name(tool): tool
            for tool in conversation.tools
            if tool.namespace or tool.kind == "custom"
        }
        self._arguments: dict[int, list[str]] = {}

    def restored(self, events: Iterable[Event]) -> Iterable[Event]:
        """Return the events in the client's terms."""
        return self._restored(events) if self._tools else events

    def _restored(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            match event:
                case ToolCallStarted(index, call_id, name, kind) if tool := self._tools.get(name):
                    if tool.kind != kind:
                        self._arguments[index] = []
                    yield ToolCallStarted(index, call_id, tool.name, tool.kind, tool.namespace)
                case ToolCallDelta(index, arguments) if index in self._arguments:
                    self._arguments[index].append(arguments)
                case ToolCallEnded(index):
                    yield from self._custom_input(index)
                    yield event
                case _:
                    if self._arguments and not isinstance(event, (ToolCallDelta, ToolCallStarted)):
                        for index in list(self._arguments):
                            yield from self._custom_input(index)
                    yield event

    def _custom_input(self, index: int) -> Iterator[Event]:
        """Yield the whole input of a custom tool's call, if the index is one's."""
        pieces = self._arguments.pop(index, None)
        if pieces is None:
            return
        text = "".join(pieces)
        try:
            arguments = _decode(text)
        except msgspec.DecodeError:
            arguments = text
        if isinstance(arguments, dict):
            given = arguments.get(CUSTOM_TOOL_INPUT)
            text = given if isinstance(given, str) else _encode(arguments).decode()
        yield ToolCallDelta(index, text)

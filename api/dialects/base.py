"""What a dialect is: how a request is said, how it is answered, and what both cost, both ways.

A dialect is one wire format. Downstream it reads a client's body into a `ParsedRequest` and renders
errors. Upstream it gives the path, the headers and the body of the call, and reads errors. An
answer, whole or streamed, is read by an `Answer` or a `StreamReader`: each checks it, keeps what
metering needs, and renders it for the client.

Where client and upstream speak the same dialect, that is all: the upstream's bytes pass, as far as
the answer proves to be the dialect's. Where they don't, `bridge` connects two dialects by their
`Translation`s, through the types of `conversation`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.conversation import Conversation, Event, Reply
from api.dialects.error_bodies import ErrorReport, error_report
from api.dialects.fields import passed_fields
from api.dialects.prompt import PromptSize
from api.dialects.sse import MAX_EVENT_BYTES
from api.dialects.usage import Metered, MeteringLimits
from api.error_responses import RenderedError, error_object, rendered
from api.surfaces import Surface
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_UPSTREAM_COST = frozenset({"cost", "cost_details"})

ReasoningField = Literal["reasoning", "reasoning_content"] | None


def without_cost(reported: object) -> dict[str, Any]:
    """Return a usage object without what the upstream charges us, which is not the client's."""
    if not isinstance(reported, dict):
        return {}
    return {name: value for name, value in reported.items() if name not in _UPSTREAM_COST}


def json_dollars(amount_nanos: int) -> msgspec.Raw:
    """Return an amount as JSON's number of dollars, which a float would round."""
    return msgspec.Raw(dollars_short_text(amount_nanos).encode())


class DialectError(Exception):
    """An upstream's answer that is not the dialect's, or that reports an error.

    `kind` is one of the gateway's kinds of upstream errors; `detail` is for our records only.
    `report` is what a reported error says, unredacted.
    """

    def __init__(
        self,
        kind: Literal["bad_answer", "incomplete", "error_event"],
        detail: str,
        report: ErrorReport | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.report = report


class StreamFailure(NamedTuple):
    """The failure of a stream that has begun: what went wrong, and what is charged nevertheless.

    `sent_events` is how many events the client has, where its dialect numbers them.
    """

    error: errors.ApiError
    surface: Surface
    request_id: str
    sent_events: int
    usage: Usage
    cost: Charge


class ParsedRequest(msgspec.Struct, kw_only=True, gc=False):
    """A client's request in the terms that every dialect shares.

    `fields` is the decoded body, unknown fields included. `used` are the parameters in use, by the
    names that a model's `refused_parameters` are written in, and `billed` those that can change
    what the upstream bills, so that the model's row must allow them. `service_tier` is the one that
    the client names, once the quote found that it has a price of its own: only then it is sent.
    `modalities` are the kinds of input with the places of their first use. `max_tokens` is the
    limit that the client names for each answer, and `choices` how many answers there are over all
    prompts. Where every request must name a limit, it `is_limit_a_ceiling`, which a small balance
    may lower. A request that `hides_reasoning` wants none of it in the answer. `echoes` is how
    often the prompt's text comes back. `answer_type` is the media type of a whole answer.
    `session_id` is the session that the client names, by which its requests are grouped, and
    `session_budget_nanos` what the client lets it spend. `max_cost_nanos` is the most that the
    request may cost. `typed` is the dialect's own typed view.
    `forwarded` are the client's headers that go to an upstream of the same dialect. `conversation`
    is kept by a bridge.
    """

    model: str
    fields: dict[str, Any]
    size_bytes: int
    used: frozenset[str] | set[str]
    billed: frozenset[str] = frozenset()
    service_tier: str = ""
    prompt: PromptSize = msgspec.field(default_factory=PromptSize)
    modalities: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    is_limit_a_ceiling: bool = False
    hides_reasoning: bool = False
    choices: int = 1
    echoes: int = 0
    is_streamed: bool = False
    wants_usage: bool = False
    end_user: str = ""
    session_id: str = ""
    max_cost_nanos: int | None = None
    session_budget_nanos: int | None = None
    answer_type: str = "application/json"
    typed: Any = None
    forwarded: Mapping[str, str] = {}
    conversation: Conversation | None = None


class AnswerContext(msgspec.Struct, frozen=True, gc=False):
    """What the reader of an answer must know of the request.

    `public_name` is the name that the client asked for the model by, and gets back. `answer_id` is
    what an id that we make is made of. `is_tagged` says that the route's text may begin with
    reasoning in tags. `max_event_bytes` bounds an event of a stream, and a whole answer that comes
    in place of one.
    """

    request: ParsedRequest
    public_name: str
    reasoning_field: ReasoningField
    is_tagged: bool = False
    answer_id: str = ""
    max_event_bytes: int = MAX_EVENT_BYTES


class Answer(Protocol):
    """An answer in one piece. Reading it raises DialectError if it isn't the dialect's."""

    @property
    def text_bytes(self) -> int:
        """How many bytes of generated text it has, in UTF-8."""

    @property
    def finish_reason(self) -> str:
        """Why generation ended, or an empty string."""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported or from what came."""

    def body(self, usage: Usage) -> bytes:
        """Return the client's bytes, which show the usage that is charged."""


class StreamReader(Protocol):
    """A reader of one streamed answer."""

    @property
    def events(self) -> int:
        """How many events came that are no comments."""

    @property
    def sent_events(self) -> int:
        """How many events the client has, in dialects that number them."""

    @property
    def text_bytes(self) -> int:
        """How many bytes of generated text came, in UTF-8."""

    @property
    def finish_reason(self) -> str:
        """Why generation ended, or an empty string."""

    @property
    def is_done(self) -> bool:
        """Whether the upstream said that this was all."""

    @property
    def error(self) -> DialectError | None:
        """What can't be passed on, once it came. What came before it is returned all the same."""

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the upstream's: whole events only."""

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""

    def meter_part(self, limits: MeteringLimits) -> Metered:
        """Return the usage of a stream that ended early: what was reported, and an estimate."""

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the stream, with the charged usage if `is_shown`."""


class AnswerAssembler(Protocol):
    """What puts one streamed answer together into a whole one.

    What `is_whole` came in one piece in spite of all.
    """

    is_whole: bool
    events: int
    """How many events came that are no comments."""

    @property
    def reader(self) -> StreamReader:
        """The stream's own reader."""

    @property
    def is_done(self) -> bool:
        """Whether the upstream said that this was all."""

    def feed(self, data: bytes) -> None:
        """Take what the upstream sent. Raise DialectError for what is no part of an answer."""

    def finish(self) -> bytes:
        """Return the whole answer. Raise DialectError if the stream's end is missing."""


class EventSource(Protocol):
    """A reader of what a `StreamReader` of the same dialect let pass."""

    def read(self, passed: bytes) -> list[Event]:
        """Return what whole events of the stream bring."""


class ReplyWriter(Protocol):
    """A writer of one streamed answer."""

    @property
    def sent_events(self) -> int:
        """How many events the client has, in dialects that number them."""

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the client's events."""

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the stream, with the charged usage if `is_shown`."""


class Translation(Protocol):
    """A dialect to and from the typed middle. A module of functions is one."""

    def conversation_of(self, request: ParsedRequest, /) -> Conversation:
        """Return what a client's request asks for. Raise a 400 error of `api.errors`."""

    def body_of(
        self, conversation: Conversation, model: ModelEntry, route: RouteEntry, max_tokens: int, /
    ) -> dict[str, Any]:
        """Return an upstream's body. Raise UnsupportedParameterError for what it can't say."""

    def events_of_answer(self, body: bytes, /) -> list[Event]:
        """Return the events that an `Answer`'s body makes."""

    def EventSource(self) -> EventSource:  # noqa: N802 - the name of a class
        """Return a reader of one stream's events."""

    def reply_body(self, reply: Reply, usage: Usage, context: AnswerContext, /) -> bytes:
        """Return a client's answer in one piece."""

    def ReplyWriter(self, context: AnswerContext, /) -> ReplyWriter:  # noqa: N802 - as above
        """Return a writer of one streamed answer."""


class Dialect(Protocol):
    """One wire format, both ways. Implementations keep no state."""

    name: str
    """What an upstream's row names it by."""
    family: str
    """The dialect whose upstreams take this one, too; else its own name."""
    path: str
    """Where upstreams that speak it answer, below their base URL."""
    keepalive: bytes
    """An event of a stream that says nothing."""
    request_id_header: bytes
    """Where its clients look for the request's id, besides `x-request-id`; or nothing."""
    forwards_headers: bool
    """Whether some of a client's headers go to upstreams of the same dialect."""
    has_service_tiers: bool
    """Whether a request can name a service tier with a price of its own, in `service_tier`."""

    @property
    def translation(self) -> Translation | None:
        """What connects it with other dialects, if anything does."""

    def parse(self, fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
        """Return a client's request. Raise a 400 error of `api.errors` naming the place."""

    def forwarded_headers(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return those of a client's headers that an upstream of the same dialect is to get."""

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        """Return an error as a response."""

    def error_event(self, failure: StreamFailure) -> bytes:
        """Return an error as the last event of a stream, with the usage that is charged."""

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers of a call besides the common ones: credentials, versions."""

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the body of the call for a request, whose output limit was paid for."""

    def read_error(self, body: bytes) -> ErrorReport:
        """Return what the body of an upstream's error says, unredacted."""

    def read_answer(self, body: bytes, context: AnswerContext) -> Answer:
        """Return an answer in one piece. Raise DialectError."""

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        """Return a reader of one streamed answer."""

    def assembler(self, context: AnswerContext) -> AnswerAssembler | None:
        """Return what makes a whole answer of a stream, or None if the request can't have one."""


class OpenAiFamily:
    """What the dialects of OpenAI-compatible providers share: keys, errors, encoded bodies."""

    family = "openai_chat"
    has_service_tiers = True
    keepalive = b": keepalive\n\n"
    request_id_header = b""
    forwards_headers = False
    known_fields: ClassVar[frozenset[str]] = frozenset()
    """The names of the parameters that it reads, which all go upstream."""
    translation: Translation | None = None

    def forwarded_headers(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return none: OpenAI's endpoints take all that they need in the body."""
        return {}

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        """Return an error as a response."""
        return rendered(error, surface, request_id)

    def error_event(self, failure: StreamFailure) -> bytes:
        """Return an error as the last event of a stream, which then has no `[DONE]`.

        The usage that is charged is in the error, the one part that SDKs show.
        """
        body: dict[str, Any] = error_object(failure.error, failure.surface)
        usage = failure.usage
        body["error"]["usage"] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "cost": json_dollars(failure.cost.total_nanos),
        }
        return b"data: " + _encode(body) + b"\n\n"

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the header with the key, if there is one."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields, as far as they go upstream, with its model's name."""
        body = passed_fields(request.fields, self.known_fields, model, route)
        return _encode({**body, "model": route.upstream_model})

    read_error = staticmethod(error_report)

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        """Refuse: an endpoint whose answers come in one piece has no stream."""
        raise TypeError(f"{context.public_name} was asked for a stream of an unstreamed endpoint.")

    def assembler(self, context: AnswerContext) -> AnswerAssembler | None:
        """Return None: an endpoint whose answers come in one piece has no stream."""
        return None


def named(fields: dict[str, Any]) -> set[str]:
    """Return the parameters that a request gives a value, as `refused_parameters` names them."""
    return {field for field, value in fields.items() if value is not None}

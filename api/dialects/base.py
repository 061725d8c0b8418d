"""What a dialect is: how a request is said, how it is answered, and what both cost, both ways.

A dialect is one wire format. Downstream it reads a client's body into a `ParsedRequest` and renders
errors. Upstream it gives the path, the headers and the body of the call, and reads errors. An
answer, whole or streamed, is read by an `Answer` or a `StreamReader`: each checks it, keeps what
metering needs, and renders it for the client.

Where client and upstream speak the same dialect, that is all: the upstream's bytes pass, as far as
the answer proves to be the dialect's. `dialects.link` finds what connects two different ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.usage import Metered, MeteringLimits
from api.surfaces import Surface
from billing.pricing.charge import Charge, Usage

_LONGEST_QUOTE = 600
# Upstreams quote keys, addresses and organisations in their messages.
_SECRETS = re.compile(r"(?i)\b(?:sk|pk|key|bearer|org|proj)[-_ ][\w*.…-]{6,}|https?://\S+")
_encode = msgspec.json.Encoder().encode

ReasoningField = Literal["reasoning", "reasoning_content"] | None


class DialectError(Exception):
    """An upstream's answer that is not the dialect's, or that reports an error.

    `kind` is one of the gateway's kinds of upstream errors; `detail` is for our records only.
    """

    def __init__(
        self, kind: Literal["bad_answer", "incomplete", "error_event"], detail: str
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class PromptSize(NamedTuple):
    """How much a prompt brings, as its bounds and estimates are made from it.

    `images` are counted, and `image_bytes` are those of the body that are images; `token_ids` are
    tokens that the client counted itself. A prompt is not `is_bounded` by its bytes where it only
    refers to something. `prompts` have an answer each; `messages` are those of a conversation.
    """

    text_bytes: int = 0
    images: int = 0
    image_bytes: int = 0
    token_ids: int = 0
    is_bounded: bool = True
    messages: int = 0
    prompts: int = 1


class ParsedRequest(msgspec.Struct, kw_only=True, gc=False):
    """A client's request in the terms that every dialect shares.

    `fields` is the decoded body, unknown fields included. `used` are the parameters in use, by the
    names that a model's `refused_parameters` are written in. `modalities` are the kinds of input
    with the places of their first use. `max_tokens` is the limit that the client names for each
    answer, and `choices` how many answers there are over all prompts. `echoes` is how often the
    prompt's text comes back. `answer_type` is the media type of a whole answer. `typed` is the
    dialect's own typed view.
    """

    model: str
    fields: dict[str, Any]
    size_bytes: int
    used: frozenset[str] | set[str]
    prompt: PromptSize = PromptSize()
    modalities: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    choices: int = 1
    echoes: int = 0
    is_streamed: bool = False
    wants_usage: bool = False
    end_user: str = ""
    answer_type: str = "application/json"
    typed: Any = None


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What the reader of an answer must know of the request.

    `public_name` is the name that the client asked for the model by, and gets back. `is_tagged`
    says that the route's text may begin with reasoning in tags.
    """

    request: ParsedRequest
    public_name: str
    reasoning_field: ReasoningField
    is_tagged: bool = False


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
    """A reader of one streamed answer.

    `events` counts what is no comment, `text_bytes` the bytes of generated text. `error` is set
    when what came can't be passed on; what came before it is returned all the same.
    """

    events: int
    text_bytes: int
    finish_reason: str
    is_done: bool
    error: DialectError | None

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for the upstream's: whole events only."""

    def finish(self) -> bytes:
        """Return what an unfinished last event makes. Raise DialectError if the end is missing."""

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the usage, from what the upstream reported."""

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the stream, with the charged usage if `is_shown`."""


class Dialect(Protocol):
    """One wire format, both ways. Implementations keep no state."""

    name: str
    """What an upstream's row names it by."""
    family: str
    """The dialect whose upstreams take this one, too; else its own name."""
    path: str
    """Where upstreams that speak it answer, below their base URL."""

    def parse(self, fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
        """Return a client's request. Raise a 400 error of `api.errors` naming the place."""

    def error_body(self, error: errors.ApiError, surface: Surface) -> bytes:
        """Return an error as a response's body."""

    def error_event(self, error: errors.ApiError, surface: Surface) -> bytes:
        """Return an error as the last event of a stream that has begun."""

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers of a call besides the common ones: credentials, versions."""

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the body of the call for a request, whose output limit was paid for."""

    def read_error(self, body: bytes) -> tuple[str, str | None]:
        """Return the message and the parameter's place in an upstream's error, unredacted."""

    def read_answer(self, body: bytes, context: AnswerContext) -> Answer:
        """Return an answer in one piece. Raise DialectError."""

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        """Return a reader of one streamed answer."""


class OpenAiFamily:
    """What the dialects of OpenAI-compatible providers share: keys, errors, encoded bodies."""

    family = "openai_chat"

    def error_body(self, error: errors.ApiError, surface: Surface) -> bytes:
        """Return an error as a response's body."""
        return errors.render_body(error, surface)

    def error_event(self, error: errors.ApiError, surface: Surface) -> bytes:
        """Return an error as the last event of a stream, which then has no `[DONE]`."""
        return b"data: " + errors.render_body(error, surface) + b"\n\n"

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the header with the key, if there is one."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields with the upstream's name of the model."""
        return _encode({**request.fields, "model": route.upstream_model})

    def read_error(self, body: bytes) -> tuple[str, str | None]:
        """Return the message and the parameter's place in an upstream's error, unredacted."""
        try:
            answer: Any = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return "", None
        error = answer.get("error", answer) if isinstance(answer, dict) else None
        if isinstance(error, str):
            return error, None
        if not isinstance(error, dict):
            return "", None
        message, param = error.get("message"), error.get("param")
        return (
            message if isinstance(message, str) else "",
            param if isinstance(param, str) else None,
        )

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        """Refuse: an endpoint whose answers come in one piece has no stream."""
        raise TypeError(f"{context.public_name} was asked for a stream of an unstreamed endpoint.")


def named(fields: dict[str, Any]) -> set[str]:
    """Return the parameters that a request gives a value, as `refused_parameters` names them."""
    return {field for field, value in fields.items() if value is not None}


def redacted(message: str) -> str:
    """Return an upstream's message fit for clients: cut, without keys, addresses and NUL."""
    return _SECRETS.sub("…", message[:_LONGEST_QUOTE]).replace("\0", "")

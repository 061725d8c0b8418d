"""What an operation is: one thing that can be asked of the API, served and described."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.base import Dialect
from api.error_responses import rendered
from api.gateway.admission import Quoter
from api.gateway.http import ApiRequest, ErrorRenderer
from api.gateway.process import Gateway
from api.gateway.runner import MakeResponder, serve
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained

Parameters = TypeVar("Parameters", bound=Struct)

Handler = Callable[[Gateway, ApiRequest], Awaitable[None]]

KEY_ERRORS = (401, 403, 429, 500, 503)
CALL_ERRORS = (400, 401, 402, 403, 404, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504)
COMMON_HEADERS = ("X-Request-Id",)
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
COST_HEADERS = (*COMMON_HEADERS, *LIMIT_HEADERS, "X-Request-Cost")

# Notes on parameters that several operations have.
MODEL_NOTE = "The model's name or alias; see `GET /models`."
USER_NOTE = "An opaque id for your end user, stored with the usage."
PASSED_ON_NOTE = "Passed on to the model unchanged."

UnixSeconds = Annotated[int, Meta(ge=0, description="Unix time in seconds.")]
AnyFile = Annotated[Any, Meta(extra_json_schema={"type": "string", "format": "binary"})]
Tokens = Annotated[int, Meta(ge=0)]
Cost = Annotated[float, Meta(ge=0, description="The request's charge in dollars.")]


class ErrorObject(Struct):
    """What went wrong. Act on the HTTP status and on `code`."""

    message: Annotated[str, Meta(description="What is wrong and how to fix it, for people.")]
    type: str
    code: str
    param: (
        Annotated[
            str,
            Meta(
                description=(
                    "The invalid field, such as `messages[2].content`. Omitted from some 401s."
                )
            ),
        ]
        | None
    ) = None


@dataclass(frozen=True, kw_only=True)
class DocsPage:
    """The operation's page in the documentation, at `/docs/<slug>`.

    Its text is the portal's template `docs/pages/<slug>.html`, if there is one, else made from the
    operation's own description, examples and parameters. `charge` says what is charged.
    """

    slug: str
    title: str
    summary: str
    charge: str = ""


@dataclass(frozen=True, kw_only=True)
class Playground:
    """The operation's form in the playground.

    `common` are the fields shown first. `call` is the method of OpenAI's SDK, `takes` the
    parameters it knows (others go into `extra_body`), `prints` and `streams` what to show of an
    answer and of a stream's chunk, as expressions. `saves` names the file that an answer makes
    which can't be shown.
    """

    common: tuple[str, ...] = ()
    call: str = ""
    takes: tuple[str, ...] = ()
    prints: str = ""
    streams: str = ""
    saves: str = ""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One endpoint: how it is served, and how it is described.

    `name` is its name in usage records. `path` is below each mount, and so are the paths that it is
    `also_at`, as for clients that add a version to whatever base URL they are given. An argument in
    braces takes the rest of the URL, slashes included, up to what follows it. At the root mount,
    whose paths are shared with the web pages, all that begins with `root_prefix` is the API's
    (default: the first segment), or nothing if it is not `at_root`.

    `query` is the struct of its query parameters, which describe themselves. `body` is the struct
    that describes the request, `notes` its fields; with `files`, the names of fields that are
    files, it is sent as a form. `answer` and `stream` are the structs of an answer and of a
    stream's events, `answer_types` the media types of answers that are no JSON, `success` their
    status. `errors` are statuses. `examples` are requests by title. `model_kind` is the kind of
    model that it takes, if `model_input` is set one with that modality of input. `dialect` and
    `quoter` are those of a paid operation, whose requests can be quoted without being made; an
    operation that does so `is_quote`. One that `is_public` is answered in clear and during
    maintenance too; it takes no key, nor does one without `takes_key`.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    handle: Handler
    operation_id: str
    tag: str
    summary: str
    description: str
    errors: tuple[int, ...]
    answer: type[Struct] | None = None
    answer_example: Any = None
    answer_types: tuple[str, ...] = ()
    success: int = 200
    render_error: ErrorRenderer = rendered
    also_at: tuple[str, ...] = ()
    root_prefix: str = ""
    at_root: bool = True
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    files: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    stream: type[Struct] | None = None
    stream_example: str = ""
    examples: Mapping[str, Any] = field(default_factory=dict)
    argument: str = ""
    headers: tuple[str, ...] = COMMON_HEADERS + LIMIT_HEADERS
    is_public: bool = False
    takes_key: bool = True
    model_kind: str = ""
    model_input: str = ""
    page: DocsPage | None = None
    playground: Playground = Playground()
    dialect: Dialect | None = None
    quoter: Callable[[Gateway], Quoter] | None = None
    is_quote: bool = False

    @property
    def method(self) -> str:
        """The method that the documents name."""
        return self.methods[0].lower()

    @property
    def is_paid(self) -> bool:
        """Whether its requests cost credits, so that they take an Idempotency-Key."""
        return 402 in self.errors

    @property
    def takes_max_cost(self) -> bool:
        """Whether its requests can name the most that they may cost."""
        return self.is_paid or self.is_quote

    @property
    def body_type(self) -> str:
        """The media type of its requests."""
        return "multipart/form-data" if self.files else "application/json"

    def is_served_at(self, surface: Surface) -> bool:
        """Return whether the operation is one of a mount's."""
        return self.at_root or surface.owns_mount

    @property
    def api_prefix(self) -> str:
        """What makes a path of the root mount the API's."""
        return self.root_prefix or "/" + self.path.split("/")[1]


def metered(
    *,
    name: str,
    dialect: Dialect,
    quote: Callable[..., Any],
    make_responder: MakeResponder | None = None,
    **described: Any,
) -> Operation:
    """Return the operation of a request that is quoted, held, relayed, metered and settled.

    `quote(name, dialect, snapshot, surface, request)` returns its Quote. A POST whose answer is in
    the dialect, whole or streamed, or what `make_responder` makes of it.
    """
    make_quote: Quoter = partial(quote, name, dialect)
    return Operation(
        name=name,
        methods=("POST",),
        handle=partial(
            serve, dialect=dialect, make_quote=make_quote, make_responder=make_responder
        ),
        render_error=dialect.render_error,
        dialect=dialect,
        quoter=lambda _: make_quote,
        **{"errors": CALL_ERRORS, "headers": COST_HEADERS, **described},
    )


def check_not_streamed(fields: Mapping[str, Any]) -> None:
    """Refuse `stream` where the answer comes in one piece."""
    if fields.get("stream"):
        raise errors.UnsupportedParameterError(
            Phrase("'stream' is not supported by this endpoint."), param="stream"
        )


def query_of(request: ApiRequest, struct: type[Parameters]) -> Parameters:
    """Return a request's query parameters. Raise an InvalidRequestError that names the first wrong.

    The values of a parameter that is repeated are joined with commas.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(request.query.decode("latin-1"), keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return parameters_of(found, struct)


def parameters_of(found: Mapping[str, str], struct: type[Parameters]) -> Parameters:
    """Return query parameters as their struct. Raise an InvalidRequestError."""
    for name in found:
        if name not in struct.__struct_fields__:
            raise errors.UnknownParameterError.about(name, param=name)
    try:
        return msgspec.convert(found, struct, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None

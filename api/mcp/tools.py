"""The tools, and whom they act for.

A tool of an API key is an operation of the API, called within the process with the same key: its
checks, limits and errors are the operation's. A tool of a management key is an action of the
management API.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct
from rest_framework.exceptions import APIException

from accounts import api_keys
from accounts.access import Actor
from accounts.errors import AccountsError
from api import errors
from api.drf import error_from
from api.gateway.http import ApiRequest, Scope
from api.gateway.look_ups import Result, known_key, look_up
from api.gateway.process import Gateway
from api.manage import actions
from api.operations import OPERATIONS
from api.operations.base import Operation, parameters_of
from api.operations.credits import CREDITS
from api.operations.key import KEY
from api.operations.models import MODEL, MODELS
from api.operations.usage import USAGE, TeamUsageQuery, UsageQuery
from billing.pricing.money import budget_nanos, dollars_short_text

# A key that an agent creates for another is limited, whatever the management key may do elsewhere.
MOST_BUDGET_NANOS = 100 * 10**9
MOST_DAYS = 90
# What of the client's request goes with a call of an operation.
_HEADERS = (b"authorization", b"x-api-key", b"x-forwarded-for")

Json = dict[str, Any]

_QUOTABLE = tuple(
    name for name, each in OPERATIONS.items() if each.quoter is not None and not each.files
)


class NoArguments(Struct, forbid_unknown_fields=True):
    """The arguments of a tool that takes none."""


class ModelsArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `models`."""

    model: Annotated[str, Meta(description="Only this model: its name or alias.")] = ""


class QuoteArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `quote`."""

    body: Annotated[dict[str, Any], Meta(description="The request's body.")]
    endpoint: Annotated[
        str,
        Meta(
            description="The endpoint of the request.",
            extra_json_schema={"enum": list(_QUOTABLE)},
        ),
    ] = "chat_completions"


class NewKeyArguments(Struct, forbid_unknown_fields=True):
    """The arguments of `create_key`."""

    name: Annotated[str, Meta(description="What the key is for.")]
    budget_total: Annotated[
        str,
        Meta(
            description=(
                "Dollars that the key may spend in all, such as `5.00`; at most "
                f"{dollars_short_text(MOST_BUDGET_NANOS)}."
            )
        ),
    ]
    budget_day: Annotated[str | None, Meta(description="Dollars that it may spend a day.")] = None
    expires_in_days: Annotated[
        int, Meta(ge=1, le=MOST_DAYS, description="Days that the key works.")
    ] = 30
    allowed_models: Annotated[
        list[str], Meta(description="The models that it may call. Default: all.")
    ] = []


class KeyCaller:
    """An API key, which sees its own usage."""

    def __init__(self, gateway: Gateway, request: ApiRequest) -> None:
        self._gateway = gateway
        self._request = request

    async def balance(self, _arguments: NoArguments) -> Json:
        """Return the team's credits, and the key's budget and limits."""
        key, team = await self._answer(KEY), await self._answer(CREDITS)
        return {"balance": team["balance"], "credits": team["data"], "key": key["data"]}

    async def usage(self, arguments: UsageQuery) -> Json:
        """Return a report of the key's usage."""
        given = msgspec.to_builtins(arguments)
        fields = {name: str(value) for name, value in given.items() if value not in {None, ""}}
        return await self._answer(USAGE, query=urlencode(fields))

    async def models(self, arguments: ModelsArguments) -> Json:
        """Return the models at the team's prices, or one of them."""
        if arguments.model:
            return await self._answer(MODEL, argument=arguments.model)
        return await self._answer(MODELS)

    async def quote(self, arguments: QuoteArguments) -> Json:
        """Return what the request would reserve and cost. Raise an InvalidRequestError."""
        if arguments.endpoint not in _QUOTABLE:
            raise errors.InvalidValueError(
                f"Invalid 'endpoint': expected one of {', '.join(_QUOTABLE)}.", param="endpoint"
            )
        operation = OPERATIONS[f"{arguments.endpoint}_quote"]
        return await self._answer(operation, body=msgspec.json.encode(arguments.body))

    async def _answer(
        self, operation: Operation, *, argument: str = "", query: str = "", body: bytes = b""
    ) -> Json:
        """Call an operation with the request's own key. Raise an error of `api.errors`."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        outer = self._request
        headers = [(name, outer.headers[name]) for name in _HEADERS if name in outer.headers]
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        scope: Scope = {
            "headers": headers,
            "query_string": query.encode(),
            "client": (outer.peer, 0),
        }
        request = ApiRequest(outer.surface, argument, scope, receive, send)
        await operation.handle(self._gateway, request)
        found: Json = msgspec.json.decode(b"".join(each.get("body", b"") for each in sent))
        return found


class TeamCaller:
    """A management key, which acts for its team."""

    def __init__(self, gateway: Gateway, request: ApiRequest, actor: Actor) -> None:
        self._gateway = gateway
        self._request = request
        self._actor = actor

    async def balance(self, _arguments: NoArguments) -> Json:
        """Return the team, its plan and its balance."""
        return await self._read(lambda: actions.team_of(self._actor))

    async def usage(self, arguments: UsageQuery) -> Json:
        """Return a report of the team's usage."""
        given = msgspec.structs.asdict(arguments)
        fields = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        return await self._read(lambda: actions.usage_of(self._actor, fields))

    async def models(self, arguments: ModelsArguments) -> Json:
        """Return the models at the team's prices, or one of them. Raise ModelNotFoundError."""
        admission = self._request.admission
        if admission is None:
            raise errors.ServiceUnavailableError
        catalogue = (await self._gateway.catalogue_of(admission)).for_team(admission.team_id)
        now = datetime.now(UTC)
        if not arguments.model:
            listed = [model.listing(now) for model in catalogue.public_models()]
            return {"object": "list", "data": listed}
        model = catalogue.find(arguments.model)
        if model is None:
            raise errors.ModelNotFoundError.about(arguments.model)
        return model.listing(now, arguments.model)

    async def create_key(self, arguments: NewKeyArguments) -> Json:
        """Create a key that ends by its budget or its expiry. Raise InvalidRequestError."""
        fields: Json = {
            "name": arguments.name,
            "budget_total": arguments.budget_total,
            "budget_day": arguments.budget_day,
            "allowed_models": arguments.allowed_models,
            "expires_at": datetime.now(UTC) + timedelta(days=arguments.expires_in_days),
        }
        _check_budget(arguments.budget_total)
        address = self._request.client_address()
        return await self._read(lambda: actions.create_key(self._actor, fields, address))

    async def _read(self, work: Callable[[], Result]) -> Result:
        """Run an action of the management API. Raise an error of `api.errors`."""
        return await look_up(self._actor.team.pk, lambda: _with_our_errors(work))


def _with_our_errors(work: Callable[[], Result]) -> Result:
    """Return what an action returns. Raise its errors as those of `api.errors`."""
    try:
        return work()
    except (APIException, AccountsError) as error:
        raise error_from(error) from None


def _check_budget(text: str) -> None:
    """Raise InvalidValueError for a budget above MOST_BUDGET_NANOS."""
    try:
        is_too_high = budget_nanos(text) > MOST_BUDGET_NANOS
    except ValueError:
        return  # the action says what is wrong with it
    if is_too_high:
        most = dollars_short_text(MOST_BUDGET_NANOS)
        raise errors.InvalidValueError(
            f"Invalid 'budget_total': at most {most}.", param="budget_total"
        )


Caller = KeyCaller | TeamCaller


async def caller_of(gateway: Gateway, request: ApiRequest) -> Caller:
    """Return whom the request's key acts for. Raise an error of `api.errors`."""
    try:
        await known_key(gateway, request)
    except errors.EndpointNotAllowedError:
        admission = request.admission
        if admission is None:
            raise
        actor = await look_up(admission.team_id, lambda: _actor_of(request.api_key()))
        return TeamCaller(gateway, request, actor)
    return KeyCaller(gateway, request)


def _actor_of(plaintext: str) -> Actor:
    """Return the actor of a management key. Raise an error of `api.errors`."""
    key = api_keys.find_active(plaintext)
    if key is None:
        raise errors.InvalidApiKeyError
    return actions.actor_of_key(key)


@dataclass(frozen=True)
class Tool:
    """A tool: how it is listed, and its arguments by kind of caller.

    The caller's method of the same name runs it.
    """

    name: str
    title: str
    description: str
    of_key: type[Struct] | None = None
    of_team: type[Struct] | None = None
    is_read_only: bool = True

    def arguments_of(self, caller: Caller) -> type[Struct] | None:
        """Return the struct of the arguments; None for a caller that doesn't have the tool."""
        return self.of_team if isinstance(caller, TeamCaller) else self.of_key

    def listing(self, arguments: type[Struct]) -> Json:
        """Return the tool as `tools/list` has it."""
        schema = msgspec.json.schema(arguments)["$defs"][arguments.__name__]
        shown = {name: schema[name] for name in ("properties", "required") if schema.get(name)}
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {"type": "object", **shown, "additionalProperties": False},
            "annotations": {"readOnlyHint": self.is_read_only, "openWorldHint": False},
        }


TOOLS = (
    Tool(
        name="balance",
        title="Balance",
        description="Show the team's balance, and the budget and limits of an API key.",
        of_key=NoArguments,
        of_team=NoArguments,
    ),
    Tool(
        name="usage",
        title="Usage",
        description=(
            "Sum up requests, tokens and cost by hour or day and by model, session, user or "
            "endpoint: of the API key, or of a management key's whole team."
        ),
        of_key=UsageQuery,
        of_team=TeamUsageQuery,
    ),
    Tool(
        name="models",
        title="Models",
        description="List the models with their capabilities, limits and prices in dollars.",
        of_key=ModelsArguments,
        of_team=ModelsArguments,
    ),
    Tool(
        name="quote",
        title="Quote",
        description="Estimate what a request would reserve and cost, without making it.",
        of_key=QuoteArguments,
    ),
    Tool(
        name="create_key",
        title="Create a key",
        description=(
            "Create an API key with a budget and an expiry. The answer has its secret, once."
        ),
        of_team=NewKeyArguments,
        is_read_only=False,
    ),
)


def tools_of(caller: Caller) -> list[Json]:
    """Return the tools that the caller has, as `tools/list` has them."""
    pairs = [(tool, tool.arguments_of(caller)) for tool in TOOLS]
    return [tool.listing(arguments) for tool, arguments in pairs if arguments is not None]


def find_tool(caller: Caller, name: Any) -> Tool | None:
    """Return a tool that the caller has, or None."""
    return next(
        (each for each in TOOLS if each.name == name and each.arguments_of(caller) is not None),
        None,
    )


async def run_tool(caller: Caller, tool: Tool, given: Json) -> Json:
    """Run a tool and return what it found. Raise an error of `api.errors`."""
    struct = tool.arguments_of(caller)
    if struct is None:
        raise errors.EndpointNotAllowedError
    run: Callable[[Struct], Awaitable[Json]] = getattr(caller, tool.name)
    return await run(parameters_of(given, struct))

"""From a path to its operation, and from whatever that raises to a response."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

import structlog

from api import errors, maintenance
from api.error_responses import rendered
from api.gateway.http import ApiRequest, Receive, Scope, Send
from api.gateway.idempotency import IDEMPOTENCY_KEY, serve_once
from api.gateway.process import Gateway
from api.mcp.server import MCP
from api.operations import OPERATIONS
from api.operations.base import Operation
from api.phrases import Phrase
from api.surfaces import SURFACES, Surface

log = structlog.get_logger(__name__)

ALLOWED_HEADERS = (
    b"authorization, content-type, x-api-key, idempotency-key, x-max-cost, x-session-id, "
    b"x-session-budget"
)
MAX_AGE_SECONDS = b"86400"
_SLASHES = re.compile("//+")


class Match(NamedTuple):
    """Where a path leads: `operation` is None for an unknown path under an API mount."""

    surface: Surface
    operation: Operation | None
    argument: str = ""


class Table:
    """Every path of the API, made from all operations under all surfaces."""

    def __init__(self, operations: Iterable[Operation], surfaces: Iterable[Surface]) -> None:
        exact: list[tuple[str, Operation]] = []
        self._with_argument: list[tuple[str, str, Operation]] = []
        self._root_prefixes: list[str] = []
        for operation in operations:
            for path in (operation.path, *operation.also_at):
                stem, _, argument = path.partition("{")
                if argument:
                    suffix = argument.partition("}")[2]
                    self._with_argument.append((stem, suffix, operation))
                else:
                    exact.append((stem, operation))
            if operation.at_root:
                self._root_prefixes.append(operation.api_prefix)
        # An argument may have slashes, so what follows it is looked for first.
        self._with_argument.sort(key=lambda row: len(row[1]), reverse=True)
        self._longest_mount_first = sorted(
            surfaces, key=lambda surface: len(surface.mount), reverse=True
        )
        self._exact: dict[str, Match] = {}
        for surface in self._longest_mount_first:
            for path, operation in exact:
                if not operation.is_served_at(surface):
                    continue
                self._exact.setdefault(surface.mount + path, Match(surface, operation))

    def match(self, path: str) -> Match | None:
        """Return where a decoded URL path leads, or None if it is not the API's at all.

        A trailing slash is tolerated, and two for one, as of a base URL that ends with a slash.
        """
        return self._exact.get(path) or self._match_slowly(path)

    def _match_slowly(self, path: str) -> Match | None:
        """Match what isn't in the table: arguments, slashes too many, unknown paths."""
        bare = _SLASHES.sub("/", path).rstrip("/")
        if found := self._exact.get(bare):
            return found
        for surface in self._longest_mount_first:
            if not _is_under(bare, surface.mount):
                continue
            rest = bare[len(surface.mount) :]
            for stem, suffix, operation in self._with_argument:
                if rest.startswith(stem) and rest.endswith(suffix):
                    # Decoded once more, for servers and clients that encode a slash twice.
                    argument = rest[len(stem) : len(rest) - len(suffix)]
                    return Match(surface, operation, unquote(argument))
            if surface.owns_mount or any(_is_under(rest, name) for name in self._root_prefixes):
                return Match(surface, None)
            return None
        return None


def _is_under(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


match = Table((*OPERATIONS.values(), MCP), SURFACES).match


async def handle(
    gateway: Gateway, match: Match, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one HTTP request under an API mount."""
    request = ApiRequest(match.surface, match.argument, scope, receive, send)
    operation, refusals = match.operation, gateway.refusals
    try:
        _check_door(gateway, request, operation, scope)
        if scope["method"] == "OPTIONS":
            await _answer_preflight(request, operation)
        else:
            operation = _operation_of(match, scope)
            if IDEMPOTENCY_KEY in request.headers and operation.is_paid:
                await serve_once(gateway, request, send, operation.name, operation.handle)
            else:
                await operation.handle(gateway, request)
            if refusals.filled and scope["method"] == "POST":
                refusals.forgive(*_client_of(request))
    except errors.ApiError as error:
        await _answer_error(request, operation, error)
        body_bytes = max(request.stated_length, request.read_bytes)
        refusals.count(error, *_client_of(request), body_bytes)
    except Exception:
        log.exception("request_failed", request_id=request.request_id)
        if request.downstream.has_begun:
            raise
        await _answer_error(request, operation, errors.ServerError())


def _check_door(
    gateway: Gateway, request: ApiRequest, operation: Operation | None, scope: Scope
) -> None:
    """Refuse a request in clear, during maintenance, or of a key or address often refused.

    Raise HttpsRequiredError, ServiceUnavailableError or TooManyRefusalsError. What needs no key
    (the health, which balancers ask for in clear) is always let in.
    """
    is_public = operation is not None and operation.is_public
    if gateway.limits.https_only:
        request.strict_transport = _is_encrypted(request, scope, gateway.limits.behind_proxy)
        if not (request.strict_transport or is_public):
            raise errors.HttpsRequiredError()
    # A browser shows the answer to its page only if the preflight succeeded.
    if maintenance.current.is_on and not is_public and scope["method"] != "OPTIONS":
        raise maintenance.current.error()
    if gateway.refusals.filled and not is_public:
        gateway.refusals.check(*_client_of(request))


def _client_of(request: ApiRequest) -> tuple[str, str]:
    """Return the digest of the request's key ("" without a well-formed one) and the address."""
    try:
        digest = request.key_digests()[0]
    except errors.AuthenticationError:
        digest = ""
    return digest, request.client_address()


def _operation_of(match: Match, scope: Scope) -> Operation:
    """Return the operation that serves the method. Raise UnknownUrlError, MethodNotAllowedError."""
    method: str = scope["method"]
    operation = match.operation
    if operation is None:
        raise errors.UnknownUrlError.about(method, scope["path"])
    if method not in operation.methods:
        allowed = ", ".join((*operation.methods, "OPTIONS"))
        raise errors.MethodNotAllowedError(
            Phrase(
                "Not allowed: {method}. This path takes {allowed}.", method=method, allowed=allowed
            ),
            headers={"Allow": allowed},
        )
    return operation


def _is_encrypted(request: ApiRequest, scope: Scope, behind_proxy: bool) -> bool:
    """Return whether the client's connection is encrypted.

    Behind a proxy its header X-Forwarded-Proto says so; of several values the first is the one
    nearest to the client, as Django reads it.
    """
    if not behind_proxy:
        return bool(scope["scheme"] == "https")
    stated = request.headers.get(b"x-forwarded-proto", b"")
    return stated.partition(b",")[0].strip() == b"https"


async def _answer_error(
    request: ApiRequest, operation: Operation | None, error: errors.ApiError
) -> None:
    """Send an error as the operation's dialect renders it, and read on what is still coming."""
    render = operation.render_error if operation is not None else rendered
    await request.respond_error(error, render)
    if not request.is_body_read:
        await request.drain_body()


async def _answer_preflight(request: ApiRequest, operation: Operation | None) -> None:
    """Answer a browser's question whether a page of another origin may call (Fetch, 4.8)."""
    methods = operation.methods if operation is not None else ("GET", "POST")
    # A wildcard would not cover Authorization, so every header that is asked for is allowed.
    requested = request.headers.get(b"access-control-request-headers") or ALLOWED_HEADERS
    await request.downstream.respond(
        204,
        [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-methods", ", ".join((*methods, "OPTIONS")).encode()),
            (b"access-control-allow-headers", requested),
            (b"access-control-max-age", MAX_AGE_SECONDS),
            (b"vary", b"access-control-request-headers"),
            (b"x-request-id", request.request_id.encode()),
        ],
        b"",
    )

"""A call to a route's upstream: its dialect, its body, and what the reader of its answer knows."""

from collections.abc import Mapping
from functools import partial

from api import errors
from api.catalogue.snapshot import RouteEntry
from api.dialects import link
from api.dialects.base import AnswerContext, Dialect, ParsedRequest
from api.gateway.process import Gateway
from api.gateway.quote import Quote
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream import UpstreamResponse
from api.gateway.upstream_errors import AttemptError
from billing.failpoints import ARMED, failpoint

NO_HEADERS: Mapping[str, str] = {}


def dialect_of(admitted: AdmittedRequest, route: RouteEntry) -> Dialect:
    """Return the dialect to call a route's upstream in. Raise AttemptError where none fits."""
    dialect = admitted.quote.dialect
    if route.upstream.dialect == dialect.family:
        return dialect
    found = link(dialect, route.upstream.dialect)
    if found is None:
        raise AttemptError(
            "misconfigured",
            f"an upstream of the dialect {route.upstream.dialect} can't take {dialect.name}",
        )
    return found


def is_read_on_for(gateway: Gateway, admitted: AdmittedRequest, route: RouteEntry) -> bool:
    """Return whether a route's answer is read to its end even if the client disconnects."""
    drains = route.upstream.drains_on_disconnect
    return drains or admitted.admission.key_id in gateway.cancellations.over


async def call_upstream(
    gateway: Gateway,
    admitted: AdmittedRequest,
    route: RouteEntry,
    request: ParsedRequest | None = None,
) -> tuple[UpstreamResponse, Dialect]:
    """Return the response of a route's upstream, and the dialect that it is in.

    `request` is what to ask for, if it isn't what the client asked for. Raise AttemptError.
    """
    quote, dialect = admitted.quote, dialect_of(admitted, route)
    request = request or quote.request
    upstreams = gateway.upstreams
    post = partial(
        upstreams.post,
        route.upstream,
        dialect,
        request_id=admitted.request_id,
        team_id=admitted.admission.team_id,
        forwarded=request.forwarded if dialect is quote.dialect else NO_HEADERS,
        dispatch=admitted,
    )
    try:
        response = await post(_body(quote, request, dialect, upstreams.switched(route)))
    except AttemptError as error:
        learnt = upstreams.learn(route, error)
        if learnt is None:
            raise
        response = await post(_body(quote, request, dialect, learnt))
    if ARMED:
        failpoint("after_dispatch")
    admitted.upstream_request_id = response.request_id
    return response, dialect


def _body(quote: Quote, request: ParsedRequest, dialect: Dialect, route: RouteEntry) -> bytes:
    """Return the body of a call. Raise AttemptError for what the upstream's dialect can't say."""
    try:
        return dialect.upstream_body(request, quote.model, route, quote.max_tokens)
    except errors.ApiError as error:
        raise AttemptError("unsayable", error.message, error=error) from None


def context_of(
    admitted: AdmittedRequest, route: RouteEntry, max_answer_bytes: int
) -> AnswerContext:
    """Return the context for the reader of a route's answer."""
    return AnswerContext(
        admitted.quote.request,
        admitted.quote.request.model,
        admitted.surface.reasoning_field,
        is_tagged=route.reasoning_dialect == "think",
        answer_id=admitted.request_id,
        max_event_bytes=max_answer_bytes,
    )

"""The attempts at an answer: which routes are tried, in which order, and the call of each."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

import structlog

from api.catalogue.snapshot import RouteEntry
from api.dialects.base import DialectError
from api.gateway import affinity
from api.gateway.deadlines import Deadlines
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest, clean
from api.gateway.upstream_errors import AttemptError, error_of_answer

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
# Of one upstream's keys; these are no attempts at another upstream, and cost it next to nothing.
MAX_KEY_REFUSALS = 8
BACKOFF_SECONDS = 0.1
# An upstream that was called and fell silent may still bill us.
MAX_SILENT_ATTEMPTS = 2


async def try_routes(
    gateway: Gateway,
    admitted: AdmittedRequest,
    attempt: Callable[[RouteEntry], Awaitable[None]],
    may_retry: Callable[[], bool],
    deadlines: Deadlines,
) -> None:
    """Try the model's routes until one answers.

    `attempt` calls a route's upstream; `may_retry` says whether the client has nothing of the
    answer yet. An upstream without room for the call is skipped and counts as no attempt. One that
    refuses a key is tried with its next key at once; for any other failure its keys come last.
    Raise the last attempt's AttemptError, or CancelledError if the client disconnected.
    """
    attempts = silent = refusals = 0
    last: AttemptError | None = None
    tried: dict[int, AttemptError] = {}  # by route key
    failed: dict[int, AttemptError] = {}  # by route, whatever the key
    has_breakers = len(admitted.quote.model.routes) > 1
    for route in _routes_to_try(gateway, admitted, failed):
        if before := tried.get(route.route_key) or failed.get(route.id):
            if not before.is_transient:
                continue
            await asyncio.sleep(BACKOFF_SECONDS * (1 + random.random()))
        attempting: Awaitable[AttemptError | None]
        attempting = _attempt(admitted, attempt, may_retry, deadlines, route)
        if has_breakers:
            attempting = _counted(gateway, admitted, may_retry, route, attempting)
        failure = await attempting
        if failure is None:
            return
        _return_tokens(gateway, admitted, route, failure)
        tried[route.route_key] = failure
        if not failure.is_key_fault:
            failed[route.id] = failure
        if failure.kind == "unsayable":
            # Another route's failure says more.
            last = last or failure
            continue
        last = failure
        if last.is_key_fault and route.upstream.has_other_keys:
            refusals += last.kind != "busy"
        else:
            attempts += last.kind != "busy"
        silent += last.kind in {"first_token", "idle"}
        if last.is_overload:
            gateway.upstreams.limits.of(route.upstream).reported_overload()
        if not may_retry() or not last.is_retryable or silent >= MAX_SILENT_ATTEMPTS:
            break
        if attempts == MAX_ATTEMPTS or refusals == MAX_KEY_REFUSALS:
            break
    raise last or AttemptError("connect", "the model has no route")


def _return_tokens(
    gateway: Gateway, admitted: AdmittedRequest, route: RouteEntry, failure: AttemptError
) -> None:
    """Count the tokens of a call that was refused, or never sent, no longer for its key."""
    if route.upstream.has_rates and (failure.status >= 400 or failure.kind == "connect"):
        tokens = admitted.quote.limited_tokens
        gateway.upstreams.limits.rates.count(route.upstream, 0, -tokens)


async def _counted(
    gateway: Gateway,
    admitted: AdmittedRequest,
    may_retry: Callable[[], bool],
    route: RouteEntry,
    attempting: Awaitable[AttemptError | None],
) -> AttemptError | None:
    """Await an attempt, tell the route's circuit breaker its result, and return that."""
    breakers = gateway.breakers
    began_at = breakers.now()
    try:
        failure = await attempting
        if failure is None:
            breakers.note_success(route.route_key, began_at)
        elif failure.counts_against_route or (failure.kind == "total" and may_retry()):
            routes, pause = admitted.quote.model.routes, failure.retry_after_seconds
            # Another key takes the requests, so this one can be left alone as long as it asks.
            is_paused = pause is not None and route.upstream.has_other_keys
            if not (is_paused and breakers.pause(route, routes, pause or 0)):
                reason = f"{failure.kind}: {_loggable(failure)}"
                breakers.note_failure(route, routes, began_at, reason)
    finally:
        breakers.end_trial(route.route_key, admitted.request_id)
    return failure


async def _attempt(
    admitted: AdmittedRequest,
    attempt: Callable[[RouteEntry], Awaitable[None]],
    may_retry: Callable[[], bool],
    deadlines: Deadlines,
    route: RouteEntry,
) -> AttemptError | None:
    """Make one attempt and record it. Return what went wrong, if anything."""
    began_at = time.monotonic()
    admitted.route, admitted.reader = route, None
    admitted.was_dispatched = False
    deadlines.begin_attempt(route.upstream)
    try:
        await attempt(route)
    except AttemptError as failure:
        error = failure
    except DialectError as failure:
        # Once the client has a part of the answer, only the missing rest matters.
        error = (
            error_of_answer(failure) if may_retry() else AttemptError(failure.kind, failure.detail)
        )
    except asyncio.CancelledError:
        reason = deadlines.take_reason()
        if reason is None:
            _record(
                admitted,
                began_at,
                0,
                "the client disconnected",
                was_under_way=admitted.was_dispatched,
            )
            raise
        error = AttemptError(reason, f"timed out: {reason}")
    else:
        _record(admitted, began_at, 200)
        return None
    _record(
        admitted,
        began_at,
        error.status,
        error.detail,
        was_under_way=admitted.was_dispatched and error.was_under_way,
    )
    # What the upstream did not answer costs nothing if the client disconnects before the next try.
    admitted.was_dispatched = False
    if error.is_route_fault:
        log.error(
            "route_failed",
            upstream=route.upstream.name,
            key=route.upstream.key_name,
            upstream_model=route.upstream_model,
            kind=error.kind,
            reason=_loggable(error),
            request_id=admitted.request_id,
        )
    return error


def _record(
    admitted: AdmittedRequest,
    began_at: float,
    status: int,
    error: str = "",
    *,
    was_under_way: bool = False,
) -> None:
    """Record an attempt's result. `began_at` is in `time.monotonic()` seconds."""
    now = time.monotonic()
    admitted.elapsed_ms = round((now - admitted.started_at) * 1000)
    if admitted.route is not None:
        admitted.attempts_began_at.append(began_at)
        upstream = admitted.route.upstream
        made: dict[str, object] = {
            "upstream": upstream.name,
            "upstream_model": admitted.route.upstream_model,
            "status": status,
            "ms": round((now - began_at) * 1000),
            "error": clean(error) if error else "",
        }
        if upstream.key_name:
            made["key"] = upstream.key_name
        admitted.attempts.append(made)
    if error and not admitted.is_detached:
        admitted.note_loss(was_under_way=was_under_way)


def _loggable(error: AttemptError) -> str:
    """Return an error's detail without the upstream's words, which may repeat the prompt.

    Staff find them in the request's attempts.
    """
    return error.detail if error.kind == "connect" else error.detail.partition(": ")[0]


def _routes_to_try(
    gateway: Gateway, admitted: AdmittedRequest, failed: Mapping[int, AttemptError]
) -> Iterator[RouteEntry]:
    """Yield the routes in the order to try them, and at the end the last usable one again.

    Routes that are ejected come after the others, and then the other keys of those that have
    `failed` in the meantime (by route id).
    """
    routes = admitted.quote.model.routes
    if len(routes) == 1:
        yield from routes * 2
        return
    last: RouteEntry | None = None
    ejected: list[RouteEntry] = []
    postponed: list[RouteEntry] = []
    for route in affinity.in_order(admitted):
        if route.id in failed:
            postponed.append(route)
        elif gateway.breakers.admits(route.route_key, admitted.request_id):
            yield route
            last = route
        else:
            ejected.append(route)
    yield from ejected
    yield from postponed
    yield last or ejected[-1]


def is_read_on_for(gateway: Gateway, admitted: AdmittedRequest, route: RouteEntry) -> bool:
    """Return whether a route's answer is read to its end even if the client disconnects."""
    drains = route.upstream.drains_on_disconnect
    return drains or admitted.admission.key_id in gateway.cancellations.over

"""The attempts at an answer: which routes are tried, in which order, and when to stop trying."""

import asyncio
import random
import time
from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

from api.catalogue.snapshot import RouteEntry
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError
from api.relay.plan import upstream_body
from api.relay.throttle import Throttle, work_of
from api.relay.upstream import Answer, Upstreams
from api.relay.watch import Watch
from billing.failpoints import failpoint

MAX_ATTEMPTS = 3
BACKOFF_SECONDS = 0.1
# An upstream that was asked and gave nothing in time may bill us all the same.
MAX_SILENT_ATTEMPTS = 2


class Asker(Protocol):
    """Asks a route's upstream for an answer."""

    @property
    def has_begun(self) -> bool:
        """Whether the client has a part of the answer, so that no other attempt can follow."""

    async def attempt(self, route: RouteEntry) -> None:
        """Relays the answer of a route's upstream. Raises AttemptError."""


class Responder(Asker, Protocol):
    """Relays an answer in one of its forms."""

    async def complete(self) -> None:
        """Settles the answer, and then lets its last bytes go."""

    async def apologise(self, fault: AttemptError) -> None:
        """Tells the client what went wrong."""

    async def close(self) -> None:
        """Ends the upstream's call, if one is under way."""


async def relay_answer(
    exchange: Exchange, responder: Asker, watch: Watch, throttle: Throttle
) -> None:
    """Tries the model's routes until one answers.

    An upstream without room for the call is passed over, and counts as no attempt. Raises the last
    attempt's AttemptError, or CancelledError if the client left.
    """
    asked = silent = 0
    last: AttemptError | None = None
    for route in _routes_to_try(exchange.plan.model.routes):
        if last is not None and route is exchange.route:
            if not last.is_passing:
                break
            await asyncio.sleep(BACKOFF_SECONDS * (1 + random.random()))
        last = await _attempt(exchange, responder, watch, route)
        if last is None:
            return
        asked += last.kind != "busy"
        silent += last.kind == "first_token"
        if last.is_overload:
            throttle.of(route.upstream).complained()
        if responder.has_begun or not last.is_retryable or silent >= MAX_SILENT_ATTEMPTS:
            break
        if asked == MAX_ATTEMPTS:
            break
    raise last or AttemptError("connect", "the model has no route")


async def open_answer(exchange: Exchange, upstreams: Upstreams, route: RouteEntry) -> Answer:
    """Returns the upstream's answer to the exchange's request. Raises AttemptError."""
    answer = await upstreams.post(
        route.upstream,
        exchange.plan.path,
        upstream_body(exchange.plan, route),
        exchange.request_id,
    )
    failpoint("after_dispatch")
    exchange.upstream_request_id = answer.headers.get("x-request-id", "")
    return answer


def note_speed(exchange: Exchange, answer: Answer, output_tokens: int = 0) -> None:
    """Tells the throttle that the answer has come, or the first token of a streamed one.

    `output_tokens` is roughly how long an answer in one piece is.
    """
    plan = exchange.plan
    if exchange.route is not None:
        kind = (exchange.route.upstream_model, plan.is_streamed)
        answer.came(kind, work_of(plan.prompt.likely, output_tokens))


async def _attempt(
    exchange: Exchange, responder: Asker, watch: Watch, route: RouteEntry
) -> AttemptError | None:
    """Makes one attempt and notes it. Returns what went wrong, if anything."""
    began_at = time.monotonic()
    exchange.begin_attempt(route)
    watch.begin_attempt(route.upstream)
    try:
        await responder.attempt(route)
    except AttemptError as error:
        fault = error
    except asyncio.CancelledError:
        reason = watch.take_reason()
        if reason is None:
            exchange.end_attempt(began_at, 0, "the client left")
            raise
        fault = AttemptError(reason, f"timed out: {reason}")
    else:
        exchange.end_attempt(began_at, 200)
        return None
    exchange.end_attempt(began_at, fault.status, fault.detail)
    if fault.kind in {"connect", "busy"}:
        exchange.was_dispatched = False
    return fault


def _routes_to_try(routes: tuple[RouteEntry, ...]) -> Iterator[RouteEntry]:
    """Yields routes by priority, by lot among equals; where there are few, the last one again."""
    if len(routes) == 1:
        yield from routes * 2
        return
    for _, equals in groupby(routes, key=lambda route: route.priority):
        for route in _by_lot(list(equals)):
            yield route
    yield route


def _by_lot(routes: list[RouteEntry]) -> Iterator[RouteEntry]:
    """Yields the routes in a random order in which a heavier one tends to come earlier."""
    left = list(routes)
    while len(left) > 1:
        (route,) = random.choices(left, weights=[max(1, route.weight) for route in left])
        left.remove(route)
        yield route
    yield from left

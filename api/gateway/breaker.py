"""Circuit breakers: which of a model's routes are left alone for a while, because they fail.

A route by each of its upstream's keys is a route of its own here (`RouteEntry.route_key`).

A route's breaker is *closed* while the route works. FAILURES_IN_A_ROW open it, or LEAST_FAILURES
within a window if they are half of the answers: the route is *ejected*, and the model's other
routes take its requests. When the ejection is over, the breaker is *half-open*: one request at a
time tries the route. A success closes the breaker, a failure ejects the route for twice as long.
Each DECAY_SECONDS of successes take back one doubling.

Only failures of the route or its upstream count (`AttemptError.counts_against_route`): never a
client's own, and never a refusal by our own limiter. A model's last usable route is not ejected,
and an ejected one is still tried where the others have failed, so a breaker never costs an answer.

Each process decides by itself and learns within a second what the others decided
(`count_exchange`). It is advice: losing it costs a retry. There is an object only for a route that
has failed lately, so for a healthy one a check is one look-up in a dictionary, which is mostly
empty.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import structlog

from api.catalogue.snapshot import RouteEntry, parts_of_route_key

log = structlog.get_logger(__name__)

FAILURES_IN_A_ROW = 5
WINDOW_SECONDS = 10.0
LEAST_FAILURES = 10
FAILED_SHARE = 0.5
FIRST_EJECTION_SECONDS = 5.0
LONGEST_EJECTION_SECONDS = 300.0
DECAY_SECONDS = 60.0
# By so much later than the process that ejected a route do the others try it, so that they mostly
# learn the result of its trial instead of making one each.
DEFERRAL_SECONDS = 1.0
# Of routes that have failed lately; beyond it the oldest are forgotten.
MAX_ROUTES = 10_000
# Of changes that wait to be stored.
MAX_EVENTS = 1_000

State = Literal["closed", "half_open", "open"]


class Ejection(NamedTuple):
    """A route was ejected for so many seconds, the `ejections`th time in a row, for a reason."""

    route_key: int
    ejections: int
    seconds: float
    reason: str


class Recovery(NamedTuple):
    """A route's breaker was closed."""

    route_key: int


class Breaker:
    """The breaker of one route that has failed lately. Times are the clock's seconds.

    `ends_at` is when the ejection ends, or None while the breaker is closed, and `trial` the id of
    the request that tries the route. `healthy_from` and `healthy_until` are when the breaker was
    closed and the last success since.
    """

    __slots__ = (
        "ejections",
        "ends_at",
        "failed",
        "healthy_from",
        "healthy_until",
        "in_a_row",
        "opened_at",
        "succeeded",
        "trial",
        "window_ends_at",
    )

    def __init__(self, now: float) -> None:
        self.ejections = 0
        self.in_a_row = 0
        self.failed = self.succeeded = 0
        self.window_ends_at = now
        self.opened_at = 0.0
        self.ends_at: float | None = None
        self.trial = ""
        self.healthy_from = self.healthy_until = now

    def state(self, now: float) -> State:
        """Return the breaker's state."""
        if self.ends_at is None:
            return "closed"
        return "open" if now < self.ends_at else "half_open"

    def lasting_ejections(self) -> int:
        """Return how many ejections have not yet been taken back by successes."""
        healthy_seconds = self.healthy_until - self.healthy_from
        return max(0, self.ejections - int(healthy_seconds // DECAY_SECONDS))

    def count(self, now: float, *, is_success: bool) -> None:
        """Count an answer of a closed breaker's route."""
        if now >= self.window_ends_at:
            self.window_ends_at = now + WINDOW_SECONDS
            self.failed = self.succeeded = 0
        if is_success:
            self.in_a_row = 0
            self.succeeded += 1
            self.healthy_until = now
        else:
            self.in_a_row += 1
            self.failed += 1

    def is_due(self) -> bool:
        """Return whether a closed breaker's route has failed so often that it is to be ejected."""
        if self.in_a_row >= FAILURES_IN_A_ROW:
            return True
        answers = self.failed + self.succeeded
        return self.failed >= LEAST_FAILURES and self.failed >= FAILED_SHARE * answers

    def open(self, now: float, ejections: int, seconds: float) -> None:
        """Eject the route."""
        self.ejections = ejections
        self.opened_at, self.ends_at = now, now + seconds
        self.trial = ""

    def close(self, now: float) -> None:
        """Use the route again; its ejections are remembered for a while."""
        self.ends_at, self.trial = None, ""
        self.in_a_row = self.failed = self.succeeded = 0
        self.healthy_from = self.healthy_until = now


class Breakers:
    """One process's breakers, by route key. Only models with several routes use them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._breakers: dict[int, Breaker] = {}
        self._changes: dict[int, tuple[int, float]] = {}
        self.events: deque[Ejection | Recovery] = deque(maxlen=MAX_EVENTS)

    def state(self, route_key: int) -> State:
        """Return the state of a route's breaker."""
        breaker = self._breakers.get(route_key)
        return "closed" if breaker is None else breaker.state(self.now())

    def admits(self, route_key: int, request_id: str) -> bool:
        """Return whether a request may call a route now, in its turn.

        The request that is let through a half-open breaker is its trial, which ends with the call's
        result, or with `end_trial`.
        """
        breaker = self._breakers.get(route_key)
        if breaker is None or breaker.ends_at is None:
            return True
        if breaker.trial or self.now() < breaker.ends_at:
            return False
        breaker.trial = request_id
        return True

    def end_trial(self, route_key: int, request_id: str) -> None:
        """End a request's trial that says nothing about the route, if it is one."""
        breaker = self._breakers.get(route_key)
        if breaker is not None and breaker.trial == request_id:
            breaker.trial = ""

    def note_first_token(self, route_key: int, request_id: str) -> None:
        """Close the breaker whose trial is a stream that has begun: it may run for minutes."""
        breaker = self._breakers.get(route_key)
        if breaker is not None and breaker.trial == request_id:
            self._close(route_key, breaker)

    def note_success(self, route_key: int, began_at: float) -> None:
        """Count an answer to a call that began at `began_at`, by this object's clock.

        A call that began before the route was ejected says nothing about the route now.
        """
        breaker = self._breakers.get(route_key)
        if breaker is None:
            return
        if breaker.ends_at is not None:
            if began_at >= breaker.opened_at:
                self._close(route_key, breaker)
            return
        now = self.now()
        breaker.count(now, is_success=True)
        if not breaker.failed and not breaker.lasting_ejections():
            del self._breakers[route_key]

    def note_failure(
        self, route: RouteEntry, routes: Sequence[RouteEntry], began_at: float, reason: str
    ) -> None:
        """Count a failure of a call that began at `began_at`, and eject the route if it is due.

        `routes` are the model's: the last one that is usable stays. `reason` is for staff.
        """
        now = self.now()
        breaker = self._breakers.get(route.route_key)
        if breaker is None:
            breaker = self._add(route.route_key, now)
        if breaker.ends_at is not None:
            # What fails during an ejection, or was sent before it, is no news.
            if began_at >= breaker.opened_at and now >= breaker.ends_at:
                self._eject(route, breaker, breaker.ejections + 1, reason)
            return
        breaker.count(now, is_success=False)
        if breaker.is_due() and self._has_another(route, routes):
            self._eject(route, breaker, breaker.lasting_ejections() + 1, reason)

    def pause(self, route: RouteEntry, routes: Sequence[RouteEntry], seconds: float) -> bool:
        """Give a route no calls for so many seconds, as its upstream asks; return whether it is so.

        The last of the model's `routes` that is usable is not paused. No ejection is counted.
        """
        if not self._has_another(route, routes):
            return False
        now, seconds = self.now(), min(seconds, LONGEST_EJECTION_SECONDS)
        breaker = self._breakers.get(route.route_key) or self._add(route.route_key, now)
        if breaker.ends_at is None or breaker.ends_at < now + seconds:
            breaker.open(now, breaker.ejections, seconds)
            self._changes[route.route_key] = (breaker.ejections, seconds)
        return True

    def _has_another(self, route: RouteEntry, routes: Sequence[RouteEntry]) -> bool:
        """Return whether another of the routes is usable."""
        own = route.route_key
        return any(
            self.state(each.route_key) == "closed" for each in routes if each.route_key != own
        )

    def take_changes(self) -> dict[int, tuple[int, float]]:
        """Return what this process has decided of each route since the last call.

        That is how often in a row the route was ejected, and for how many seconds; 0 if its breaker
        was closed.
        """
        changes, self._changes = self._changes, {}
        return changes

    def add(self, route_key: int, ejections: int, seconds: float) -> None:
        """Apply another process's decision; see `take_changes`."""
        now = self.now()
        breaker = self._breakers.get(route_key)
        if not seconds > 0:
            if breaker is not None and breaker.ends_at is not None:
                breaker.close(now)
            return
        seconds = min(seconds, LONGEST_EJECTION_SECONDS) + DEFERRAL_SECONDS
        if breaker is None:
            breaker = self._add(route_key, now)
        if breaker.ends_at is None or breaker.ends_at < now + seconds:
            breaker.open(now, max(ejections, breaker.ejections), seconds)

    def _add(self, route_key: int, now: float) -> Breaker:
        breaker = self._breakers[route_key] = Breaker(now)
        if len(self._breakers) > MAX_ROUTES:
            del self._breakers[next(iter(self._breakers))]
        return breaker

    def _eject(self, route: RouteEntry, breaker: Breaker, ejections: int, reason: str) -> None:
        doublings = min(ejections - 1, 16)
        seconds = min(FIRST_EJECTION_SECONDS * 2**doublings, LONGEST_EJECTION_SECONDS)
        breaker.open(self.now(), ejections, seconds)
        self._changes[route.route_key] = (ejections, seconds)
        self.events.append(Ejection(route.route_key, ejections, seconds, reason))
        log.error(
            "route_ejected",
            upstream=route.upstream.name,
            key=route.upstream.key_name,
            upstream_model=route.upstream_model,
            seconds=seconds,
            ejections=ejections,
            reason=reason,
        )

    def _close(self, route_key: int, breaker: Breaker) -> None:
        breaker.close(self.now())
        self._changes[route_key] = (breaker.ejections, 0.0)
        self.events.append(Recovery(route_key))
        route_id, key_id = parts_of_route_key(route_key)
        log.info("route_recovered", route_id=route_id, key_id=key_id)

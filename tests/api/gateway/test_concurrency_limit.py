"""The adaptive limit of an upstream's calls, on a simulated upstream and a simulated clock."""

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from api.catalogue.snapshot import RouteEntry, UpstreamEntry
from api.gateway.concurrency_limit import CEILING, FLOOR, ConcurrencyLimits, Limiter, work_of
from api.gateway.upstream_errors import UpstreamBusyError

MOST = 512


class World:
    """A clock, an upstream with so many servers behind a queue, and clients that keep calling.

    `refuses_above` lets it answer 429 when so many calls are under way. A client who is told to
    wait does so; others call again at once.
    """

    def __init__(self, *, servers: int = MOST, refuses_above: int | None = None) -> None:
        self.now = 0.0
        self.limiter = Limiter(lambda: self.now)
        self.servers = servers
        self.refuses_above = refuses_above
        self.outcomes: Counter[str] = Counter()
        self.limits: list[float] = []
        self._chance = random.Random(7)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._free_at: list[float] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def add_clients(self, count: int, work: Callable[[], float] = lambda: 1.0) -> None:
        for _ in range(count):
            self.at(self.now + self._chance.random(), lambda: self._call(work))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
            self.limits.append(min(self.limiter.limit, MOST))
        self.now = until

    def _call(self, work: Callable[[], float]) -> None:
        if not self.limiter.enter(MOST):
            wait = self.limiter.next_place_seconds(MOST)
            self.outcomes["throttled"] += 1
            self.at(self.now + wait, lambda: self._call(work))
            return
        began_at = self.now
        if self.refuses_above is not None and self.limiter.in_flight > self.refuses_above:
            self.at(self.now + 0.02, lambda: self._refuse(began_at, work))
            return
        size = work()
        self._free_at = [when for when in self._free_at if when > self.now]
        begins_at = self.now
        if len(self._free_at) >= self.servers:
            begins_at = sorted(self._free_at)[len(self._free_at) - self.servers]
        ends_at = begins_at + 0.2 * size * (1 + self._chance.random() / 4)
        self._free_at.append(ends_at)
        self.at(ends_at, lambda: self._answer(began_at, size, work))

    def _answer(self, began_at: float, size: float, work: Callable[[], float]) -> None:
        self.outcomes["answered"] += 1
        self.limiter.answered("model", self.now - began_at, size)
        self.limiter.leave(began_at)
        self._call(work)

    def _refuse(self, began_at: float, work: Callable[[], float]) -> None:
        self.outcomes["refused"] += 1
        self.limiter.reported_overload()
        self.limiter.leave(began_at)
        self.at(self.now + 1, lambda: self._call(work))


def test_an_upstream_that_never_complains_keeps_what_its_row_allows():
    world = World()
    world.add_clients(400)
    world.run(30)

    assert world.limiter.limit == CEILING
    assert world.outcomes["throttled"] == 0


def test_answers_of_429_bring_the_limit_to_what_the_upstream_takes():
    world = World(refuses_above=20)
    world.add_clients(100)
    world.run(30)
    world.outcomes.clear()
    world.limits.clear()
    world.run(60)

    assert 12 <= min(world.limits) <= max(world.limits) <= 32
    # Nearly all that is asked of it is answered, though five times as much would like to be.
    assert world.outcomes["refused"] < world.outcomes["answered"] / 10
    assert world.outcomes["throttled"] > world.outcomes["refused"]


def test_a_queue_in_the_upstream_brings_the_limit_down():
    world = World(servers=20)
    world.add_clients(10)
    world.run(20)
    assert world.limiter.limit == CEILING

    world.add_clients(190)  # now answers take ten times as long
    world.run(60)
    world.limits.clear()
    world.outcomes.clear()
    world.run(30)

    assert max(world.limits) <= 100
    assert min(world.limits) >= 10
    # The servers are kept busy all the same: 20 of them at 0.2 to 0.25 s an answer.
    assert world.outcomes["answered"] > 30 * 20 / 0.25 * 0.9


def test_the_limit_recovers_within_a_minute_of_calm():
    world = World(refuses_above=5)
    world.add_clients(50)
    world.run(20)
    assert world.limiter.limit < 20

    world.refuses_above = None
    world.run(60)

    assert world.limiter.limit > MOST


def test_the_limit_recovers_while_nobody_calls():
    world = World(refuses_above=1)
    world.add_clients(50)
    world.run(20)
    assert world.limiter.limit < 20
    world._events.clear()
    world.limiter.in_flight = 0

    world.run(600)

    assert sum(world.limiter.enter(MOST) for _ in range(600)) == MOST


def test_the_limit_never_falls_below_its_floor():
    world = World(refuses_above=0)
    world.add_clients(50)
    world.run(60)

    assert world.limiter.limit >= FLOOR
    assert min(world.limits) >= FLOOR


def test_a_few_complaints_are_not_believed():
    world = World()
    world.add_clients(200)
    for second in range(30):
        for _ in range(2):
            world.at(second + 0.5, world.limiter.reported_overload)
    world.run(30)

    assert world.limiter.limit == CEILING


def test_long_requests_are_no_slowness():
    """A night of long texts after a day of short ones costs time by its own length."""
    world = World()
    world.add_clients(50, lambda: 1.0)
    world.run(20)
    world._events.clear()
    world.limiter.in_flight = 0
    world.add_clients(50, lambda: work_of(50_000, 2_000))
    world.run(600)

    assert world.limiter.limit == CEILING


def test_retry_after_is_when_there_is_room():
    """With a limit of 4 and answers that take 2 s, a place comes free every half a second."""
    now = 0.0
    limiter = Limiter(lambda: now)
    calls = [limiter.enter(4) for _ in range(4)]
    assert all(calls)
    now = 2.0
    for _ in range(4):
        limiter.leave(0.0)
        assert limiter.enter(4)

    waits = [limiter.next_place_seconds(4) for _ in range(8)]

    assert waits == [1, 1, 2, 2, 3, 3, 4, 4]
    now = 6.0  # they had their turn, or did not come
    assert limiter.next_place_seconds(4) == 1


def test_retry_after_has_a_bound_and_is_at_least_a_second():
    limiter = Limiter(lambda: 0.0)
    waits = [limiter.next_place_seconds(1) for _ in range(1000)]
    assert min(waits) == 1
    assert max(waits) == 60


def upstream(number: int, most: int) -> UpstreamEntry:
    return UpstreamEntry(
        id=number,
        name=f"upstream-{number}",
        base_url="http://upstream.invalid",
        api_key_env="",
        max_concurrency=most,
        connect_timeout_seconds=5,
        first_token_timeout_seconds=120,
        idle_timeout_seconds=60,
        total_timeout_seconds=900,
        drains_on_disconnect=False,
    )


def route(number: int, most: int = 1) -> RouteEntry:
    return RouteEntry(
        id=number,
        upstream=upstream(number, most),
        upstream_model="m",
        priority=0,
        weight=1,
        reasoning_dialect="reasoning_content",
    )


def test_a_request_is_refused_only_when_no_route_has_room():
    throttle = ConcurrencyLimits()
    first, second = route(1), route(2)
    assert throttle.of(first.upstream).enter(1)
    assert throttle.expect([first, second]) is throttle.of(second.upstream)

    with pytest.raises(UpstreamBusyError) as refusal:
        throttle.expect([first, second])

    assert refusal.value.status == 429
    assert refusal.value.code == "rate_limit_exceeded"
    assert refusal.value.headers["Retry-After"] == "1"


def test_a_row_that_staff_change_holds_at_once():
    throttle = ConcurrencyLimits()
    assert throttle.of(route(1).upstream).enter(1)
    with pytest.raises(UpstreamBusyError):
        throttle.expect([route(1)])
    throttle.expect([route(1, most=2)])


def test_a_place_that_is_expected_is_nobody_elses():
    throttle = ConcurrencyLimits()
    limiter = throttle.expect([route(1)])
    with pytest.raises(UpstreamBusyError):
        throttle.expect([route(1)])
    limiter.expected -= 1
    assert limiter.enter(1)
    assert not limiter.enter(1)


def test_a_call_costs_about_a_microsecond():
    limiter = Limiter()

    def call() -> None:
        assert limiter.has_room(MOST)
        assert limiter.enter(MOST)
        limiter.answered("model", 0.5, 1.0)
        limiter.leave(0.0)

    best = min(_seconds(call, 2_000) for _ in range(10))
    assert best / 2_000 < 10e-6  # ten times what it is, for machines that are busy


def _seconds(call: Callable[[], None], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        call()
    return time.thread_time() - began

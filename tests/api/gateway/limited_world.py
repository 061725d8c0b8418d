"""An upstream with a limit of calls, its clients, and a simulated clock."""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from api.gateway.concurrency_limit import Limiter
from api.gateway.deadlines import TICK_SECONDS

MOST = 512


class World:
    """A clock, an upstream with so many servers behind a queue, and clients that keep calling.

    `refuses_above` lets it answer 429 when so many calls are under way. A client who is told to
    wait does so; others call again at once. Each is a team of its own.
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
        self._tick(0.0)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def add_clients(self, count: int, work: Callable[[], float] = lambda: 1.0) -> None:
        for _ in range(count):
            team_id = next(self._numbers)
            self.at(self.now + self._chance.random(), partial(self._call, team_id, work))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
            self.limits.append(min(self.limiter.limit, MOST))
        self.now = until

    def clear(self) -> None:
        """Forget all clients and their calls."""
        self._events.clear()
        self._tick(self.now)
        self.limiter.in_flight = 0
        self.limiter.calls_of.clear()

    def _tick(self, due_at: float) -> None:
        self.limiter.tick(self.now - due_at)
        self.at(self.now + TICK_SECONDS, partial(self._tick, self.now + TICK_SECONDS))

    def _call(self, team_id: int, work: Callable[[], float]) -> None:
        if not self.limiter.enter(MOST, team_id):
            wait = self.limiter.next_place_seconds(MOST)
            self.outcomes["throttled"] += 1
            self.at(self.now + wait, partial(self._call, team_id, work))
            return
        began_at = self.now
        if self.refuses_above is not None and self.limiter.in_flight > self.refuses_above:
            self.at(self.now + 0.02, partial(self._refuse, team_id, began_at, work))
            return
        size = work()
        self._free_at = [when for when in self._free_at if when > self.now]
        begins_at = self.now
        if len(self._free_at) >= self.servers:
            begins_at = sorted(self._free_at)[len(self._free_at) - self.servers]
        ends_at = begins_at + 0.2 * size * (1 + self._chance.random() / 4)
        self._free_at.append(ends_at)
        self.at(ends_at, partial(self._answer, team_id, began_at, size, work))

    def _answer(
        self, team_id: int, began_at: float, size: float, work: Callable[[], float]
    ) -> None:
        self.outcomes["answered"] += 1
        self.limiter.answered("model", self.now - began_at, size)
        self.limiter.leave(began_at, team_id)
        self._call(team_id, work)

    def _refuse(self, team_id: int, began_at: float, work: Callable[[], float]) -> None:
        self.outcomes["refused"] += 1
        self.limiter.reported_overload()
        self.limiter.leave(began_at, team_id)
        self.at(self.now + 1, partial(self._call, team_id, work))

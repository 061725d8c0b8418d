"""Adaptive concurrency limits: how many calls an upstream gets at once, from how it answers.

Each process keeps a limiter per key of an upstream. The limit starts at what their rows allow
(`max_concurrency`) and stays there until the upstream shows signs of overload. Two signs count,
once per window (a second, or longer where answers take longer):

- overload responses: 429, and first tokens that didn't come in time. Three in a window, and a tenth
  of its answers, are a sign; fewer may be one customer's bad luck, and at such low traffic a limit
  would bind nobody.
- slowness: even the window's fastest answer took twice as long as the best so far. The fastest,
  since queueing delays every answer, while a long prompt or a long text delays only its own. To be
  comparable, seconds are divided by the request's work (`work_of`), and each model is compared with
  itself. Time that this process itself may have lost, because its event loop was late, is not the
  upstream's: a burst that keeps the process busy must not cut the limit for everyone.

A sign cuts the limit below the peak of the window. Calm raises it, slowly in the first seconds and
then by its square root each second, so that four become five hundred within a minute, used or not.
It is AIMD with a gradient, as in TCP Vegas and CUBIC.

Requests beyond the limit get 429 before anything is reserved, unless another route has room. Their
Retry-After comes from a virtual queue: places come free every (mean duration / limit) seconds, and
each refused caller is told the next place that nobody was told yet.

Slots are shared fairly among teams. A team may start another call only while its running calls
number fewer than SHARE times the slots that would remain free (Choudhury and Hahne's dynamic
thresholds, IEEE/ACM Transactions on Networking 6(2), 1998). One team alone can use four fifths of
the slots, two can use four ninths each. The rest stays free for teams with few calls, because a
running stream can't be preempted. A team without a running call gets any free slot.

After a cut, more calls may be running than the limit allows. So that other teams don't wait for one
team's calls to end, each team's calls then count only up to its share.

A call costs 2.4 µs here. Nothing waits, and processes share nothing: rows limit each of them.
"""

import math
import time
from collections.abc import Callable, Hashable, Sequence

from api.catalogue.snapshot import RouteEntry, UpstreamEntry
from api.gateway.key_rates import KeyRates
from api.gateway.upstream_errors import AttemptError, UpstreamBusyError

# How many times as many calls a team may have as are left for the others.
SHARE = 4
# Calls of keys whose team this process doesn't know yet are counted together.
UNKNOWN_TEAM = 0
# Of keys whose team is remembered; beyond it the oldest are forgotten.
MAX_KEYS = 20_000
FLOOR = 4.0
# A limit this high is as good as none; the upstream's row still bounds it.
CEILING = 100_000.0
WINDOW_SECONDS = 1.0
LONGEST_WINDOW_SECONDS = 30.0
OVERLOADS = 3
OVERLOADS_SHARE = 0.1
CUT = 0.75
DEEPEST_CUT = 0.5
CALM_SECONDS = 10.0
# Fewer answers of a model say too little about its speed.
LEAST_ANSWERS = 8
SLOWNESS = 2.0
# A tenth of a second more is no queue, however fast the best was.
SLACK_SECONDS = 0.1
# How often a call waits for this process's event loop: to connect, to send, to read, to resume.
LOOP_TURNS = 6
# By so much the memory of the best fades with each window, so that a lasting change becomes normal.
FADING = 1.003
LONGEST_WAIT_SECONDS = 60
PROMPT_TOKENS_OF_WORK = 2_000
OUTPUT_TOKENS_OF_WORK = 25


def work_of(prompt_tokens: int, output_tokens: int = 0, images: int = 0) -> float:
    """Return how many times as long as the smallest a request may take, to compare their times.

    `output_tokens` are those that came before the time was taken: none for a stream's first token.
    Where `images` are made, nothing but their number counts.
    """
    if images:
        return images
    return 1 + prompt_tokens / PROMPT_TOKENS_OF_WORK + output_tokens / OUTPUT_TOKENS_OF_WORK


class _Speed:
    """The times of one kind of answers: the best so far, and this window's. By unit of work."""

    __slots__ = ("answers", "best", "fastest")

    def __init__(self) -> None:
        self.best = math.inf
        self.fastest = math.inf
        self.answers = 0

    def gradient(self, slack_seconds: float) -> float:
        """End a window. Return 1 if it was as fast as ever, less if it was slower.

        Slower by at most `slack_seconds` counts as equally fast.
        """
        fastest, answers = self.fastest, self.answers
        self.fastest, self.answers = math.inf, 0
        if answers < LEAST_ANSWERS:
            return 1.0
        best, self.best = self.best, min(self.best * FADING, fastest)
        if best == math.inf or fastest <= max(best * SLOWNESS, best + slack_seconds):
            return 1.0
        return best * SLOWNESS / fastest


class Limiter:
    """How many calls one upstream gets at once from this process.

    `in_flight` calls are running; `expected` ones wait for the ledger's admission. `calls_of` are
    both together, of each team that has any.
    """

    __slots__ = (
        "_answers",
        "_calm_seconds",
        "_held_seconds",
        "_lag_before",
        "_lag_seconds",
        "_overloads",
        "_peak",
        "_promised_at",
        "_speeds",
        "_window_began_at",
        "_window_ends_at",
        "calls_of",
        "expected",
        "in_flight",
        "limit",
        "now",
    )

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.limit = CEILING
        self.in_flight = 0
        self.expected = 0
        self.calls_of: dict[int, int] = {}
        self._peak = 0
        self._calm_seconds = 0.0
        self._answers = 0
        self._overloads = 0
        self._speeds: dict[Hashable, _Speed] = {}
        self._held_seconds = 0.0
        self._lag_before = self._lag_seconds = 0.0
        self._promised_at = 0.0
        self._window_began_at = now()
        self._window_ends_at = self._window_began_at + WINDOW_SECONDS

    def has_room(self, most: int, team_id: int) -> bool:
        """Return whether a team's call may begin now; `most` is what the upstream's row allows."""
        calls = self.in_flight + self.expected
        mine = self.calls_of.get(team_id, 0)
        limit = self.limit
        free = (limit if limit < most else most) - calls
        if free > 0 and (not mine or mine < SHARE * (free - 1)):
            return True
        return free <= 0 and calls < most and self._is_owed_a_place(mine)

    def is_full(self, most: int) -> bool:
        """Return whether there is no place, whoever asks."""
        return self.in_flight + self.expected >= min(self.limit, most)

    def enter(self, most: int, team_id: int) -> bool:
        """Begin a team's call if there is room, and return whether it did; `leave` ends it."""
        if not self.has_room(most, team_id):
            return False
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        self.calls_of[team_id] = self.calls_of.get(team_id, 0) + 1
        return True

    def expect(self, team_id: int) -> None:
        """Keep a place for a team's call; `forget` gives it back."""
        self.expected += 1
        self.calls_of[team_id] = self.calls_of.get(team_id, 0) + 1

    def forget(self, team_id: int) -> None:
        """Give back a place that was kept for a team's call."""
        self.expected -= 1
        self._uncount(team_id)

    def leave(self, began_at: float, team_id: int) -> None:
        """End a team's call that began at `began_at`, by this limiter's clock."""
        self.in_flight -= 1
        self._uncount(team_id)
        held = self.now() - began_at
        # The first call's time counts whole, later ones a tenth each.
        self._held_seconds += (held - self._held_seconds) * (0.1 if self._held_seconds else 1)

    def _uncount(self, team_id: int) -> None:
        left = self.calls_of[team_id] - 1
        if left:
            self.calls_of[team_id] = left
        else:
            del self.calls_of[team_id]

    def _is_owed_a_place(self, mine: int) -> bool:
        """Return whether a team with so many calls gets a place above the limit after a cut."""
        if self.in_flight < self.limit + 1:
            return False
        teams = len(self.calls_of)
        share = max(1.0, self.limit * SHARE / (1 + SHARE * teams))
        if mine + 1 > share:
            return False
        return sum([min(calls, share) for calls in self.calls_of.values()]) < self.limit

    def answered(self, kind: Hashable, seconds: float, work: float) -> None:
        """Note that an answer, or its first token, came after so many seconds.

        Those of one `kind` (a model's, streamed or not) are compared with each other.
        """
        speed = self._speeds.get(kind)
        if speed is None:
            speed = self._speeds[kind] = _Speed()
        speed.answers += 1
        seconds /= work
        speed.fastest = min(speed.fastest, seconds)
        self._answers += 1

    def reported_overload(self) -> None:
        """Record a 429, or a first token that did not come in time."""
        self._overloads += 1

    def next_place_seconds(self, most: int) -> int:
        """Return in how many whole seconds a caller that is refused now likely finds room."""
        now = self.now()
        places = max(1.0, min(self.limit, most))
        self._promised_at = max(self._promised_at, now) + (self._held_seconds or 1.0) / places
        # Those who were told a place may not come back for it, so there is an end to the queue.
        self._promised_at = min(self._promised_at, now + LONGEST_WAIT_SECONDS)
        return max(1, math.ceil(self._promised_at - now))

    def tick(self, lag_seconds: float) -> None:
        """End the window if it is due. `lag_seconds` is how late this process's event loop is.

        Answers that waited with this tick for the loop may come before it or after it.
        """
        self._lag_seconds = max(self._lag_seconds, lag_seconds)
        now = self.now()
        if now >= self._window_ends_at:
            # Time in which nobody called belongs to no window: it is calm.
            calm = now - self._window_ends_at
            self._judge(self._window_ends_at - self._window_began_at)
            self._grow(calm)
            self._peak = self.in_flight
            self._answers = self._overloads = 0
            self._lag_before, self._lag_seconds = self._lag_seconds, 0.0
            self._window_began_at = now
            # A cut shows only in the answers to calls that began after it.
            window = min(max(WINDOW_SECONDS, self._held_seconds), LONGEST_WINDOW_SECONDS)
            self._window_ends_at = now + window

    def _judge(self, seconds: float) -> None:
        """Set the limit by what a window of so many seconds showed."""
        slack = SLACK_SECONDS + LOOP_TURNS * max(self._lag_before, self._lag_seconds)
        gradient = min((speed.gradient(slack) for speed in self._speeds.values()), default=1.0)
        overloads = self._overloads
        share = OVERLOADS_SHARE * (self._answers + overloads)
        if overloads >= OVERLOADS and overloads >= share:
            gradient = min(gradient, CUT)
        if gradient < 1.0:
            reached = min(self.limit, self._peak)
            self.limit = max(FLOOR, reached * max(gradient, DEEPEST_CUT))
            self._calm_seconds = 0.0
        else:
            self._grow(seconds)

    def _grow(self, seconds: float) -> None:
        """Raise the limit for so many calm seconds: by its square root each, at full speed.

        The speed comes over the first CALM_SECONDS, so that the limit stays a while where the last
        sign showed the upstream's capacity to be.
        """
        before = self._calm_seconds
        self._calm_seconds += seconds
        full_speed_seconds = _ramp(self._calm_seconds) - _ramp(before)
        self.limit = min(CEILING, (math.sqrt(self.limit) + full_speed_seconds / 2) ** 2)


def _ramp(seconds: float) -> float:
    """Return the distance covered from rest by a speed that grows to 1 over CALM_SECONDS."""
    if seconds < CALM_SECONDS:
        return seconds * seconds / (2 * CALM_SECONDS)
    return seconds - CALM_SECONDS / 2


class Place:
    """A place that is kept for a call while the ledger is asked for its admission."""

    __slots__ = ("_digest", "_limiter", "_team_id", "_teams")

    def __init__(self, limiter: Limiter, teams: dict[str, int], digest: str, team_id: int) -> None:
        limiter.expect(team_id)
        self._limiter = limiter
        self._teams = teams
        self._digest = digest
        self._team_id = team_id

    def give_back(self, team_id: int) -> None:
        """Give the place back; the ledger says whose the key is, or UNKNOWN_TEAM."""
        self._limiter.forget(self._team_id)
        if team_id not in (self._team_id, UNKNOWN_TEAM):
            self._teams[self._digest] = team_id
            if len(self._teams) > MAX_KEYS:
                del self._teams[next(iter(self._teams))]


class RunningCall:
    """A team's call that has begun, and is to be ended once."""

    __slots__ = ("_began_at", "_limiter", "_team_id")

    def __init__(self, limiter: Limiter, team_id: int) -> None:
        self._limiter = limiter
        self._team_id = team_id
        self._began_at = limiter.now()

    def note_first_token(self, kind: Hashable, prompt_tokens: int) -> None:
        """Note that the answer's first token has come. See `Limiter.answered`."""
        seconds = self._limiter.now() - self._began_at
        self._limiter.answered(kind, seconds, work_of(prompt_tokens))

    def finish(self, kind: Hashable, prompt_tokens: int, output_tokens: int, images: int) -> None:
        """End the call, whose whole answer has come. See `Limiter.answered` and `work_of`."""
        work = work_of(prompt_tokens, output_tokens, images)
        self._limiter.answered(kind, self._limiter.now() - self._began_at, work)
        self.end()

    def end(self) -> None:
        """End the call, whatever its result."""
        self._limiter.leave(self._began_at, self._team_id)


class ConcurrencyLimits:
    """This process's limiters, by upstream and key, and the teams of the keys that it has seen."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limiters: dict[tuple[int, int], Limiter] = {}
        self.rates = KeyRates(now)
        self.teams: dict[str, int] = {}  # of the keys that the ledger knew, by digest

    def of(self, upstream: UpstreamEntry) -> Limiter:
        """Return the limiter of the upstream's key."""
        place = upstream.id, upstream.key_id
        if (limiter := self._limiters.get(place)) is None:
            limiter = self._limiters[place] = Limiter(self._now)
        return limiter

    def most_of(self, upstream: UpstreamEntry) -> int:
        """Return the most calls that the upstream's key may have: what its other keys leave it."""
        most = upstream.max_concurrency
        if upstream.has_other_keys:
            for (upstream_id, key_id), other in self._limiters.items():
                if upstream_id == upstream.id and key_id != upstream.key_id:
                    most -= other.in_flight + other.expected
        own = upstream.key_max_concurrency
        return most if own is None else min(most, own)

    def tick(self, lag_seconds: float) -> None:
        """End the windows that are due. See `Limiter.tick`."""
        for limiter in self._limiters.values():
            limiter.tick(lag_seconds)

    def enter(self, upstream: UpstreamEntry, team_id: int) -> RunningCall:
        """Begin a team's call. Raise AttemptError if there is no room for it."""
        limiter, most = self.of(upstream), self.most_of(upstream)
        if upstream.has_rates and (wait := self.rates.wait_seconds(upstream)):
            detail = f"the key's limit per minute is reached for {wait} s"
            raise AttemptError("busy", detail, error=UpstreamBusyError.for_wait(wait))
        if not limiter.enter(most, team_id):
            mine = limiter.calls_of.get(team_id, 0)
            detail = f"{limiter.in_flight} calls are under way, {mine} of them the team's"
            wait, is_full = limiter.next_place_seconds(most), limiter.is_full(most)
            raise AttemptError("busy", detail, error=UpstreamBusyError.for_wait(wait, is_full))
        return RunningCall(limiter, team_id)

    def expect(self, routes: Sequence[RouteEntry], digest: str) -> Place:
        """Keep a place, at the first of the routes' upstreams that has one, for a key's call.

        Calls that ask the ledger at the same time are thus not all promised the last place. Give
        the place back when the ledger has answered. Raise UpstreamBusyError if there is no place.
        """
        team_id = self.teams.get(digest, UNKNOWN_TEAM)
        for upstream in [route.upstream for route in routes]:
            if upstream.has_rates and self.rates.wait_seconds(upstream):
                continue
            if (limiter := self.of(upstream)).has_room(self.most_of(upstream), team_id):
                return Place(limiter, self.teams, digest, team_id)
        waits, is_full = [], True
        for upstream in [route.upstream for route in routes]:
            limiter, most = self.of(upstream), self.most_of(upstream)
            rate_wait = upstream.has_rates and self.rates.wait_seconds(upstream)
            waits.append(rate_wait or limiter.next_place_seconds(most))
            is_full = is_full and (rate_wait > 0 or limiter.is_full(most))
        raise UpstreamBusyError.for_wait(min(waits), is_full)

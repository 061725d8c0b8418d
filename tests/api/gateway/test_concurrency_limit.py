"""The adaptive limit of an upstream's calls, on a simulated upstream and a simulated clock."""

import time
from collections.abc import Callable

import pytest

from api.catalogue.snapshot import RouteEntry, UpstreamEntry
from api.gateway.concurrency_limit import (
    CEILING,
    FLOOR,
    ConcurrencyLimits,
    Limiter,
    work_of,
)
from api.gateway.upstream_errors import AttemptError, UpstreamBusyError
from tests.api.gateway.limited_world import MOST, World


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
    world.clear()

    world.run(600)

    assert sum(world.limiter.enter(MOST, team_id) for team_id in range(600)) == MOST


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
    world.clear()
    world.add_clients(50, lambda: work_of(50_000, 2_000))
    world.run(600)

    assert world.limiter.limit == CEILING


def test_time_that_this_process_lost_is_not_the_upstreams():
    """A burst keeps the event loop busy for 0.3 s at a time; what waited for it says nothing."""
    world = World()
    world.add_clients(50)
    world.run(20)

    def slow_answers(seconds: float) -> None:
        for _ in range(20):
            world.limiter.answered("model", seconds, 1.0)

    def window(seconds: float, lag_seconds: float) -> None:
        world.now += 1.5
        slow_answers(seconds)
        world.limiter.tick(lag_seconds)

    world.clear()
    window(0.2, 0.0)
    window(1.5, 0.3)
    assert world.limiter.limit == CEILING
    window(1.5, 0.01)  # the rest of what waited
    assert world.limiter.limit == CEILING

    window(1.5, 0.01)
    assert world.limiter.limit < MOST


def test_retry_after_is_when_there_is_room():
    """With a limit of 4 and answers that take 2 s, a place comes free every half a second."""
    now = 0.0
    limiter = Limiter(lambda: now)
    calls = [limiter.enter(4, team_id) for team_id in range(4)]
    assert all(calls)
    now = 2.0
    for team_id in range(4):
        limiter.leave(0.0, team_id)
        assert limiter.enter(4, team_id)

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
    throttle.enter(first.upstream, 1)
    throttle.expect([first, second], "key")
    assert throttle.of(second.upstream).expected == 1

    with pytest.raises(UpstreamBusyError) as refusal:
        throttle.expect([first, second], "key")

    assert refusal.value.status == 429
    assert refusal.value.code == "rate_limit_exceeded"
    assert refusal.value.headers["Retry-After"] == "1"
    assert refusal.value.message == UpstreamBusyError.default_message


def test_a_row_that_staff_change_holds_at_once():
    throttle = ConcurrencyLimits()
    throttle.enter(route(1).upstream, 1)
    with pytest.raises(UpstreamBusyError):
        throttle.expect([route(1)], "key")
    throttle.expect([route(1, most=2)], "key")


def test_a_place_that_is_expected_is_nobody_elses():
    throttle = ConcurrencyLimits()
    place = throttle.expect([route(1)], "key")
    with pytest.raises(UpstreamBusyError):
        throttle.expect([route(1)], "another key")
    place.give_back(1)
    throttle.enter(upstream(1, 1), 1)
    with pytest.raises(AttemptError):
        throttle.enter(upstream(1, 1), 2)


def entered(limiter: Limiter, most: int, *team_ids: int) -> dict[int, int]:
    """Let teams call in turn until none gets another place. Return the calls of each."""
    while [team_id for team_id in team_ids if limiter.enter(most, team_id)]:
        pass
    return dict(limiter.calls_of)


@pytest.mark.parametrize(
    ("most", "teams", "each", "left"),
    [(512, 1, 409, 103), (512, 2, 227, 57), (512, 10, 49, 13), (5, 1, 4, 1), (2, 1, 1, 1)],
)
def test_teams_that_want_all_get_equal_shares_and_leave_places_for_others(
    most: int, teams: int, each: int, left: int
) -> None:
    limiter = Limiter()
    calls = entered(limiter, most, *range(1, teams + 1))

    assert most - limiter.in_flight == left
    assert max(calls.values()) <= each + 1
    assert min(calls.values()) >= each
    assert all(limiter.enter(most, 1_000 + newcomer) for newcomer in range(left))
    assert not limiter.enter(most, 2_000)


def test_a_team_with_more_calls_waits_for_one_with_fewer():
    limiter = Limiter()
    entered(limiter, 100, 1)
    assert entered(limiter, 100, 2)[2] < limiter.calls_of[1]
    first, second = limiter.calls_of[1], limiter.calls_of[2]
    for _ in range(first - second):
        limiter.leave(0.0, 1)
        assert not limiter.enter(100, 1) or limiter.calls_of[1] <= limiter.calls_of[2] + 1
        limiter.enter(100, 2)

    assert abs(limiter.calls_of[1] - limiter.calls_of[2]) <= 1


def test_a_team_gets_its_share_at_each_upstream():
    limits = ConcurrencyLimits()
    for _ in range(4):
        limits.enter(upstream(1, 5), 1)
    with pytest.raises(AttemptError) as refusal:
        limits.enter(upstream(1, 5), 1)

    error = refusal.value.as_error()
    assert refusal.value.kind == "busy"
    assert (error.status, error.headers["Retry-After"]) == (429, "1")
    assert "Your team's running requests" in error.message
    limits.enter(upstream(2, 5), 1)
    limits.enter(upstream(1, 5), 2)


def test_a_known_key_of_a_team_with_its_share_is_refused_before_the_ledger_is_asked():
    limits = ConcurrencyLimits()
    limits.expect([route(1, 5)], "key").give_back(1)
    calls = [limits.enter(upstream(1, 5), 1) for _ in range(4)]
    with pytest.raises(UpstreamBusyError) as refusal:
        limits.expect([route(1, 5)], "key")
    assert "Your team's running requests" in refusal.value.message

    limits.expect([route(1, 5)], "another key").give_back(2)
    calls.pop().end()
    limits.expect([route(1, 5)], "key").give_back(1)
    for call in calls:
        call.end()
    assert limits.of(upstream(1, 5)).calls_of == {}


def test_calls_that_a_cut_left_above_the_limit_keep_no_other_team_out():
    world = World()
    for _ in range(300):
        assert world.limiter.enter(MOST, 1)  # and they never end
    world.now = 2.0
    for _ in range(50):
        world.limiter.reported_overload()
    world.limiter.tick(0.0)
    world.now = 4.0
    world.limiter.reported_overload()
    world.limiter.tick(0.0)
    assert not world.limiter.enter(MOST, 1)
    limit = world.limiter.limit
    assert limit < 250

    others = sum(world.limiter.enter(MOST, team_id) for team_id in range(2, 400))

    # What is beyond one team's share is all that is added, and the row's bound holds.
    assert 20 <= others <= limit
    assert not world.limiter.enter(301, 1_000)


def test_a_learnt_limit_is_exceeded_for_nobody_without_such_calls():
    world = World(refuses_above=20)
    world.add_clients(100)
    world.run(30)

    assert world.limiter.in_flight <= world.limiter.limit + 1
    assert sum(world.limiter.enter(MOST, team_id) for team_id in range(1_000, 1_100)) <= 20


def test_a_call_costs_about_a_microsecond():
    limits, routes = ConcurrencyLimits(), [route(1, MOST)]
    for team_id in range(100):
        limits.enter(routes[0].upstream, team_id)

    def call() -> None:
        limits.expect(routes, "key").give_back(7)
        limits.enter(routes[0].upstream, 7).finish("model", 10, 10, 0)

    best = min(_seconds(call, 2_000) for _ in range(10))
    assert best / 2_000 < 20e-6  # ten times what it is, for machines that are busy


def _seconds(call: Callable[[], None], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        call()
    return time.thread_time() - began

"""Circuit breakers of routes, by a clock that stands still."""

from typing import Any

import pytest

from api.gateway import breaker
from api.gateway.breaker import Breakers, Ejection, Recovery
from tests.api.gateway.routes import new_route

A, B, C = new_route(1), new_route(2), new_route(3)
BOTH = (A, B)
REQUEST, OTHER = "request", "other"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(clock)


def fail(breakers: Breakers, times: int = breaker.FAILURES_IN_A_ROW, **options: Any) -> None:
    """Fail calls of A that began now."""
    route, routes = options.get("route", A), options.get("routes", BOTH)
    for _ in range(times):
        breakers.note_failure(route, routes, breakers.now(), "failed: HTTP 503")


def try_and_fail(breakers: Breakers, clock: Clock) -> None:
    """Let A's ejection end, and its trial fail."""
    clock.now += breaker.LONGEST_EJECTION_SECONDS
    assert breakers.admits(A.id, REQUEST)
    fail(breakers, 1)
    breakers.end_trial(A.id, REQUEST)
    assert breakers.state(A.id) == "open"


def recover(breakers: Breakers, clock: Clock) -> None:
    """Let A's ejection end, and its trial succeed."""
    clock.now += breaker.LONGEST_EJECTION_SECONDS
    assert breakers.admits(A.id, REQUEST)
    breakers.note_success(A.id, clock.now)
    assert breakers.state(A.id) == "closed"


def seconds_of_last(breakers: Breakers) -> float:
    event = breakers.events[-1]
    assert isinstance(event, Ejection)
    return event.seconds


def test_a_route_is_ejected_after_failures_in_a_row(breakers: Breakers) -> None:
    fail(breakers, 4)
    breakers.note_success(A.id, breakers.now())
    fail(breakers, 4)
    assert breakers.state(A.id) == "closed"
    assert breakers.admits(A.id, REQUEST)
    fail(breakers, 1)
    assert breakers.state(A.id) == "open"
    assert not breakers.admits(A.id, REQUEST)
    assert list(breakers.events) == [Ejection(A.id, 1, 5.0, "failed: HTTP 503")]


def test_a_route_is_ejected_that_fails_every_other_call(breakers: Breakers) -> None:
    for _ in range(breaker.LEAST_FAILURES - 1):
        breakers.note_success(A.id, breakers.now())
        fail(breakers, 1)
    assert breakers.state(A.id) == "closed"
    fail(breakers, 1)
    assert breakers.state(A.id) == "open"


def test_failures_among_many_successes_eject_nothing(breakers: Breakers) -> None:
    for _ in range(5 * breaker.LEAST_FAILURES):
        fail(breakers, 1)
        for _ in range(2):
            breakers.note_success(A.id, breakers.now())
    assert breakers.state(A.id) == "closed"


def test_a_window_forgets_the_failures_of_the_one_before(breakers: Breakers, clock: Clock) -> None:
    for _ in range(5 * breaker.LEAST_FAILURES):
        fail(breakers, 1)
        breakers.note_success(A.id, breakers.now())
        clock.now += 2.0
    assert breakers.state(A.id) == "closed"


def test_one_request_at_a_time_tries_a_route_whose_ejection_is_over(
    breakers: Breakers, clock: Clock
) -> None:
    fail(breakers)
    clock.now += breaker.FIRST_EJECTION_SECONDS - 0.1
    assert not breakers.admits(A.id, REQUEST)
    clock.now += 0.1
    assert breakers.state(A.id) == "half_open"
    assert breakers.admits(A.id, REQUEST)
    assert not breakers.admits(A.id, OTHER)
    # Another's end changes nothing; a trial that says nothing leaves the next one to try.
    breakers.end_trial(A.id, OTHER)
    assert not breakers.admits(A.id, OTHER)
    breakers.end_trial(A.id, REQUEST)
    assert breakers.admits(A.id, OTHER)
    breakers.note_success(A.id, clock.now)
    assert breakers.state(A.id) == "closed"
    assert breakers.events[-1] == Recovery(A.id)
    # It takes as many failures as before.
    fail(breakers, 4)
    assert breakers.state(A.id) == "closed"


def test_a_stream_that_begins_ends_its_trial(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += breaker.FIRST_EJECTION_SECONDS
    assert breakers.admits(A.id, REQUEST)
    breakers.note_first_token(A.id, OTHER)
    assert breakers.state(A.id) == "half_open"
    breakers.note_first_token(A.id, REQUEST)
    assert breakers.state(A.id) == "closed"


def test_ejections_grow_up_to_a_bound(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    for seconds in (10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
        try_and_fail(breakers, clock)
        assert seconds_of_last(breakers) == seconds
    assert not breakers.admits(A.id, REQUEST)


def test_ejections_decay_with_success(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    try_and_fail(breakers, clock)
    try_and_fail(breakers, clock)
    recover(breakers, clock)
    # Time without an answer proves nothing.
    clock.now += 10 * breaker.DECAY_SECONDS
    fail(breakers)
    assert seconds_of_last(breakers) == 40.0
    recover(breakers, clock)
    clock.now += 2 * breaker.DECAY_SECONDS
    breakers.note_success(A.id, clock.now)
    fail(breakers)
    assert seconds_of_last(breakers) == 20.0
    recover(breakers, clock)
    clock.now += 10 * breaker.DECAY_SECONDS
    breakers.note_success(A.id, clock.now)
    fail(breakers)
    assert seconds_of_last(breakers) == 5.0


def test_a_healthy_route_is_forgotten(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    recover(breakers, clock)
    breakers.note_success(A.id, clock.now)
    assert breakers._breakers
    clock.now += breaker.DECAY_SECONDS
    breakers.note_success(A.id, clock.now)
    assert not breakers._breakers


def test_the_last_usable_route_is_never_ejected(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    fail(breakers, 100, route=B)
    assert (breakers.state(A.id), breakers.state(B.id)) == ("open", "closed")
    # One whose trial is due is not yet usable.
    clock.now += breaker.FIRST_EJECTION_SECONDS
    fail(breakers, 1, route=B)
    assert breakers.state(B.id) == "closed"
    recover(breakers, clock)
    fail(breakers, 1, route=B)
    assert breakers.state(B.id) == "open"
    fail(breakers, 100, route=C, routes=(C,))
    assert breakers.state(C.id) == "closed"


def test_calls_that_began_before_the_ejection_say_nothing(breakers: Breakers, clock: Clock) -> None:
    began_at = clock.now
    clock.now += 1
    fail(breakers)
    breakers.note_success(A.id, began_at)
    assert breakers.state(A.id) == "open"
    clock.now += breaker.FIRST_EJECTION_SECONDS
    breakers.note_failure(A, BOTH, began_at, "idle")
    assert breakers.state(A.id) == "half_open"


def test_a_success_during_the_ejection_ends_it(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 1
    fail(breakers, 10)
    assert seconds_of_last(breakers) == 5.0
    breakers.note_success(A.id, clock.now)
    assert breakers.state(A.id) == "closed"


def test_processes_learn_from_each_other(breakers: Breakers, clock: Clock) -> None:
    other = Breakers(clock)

    def exchange() -> None:
        for route_id, change in breakers.take_changes().items():
            other.add(route_id, *change)

    fail(breakers)
    exchange()
    assert other.state(A.id) == "open"
    # What was learned is neither passed on nor logged again.
    assert not other.take_changes()
    assert not other.events
    assert not breakers.take_changes()
    clock.now += breaker.FIRST_EJECTION_SECONDS
    assert (breakers.state(A.id), other.state(A.id)) == ("half_open", "open")
    assert breakers.admits(A.id, REQUEST)
    fail(breakers, 1)
    exchange()
    # The next ejection of either is the third.
    clock.now += 10 + breaker.DEFERRAL_SECONDS
    assert other.state(A.id) == "half_open"
    fail(other, 1)
    assert seconds_of_last(other) == 20.0
    clock.now += 10
    breakers.note_success(A.id, clock.now)
    exchange()
    assert other.state(A.id) == "closed"


def test_what_another_process_says_is_bounded(breakers: Breakers, clock: Clock) -> None:
    breakers.add(A.id, 1, 1e9)
    clock.now += breaker.LONGEST_EJECTION_SECONDS + breaker.DEFERRAL_SECONDS
    assert breakers.state(A.id) == "half_open"
    breakers.add(B.id, 1, float("nan"))
    breakers.add(C.id, 1, 0.0)
    assert breakers.state(B.id) == breakers.state(C.id) == "closed"


def test_the_number_of_breakers_is_bounded(
    breakers: Breakers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "MAX_ROUTES", 2)
    for route_id in range(10):
        breakers.add(route_id, 1, 60.0)
    assert len(breakers._breakers) == 2

"""The order in which a model's routes are tried: breakers, priorities, sessions."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from api.gateway import affinity, breaker
from api.gateway.breaker import FAILURES_IN_A_ROW
from tests.api.gateway.routes import new_route
from tests.api.gateway.upstream import (
    STREAM_HEAD,
    Script,
    Upstream,
    answer,
    chunk,
    completion,
    reset,
)
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

FINE = answer(completion())
DOWN = answer({"error": {"message": "overloaded"}}, 503)
OUR_KEY = answer({"error": {"message": "bad key", "code": "invalid_api_key"}}, 401)
TOO_MANY = answer({"error": {"message": "slow down"}}, 429)
REFUSED = answer({"error": {"message": "messages: bad", "type": "invalid_request_error"}}, 400)
EQUAL = {"priority": 0}
EJECTION_SECONDS = 600.0


@pytest.fixture(autouse=True)
def _ejections_outlast_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no ejection end by itself, however slow the machine is."""
    monkeypatch.setattr(breaker, "FIRST_EJECTION_SECONDS", EJECTION_SECONDS)
    monkeypatch.setattr(breaker, "LONGEST_EJECTION_SECONDS", EJECTION_SECONDS)


def world(*scripts: Script, **options: Any) -> World:
    """Return a relay whose model has a route to an upstream of each script."""
    return World(upstreams=[Upstream(script) for script in scripts], **options)


def calls(relay: World) -> list[int]:
    """Return how many calls each upstream got."""
    return [len(upstream.calls) for upstream in relay.upstreams]


def end_ejection(relay: World, route_id: int) -> None:
    """Let a route's ejection be over."""
    found = relay.gateway.breakers._breakers[route_id]
    assert found.ends_at is not None
    found.ends_at -= EJECTION_SECONDS


async def check_ejected(script: Script) -> None:
    async with world(script, FINE) as relay:
        for _ in range(FAILURES_IN_A_ROW + 3):
            assert (await relay.chat()).status == 200
        assert calls(relay) == [FAILURES_IN_A_ROW, FAILURES_IN_A_ROW + 3]
        assert [len(each.attempts) for each in relay.gate.settlements][-3:] == [1, 1, 1]


@in_loop
async def test_a_route_that_fails_is_ejected_whatever_its_failure() -> None:
    for script in (DOWN, OUR_KEY, TOO_MANY, reset()):
        await check_ejected(script)


@in_loop
async def test_an_ejected_route_is_tried_once_its_ejection_is_over() -> None:
    async with world(DOWN, FINE) as relay:
        for _ in range(FAILURES_IN_A_ROW):
            await relay.chat()
        relay.upstream.scripts = [FINE]
        end_ejection(relay, 0)
        before = calls(relay)
        for _ in range(3):
            assert (await relay.chat()).status == 200
        assert calls(relay) == [before[0] + 3, before[1]]
        assert relay.gateway.breakers.state(0) == "closed"


@in_loop
async def test_a_trial_that_is_a_stream_ends_when_the_stream_begins() -> None:
    goes_on = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk("Hello"))
        await goes_on.wait()

    async with world(DOWN, FINE) as relay:
        for _ in range(FAILURES_IN_A_ROW):
            await relay.chat()
        relay.upstream.scripts = [slow]
        end_ejection(relay, 0)
        task, _ = relay.begin(body(stream=True))
        await eventually_async(lambda: relay.gateway.breakers.state(0) == "closed")
        task.cancel()
        await asyncio.wait([task])
        goes_on.set()


@in_loop
async def test_faults_that_are_not_the_routes_eject_nothing() -> None:
    async with world(REFUSED, FINE) as relay:
        for _ in range(2 * FAILURES_IN_A_ROW):
            assert (await relay.chat()).status == 400
        assert not relay.gateway.breakers._breakers
    # No room at an upstream is our own limit.
    async with world(FINE, FINE, upstream={"max_concurrency": 0}) as relay:
        for _ in range(2 * FAILURES_IN_A_ROW):
            assert (await relay.chat()).status == 429
        assert not relay.gateway.breakers._breakers

    async def silent(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async with world(silent, FINE) as relay:
        for number in range(2 * FAILURES_IN_A_ROW):
            task, _ = relay.begin(body())
            await eventually_async(lambda: len(relay.upstream.calls) > number)  # noqa: B023
            task.cancel()
            await asyncio.wait([task])
        assert not relay.gateway.breakers._breakers


@in_loop
async def test_a_trial_that_the_client_cancels_leaves_the_next_one_to_try() -> None:
    async def silent(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async with world(DOWN, FINE) as relay:
        for _ in range(FAILURES_IN_A_ROW):
            await relay.chat()
        relay.upstream.scripts = [silent]
        end_ejection(relay, 0)
        before = calls(relay)
        task, _ = relay.begin(body())
        await eventually_async(lambda: calls(relay)[0] == before[0] + 1)
        # One at a time: this one goes to the other upstream.
        assert (await relay.chat()).status == 200
        assert calls(relay) == [before[0] + 1, before[1] + 1]
        task.cancel()
        await asyncio.wait([task])
        relay.upstream.scripts = [FINE]
        await relay.chat()
        assert calls(relay) == [before[0] + 2, before[1] + 1]


@in_loop
async def test_an_ejected_route_is_used_when_nothing_else_is_left() -> None:
    async with world(DOWN, FINE, FINE) as relay:
        for _ in range(FAILURES_IN_A_ROW):
            await relay.chat()
        relay.upstream.scripts = [FINE]
        for other in relay.upstreams[1:]:
            other.scripts = [OUR_KEY]
        assert relay.gateway.breakers.state(0) == "open"
        assert (await relay.chat()).status == 200
        attempts = relay.gate.settlements[-1].attempts
        assert [each["upstream"] for each in attempts] == ["upstream-1", "upstream-2", "upstream-0"]
        # Its success says that it works again.
        assert relay.gateway.breakers.state(0) == "closed"


@in_loop
async def test_a_models_only_route_has_no_breaker() -> None:
    async with world(OUR_KEY) as relay:
        for _ in range(2 * FAILURES_IN_A_ROW):
            assert (await relay.chat()).status == 502
        assert calls(relay) == [2 * FAILURES_IN_A_ROW]
        assert not relay.gateway.breakers._breakers


async def upstreams_of(relay: World, *requests: tuple[dict[str, Any], dict[str, str]]) -> list[str]:
    """Send requests (fields and headers), and return which upstream answered each."""
    for fields, headers in requests:
        reply = await relay.post(body(**fields), headers=headers)
        assert reply.status == 200, reply.body
    return [str(each.attempts[-1]["upstream"]) for each in relay.gate.settlements[-len(requests) :]]


@in_loop
async def test_requests_of_a_session_go_to_one_upstream_and_sessions_to_all() -> None:
    async with world(FINE, FINE, FINE, route=EQUAL) as relay:
        for header in ("x-session-id", "x-claude-code-session-id", "session-id", "session_id"):
            used = set()
            for number in range(8):
                session = {header: f"session {number}"}
                # What a conversation says next doesn't matter.
                found = await upstreams_of(
                    relay, *[({"content": f"Hi {turn}"}, session) for turn in range(2)]
                )
                assert len(set(found)) == 1, (header, found)
                used |= set(found)
            assert len(used) == 3
        for field in ("prompt_cache_key", "user"):
            used = set()
            for number in range(8):
                fields = {field: f"session {number}"}
                found = await upstreams_of(
                    relay, *[({"content": f"Hi {turn}", **fields}, {}) for turn in range(2)]
                )
                assert len(set(found)) == 1, (field, found)
                used |= set(found)
            assert len(used) == 3


@in_loop
async def test_a_conversation_without_a_name_is_known_by_its_beginning() -> None:
    system = {"role": "system", "content": "Be brief. " * 500}
    async with world(FINE, FINE, FINE, route=EQUAL) as relay:
        used = set()
        for number in range(8):
            turns = [
                system,
                {"role": "user", "content": [{"type": "text", "text": f"Question {number}"}]},
                {"role": "assistant", "content": "An answer."},
                {"role": "user", "content": "And then?"},
            ]
            reply = await relay.post(body() | {"messages": turns[:2]})
            reply = await relay.post(body() | {"messages": turns})
            assert reply.status == 200
            found = {str(each.attempts[-1]["upstream"]) for each in relay.gate.settlements[-2:]}
            assert len(found) == 1
            used |= found
        assert len(used) == 3


@in_loop
async def test_a_session_moves_while_its_upstream_is_out_and_comes_back() -> None:
    async with world(FINE, FINE, FINE, route=EQUAL) as relay:
        session: tuple[dict[str, Any], dict[str, str]] = ({}, {"x-session-id": "mine"})
        (home,) = await upstreams_of(relay, session)
        number = int(home.removeprefix("upstream-"))
        relay.upstreams[number].scripts = [DOWN]
        found = await upstreams_of(relay, *[session] * (FAILURES_IN_A_ROW + 5))
        assert len(set(found)) == 1
        assert home not in found
        relay.upstreams[number].scripts = [FINE]
        end_ejection(relay, number)
        assert await upstreams_of(relay, session, session) == [home, home]


class Request:
    """The parts of an admitted request that affinity reads."""

    def __init__(self, team_id: int, routes: Any, session: bytes) -> None:
        class Told:
            pass

        self.request_id = "request"
        self.admission: Any = Told()
        self.admission.team_id = team_id
        self.quote: Any = Told()
        self.quote.model = Told()
        self.quote.model.routes = routes
        self.quote.request = Told()
        self.quote.request.session_id = session.decode()


def first_of(team_id: int, routes: Any, session: int) -> int:
    request: Any = Request(team_id, routes, b"session %d" % session)
    return next(affinity.in_order(request)).id


def test_weights_are_the_shares_of_sessions() -> None:
    routes = tuple(new_route(number, weight=number) for number in (1, 2, 5))
    shares = Counter(first_of(7, routes, session) for session in range(8_000))
    for number in (1, 2, 5):
        assert abs(shares[number] - 1_000 * number) < 150, shares


def test_a_route_that_goes_moves_its_own_sessions_only() -> None:
    routes = tuple(new_route(number) for number in range(4))
    for session in range(500):
        before = first_of(7, routes, session)
        after = first_of(7, routes[1:], session)
        assert after == before or before == 0


def test_a_session_is_its_teams_own() -> None:
    routes = tuple(new_route(number) for number in range(4))
    mine = [first_of(7, routes, session) for session in range(100)]
    theirs = [first_of(8, routes, session) for session in range(100)]
    assert mine != theirs
    assert mine == [first_of(7, routes, session) for session in range(100)]


def test_priorities_come_before_sessions() -> None:
    routes = (new_route(9), new_route(1, priority=1), new_route(2, priority=1))
    for session in range(50):
        request: Any = Request(7, routes, b"%d" % session)
        assert next(affinity.in_order(request)).id == 9

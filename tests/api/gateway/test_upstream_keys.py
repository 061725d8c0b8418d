"""Several keys of one upstream: what each may do, and what follows when one is refused."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from api.gateway import breaker
from api.gateway.breaker import FAILURES_IN_A_ROW, Recovery
from api.gateway.concurrency_limit import ConcurrencyLimits
from api.gateway.key_rates import KeyRates
from api.gateway.upstream_errors import AttemptError, UpstreamBusyError
from tests.api.gateway.routes import new_route
from tests.api.gateway.upstream import Script, Upstream, answer, completion
from tests.api.gateway.world import World, in_loop

FINE = completion()
REVOKED = {"error": {"message": "bad key", "code": "invalid_api_key"}}
SLOW_DOWN = {"error": {"message": "slow down"}}
DOWN = {"error": {"message": "overloaded"}}
FIRST = {"key_id": 1, "key_name": "first", "api_key_env": "UPSTREAM_FIRST"}
SECOND = {"key_id": 2, "key_name": "second", "api_key_env": "UPSTREAM_SECOND"}
BOTH = (FIRST, SECOND)
EQUAL = {"priority": 0}
EJECTION_SECONDS = 600.0


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the keys into the environment, and let no ejection end by itself."""
    monkeypatch.setenv("UPSTREAM_FIRST", "sk-first")
    monkeypatch.setenv("UPSTREAM_SECOND", "sk-second")
    monkeypatch.setattr(breaker, "FIRST_EJECTION_SECONDS", EJECTION_SECONDS)
    monkeypatch.setattr(breaker, "LONGEST_EJECTION_SECONDS", EJECTION_SECONDS)


class Provider(Upstream):
    """An upstream that answers by the key it is called with; `asked` are the keys of its calls."""

    def __init__(self, **by_key: Script) -> None:
        super().__init__(self._answer)
        self._by_key = by_key

    @property
    def asked(self) -> list[str]:
        found = [head.lower().partition("bearer sk-")[2] for head in self.heads]
        return [text.split("\r\n")[0] for text in found]

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        await self._by_key.get(self.asked[-1], answer(FINE))(writer)


def attempts(relay: World) -> list[list[tuple[Any, ...]]]:
    """Return the upstream, the key and the status of each attempt, by request."""
    return [
        [(each["upstream"], each["key"], each["status"]) for each in settlement.attempts]
        for settlement in relay.gate.settlements
    ]


def session(name: str) -> dict[str, Any]:
    return {"prompt_cache_key": name}


async def session_of(relay: World, key: str) -> dict[str, Any]:
    """Return a session whose first key is this one; all of the upstream's answers are good."""
    for number in range(64):
        chosen = session(f"session {number}")
        await relay.chat(**chosen)
        if attempts(relay)[-1][0][1] == key:
            relay.gate.settlements.clear()
            return chosen
    raise AssertionError("no session")


@in_loop
async def test_a_refused_key_gives_way_to_the_next_key_before_another_route() -> None:
    for status, refusal in ((401, REVOKED), (403, REVOKED), (402, REVOKED), (429, SLOW_DOWN)):
        first, other = Provider(), Provider()
        async with World(upstreams=[first, other], keys=BOTH) as relay:
            chosen = await session_of(relay, "first")
            first._by_key["first"] = answer(refusal, status)
            assert (await relay.chat(**chosen)).status == 200
            assert attempts(relay) == [
                [("upstream-0", "first", status), ("upstream-0", "second", 200)]
            ]
            assert other.calls == []


@in_loop
async def test_a_failing_upstream_gives_way_to_another_route_before_its_next_key() -> None:
    first, other = Provider(), Provider()
    async with World(upstreams=[first, other], keys=BOTH) as relay:
        chosen = await session_of(relay, "first")
        first._by_key = {"first": answer(DOWN, 503), "second": answer(DOWN, 503)}
        assert (await relay.chat(**chosen)).status == 200
        assert [upstream for upstream, _, _ in attempts(relay)[0]] == ["upstream-0", "upstream-1"]


@in_loop
async def test_refused_keys_use_up_no_attempts_at_other_routes() -> None:
    keys = tuple({"key_id": n, "key_name": f"key-{n}", "api_key_env": ""} for n in range(1, 6))
    revoked, other = Upstream(answer(REVOKED, 401)), Upstream(answer(FINE))
    async with World(upstreams=[revoked, other], keys=keys) as relay:
        assert (await relay.chat()).status == 200
        assert len(attempts(relay)[0]) == 6


@in_loop
async def test_only_the_refused_key_is_ejected_and_the_last_one_never() -> None:
    provider = Provider(first=answer(REVOKED, 401))
    async with World(upstreams=[provider], keys=BOTH) as relay:
        for number in range(40):
            assert (await relay.chat(**session(f"s {number}"))).status == 200
        assert Counter(provider.asked) == {"first": FAILURES_IN_A_ROW, "second": 40}
        (ejection,) = relay.gateway.breakers.events
        assert ejection.route_key == 1 << 32
        provider._by_key["second"] = answer(REVOKED, 401)
        for _ in range(FAILURES_IN_A_ROW + 2):
            assert (await relay.chat()).status == 502
        provider._by_key.clear()
        assert (await relay.chat()).status == 200
        assert relay.gateway.breakers.state(2 << 32) == "closed"


@in_loop
async def test_a_key_is_left_alone_for_as_long_as_it_asks_and_no_other() -> None:
    provider = Provider()
    async with World(upstreams=[provider], keys=BOTH) as relay:
        chosen = await session_of(relay, "first")
        provider._by_key["first"] = answer(SLOW_DOWN, 429, retry_after="300")
        provider.heads.clear()
        for _ in range(4):
            assert (await relay.chat(**chosen)).status == 200
        assert provider.asked == ["first", "second", "second", "second", "second"]
        breakers = relay.gateway.breakers
        assert not breakers.events, "a pause is no ejection"
        assert breakers.take_changes() == {1 << 32: (0, 300.0)}, "other processes learn of it"
        breakers._breakers[1 << 32].ends_at = breakers.now() - 1
        provider._by_key.clear()
        assert (await relay.chat(**chosen)).status == 200
        assert provider.asked[-1] == "first"
        assert breakers.events.popleft() == Recovery(1 << 32)


@in_loop
async def test_the_last_usable_key_is_not_paused() -> None:
    provider = Provider(
        first=answer(SLOW_DOWN, 429, retry_after="300"),
        second=answer(SLOW_DOWN, 429, retry_after="300"),
    )
    async with World(upstreams=[provider], keys=BOTH) as relay:
        assert (await relay.chat()).status == 429
        states = {relay.gateway.breakers.state(key << 32) for key in (1, 2)}
        assert states == {"open", "closed"}


@in_loop
async def test_a_session_stays_with_its_key_and_both_get_some_by_weight() -> None:
    provider = Provider()
    heavy = (FIRST, {**SECOND, "key_weight": 9})
    async with World(upstreams=[provider], keys=heavy) as relay:
        for _ in range(2):
            for number in range(60):
                await relay.chat(**session(f"s {number}"))
        before, after = provider.asked[:60], provider.asked[60:]
        assert before == after
        assert 0 < before.count("first") < before.count("second")


def entry(key_id: int, **fields: Any) -> Any:
    """Return the entry of an upstream with two keys, by one of them."""
    return new_upstream({"key_id": key_id, "has_other_keys": True, **fields})


def new_upstream(fields: dict[str, Any]) -> Any:
    upstream = new_route(1).upstream
    return type(upstream)(
        **{name: getattr(upstream, name) for name in upstream.__struct_fields__} | fields
    )


def test_keys_share_the_upstreams_limit_and_keep_to_their_own() -> None:
    limits = ConcurrencyLimits(lambda: 0.0)
    first = entry(1, max_concurrency=3, key_max_concurrency=2)
    second = entry(2, max_concurrency=3)
    calls = [limits.enter(first, team_id) for team_id in (1, 2)]
    with pytest.raises(AttemptError, match="2 calls are under way"):
        limits.enter(first, 3)
    calls.append(limits.enter(second, 4))
    with pytest.raises(AttemptError, match="1 calls are under way"):
        limits.enter(second, 5)
    calls[0].end()
    limits.enter(second, 5).end()


def test_a_key_is_skipped_while_its_minute_is_used_up() -> None:
    now = 0.0
    limits = ConcurrencyLimits(lambda: now)
    limited = entry(1, requests_per_minute=2)
    routes = [new_route(1, upstream=limited), new_route(1, upstream=entry(2))]
    for _ in range(2):
        limits.enter(limited, 1).end()
        limits.rates.count(limited, 1, 0)
    with pytest.raises(AttemptError, match="limit per minute") as refused:
        limits.enter(limited, 1)
    assert refused.value.kind == "busy"
    limits.expect(routes, "digest").give_back(0)
    with pytest.raises(UpstreamBusyError) as busy:
        limits.expect(routes[:1], "digest")
    assert busy.value.headers["Retry-After"] == "30"
    now = 30.5
    limits.enter(limited, 1).end()


def test_tokens_are_counted_as_estimated_and_then_as_used() -> None:
    now = 100.0
    rates, other = KeyRates(lambda: now), KeyRates(lambda: now)
    key = entry(7, tokens_per_minute=600)
    rates.count(key, 1, 700)
    assert rates.wait_seconds(key) == 10
    rates.count(key, 0, -300)
    assert rates.wait_seconds(key) == 0
    for key_id, used in rates.take_changes().items():
        other.add(key_id, *used)
    assert rates.take_changes() == {}
    assert other.wait_seconds(key) == 0
    now = 110.0
    other.add(7, 1, 200)
    assert other.wait_seconds(key) == 0, "100 of 400 have leaked since"
    other.add(7, 0, 200)
    assert other.wait_seconds(key) == 10


@in_loop
async def test_a_request_counts_for_the_key_that_served_it() -> None:
    limited = {**FIRST, "tokens_per_minute": 1_000_000}
    provider = Provider()
    async with World(upstreams=[provider], keys=(limited, SECOND)) as relay:
        await session_of(relay, "first")
        used = relay.gateway.upstreams.limits.rates.take_changes()
        requests, tokens = used.pop(1)
        assert used == {}, "a key without limits is not counted"
        calls = provider.asked.count("first")
        usage = FINE["usage"]
        assert (requests, tokens) == (calls, calls * usage["total_tokens"])


@in_loop
async def test_refused_calls_use_none_of_a_keys_tokens() -> None:
    wrong_field = {"error": {"message": "max_tokens", "param": "max_tokens"}}
    scripts = [answer(wrong_field, 400), answer(SLOW_DOWN, 429)]

    async def refuse(writer: asyncio.StreamWriter) -> None:
        await scripts[min(provider.asked.count("first"), 2) - 1](writer)

    provider = Provider(first=refuse)
    limits = {"tokens_per_minute": 1_000_000}
    async with World(upstreams=[provider], keys=({**FIRST, **limits}, SECOND)) as relay:
        for number in range(64):
            await relay.chat(**session(f"s {number}"))
            if provider.asked.count("first") >= 2:
                break
        used = relay.gateway.upstreams.limits.rates.take_changes()
    assert used == {1: (2, 0)}


@in_loop
async def test_a_used_up_key_costs_no_attempt_and_no_request_fails() -> None:
    provider = Provider()
    limited = {**FIRST, "requests_per_minute": 1}
    async with World(upstreams=[provider], keys=(limited, SECOND)) as relay:
        for number in range(20):
            assert (await relay.chat(**session(f"s {number}"))).status == 200
        assert provider.asked.count("first") == 1

"""36: what an upstream can't take is answered 429 with Retry-After, before anything is reserved."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.acceptance.talk import Talk, error, route_of, talk_to
from tests.stack import Stack, chat
from tests.support.waiting import eventually

MODEL = "glm-4.6v"
PROCESSES = 2
_numbers = itertools.count(1)


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def new_upstream(stack: Stack, most: int) -> int:
    """Make an upstream that leads to the simulator, of which no process knows anything yet."""
    ((number,),) = stack.sql(
        "INSERT INTO api_upstream (name, base_url, api_key_env, is_enabled, max_concurrency,"
        " connect_timeout_seconds, first_token_timeout_seconds, idle_timeout_seconds,"
        " total_timeout_seconds, drains_on_disconnect)"
        " SELECT %s, base_url, api_key_env, true, %s, 5, 60, 60, 900, false"
        " FROM api_upstream WHERE name = 'simulator' RETURNING id",
        f"narrow-{next(_numbers)}",
        most,
    )
    return int(number)


@contextmanager
def narrow(stack: Stack, most: int) -> Iterator[None]:
    """Lead the model to an upstream that takes so many calls at once from each process."""
    with route_of(stack, MODEL, upstream_id=new_upstream(stack, most)):
        yield


def chat_concurrently(talk: Talk, count: int, simulate: str) -> list[httpx.Response]:
    """Return the answers to so many chats, sent at once."""

    async def send_all() -> list[httpx.Response]:
        headers = {"authorization": f"Bearer {talk.key}"}
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
            url = f"{talk.stack.base_url}/v1/chat/completions"
            body = chat(model=MODEL, simulate=simulate)
            return await asyncio.gather(*(client.post(url, json=body) for _ in range(count)))

    return asyncio.run(send_all())


def reserved(stack: Stack, answers: list[httpx.Response]) -> int:
    """Return how many of the requests reserved anything."""
    ids = [answer.headers["x-request-id"] for answer in answers]
    query = "SELECT count(*) FROM billing_reservation WHERE id = ANY (%s::uuid[])"
    return int(stack.sql(query, ids)[0][0])


def test_a36_calls_beyond_the_limit_are_429_with_retry_after_and_reserve_nothing(
    stack: Stack, talk: Talk
) -> None:
    with narrow(stack, 3):  # of which one team gets two
        answers = chat_concurrently(talk, 16, "tokens=1&first_ms=1500")

    served = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(served) + len(refused) == 16
    assert 2 <= len(served) <= 2 * PROCESSES
    for answer in refused:
        assert error(answer)[:2] == (429, "rate_limit_exceeded")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "share" in answer.json()["error"]["message"]
        assert talk.never_sent(answer)
    assert reserved(stack, served) == len(served)
    assert reserved(stack, refused) == 0
    stack.check_ledger()


def test_a36_who_waits_as_told_is_served(stack: Stack, talk: Talk) -> None:
    with narrow(stack, 2):
        chat_concurrently(talk, 4, "tokens=1&first_ms=300")  # so that answers' times are known
        refused = [
            answer
            for answer in chat_concurrently(talk, 8, "tokens=1&first_ms=1000")
            if answer.status_code == 429
        ]
        assert refused
        time.sleep(min(int(answer.headers["retry-after"]) for answer in refused))
        assert talk.chat(model=MODEL, simulate="tokens=1").status_code == 200


def test_a36_a_refusal_counts_nothing_against_the_keys_limits(stack: Stack) -> None:
    talk = Talk(stack, stack.customer("a36-counted@example.com", requests_per_minute="40"))
    with narrow(stack, 1):
        answers = chat_concurrently(talk, 12, "tokens=1&first_ms=1000")
        counts = Counter(answer.status_code for answer in answers)
        assert counts[429] >= 12 - PROCESSES
        left = int(talk.chat(simulate="tokens=1").headers["x-ratelimit-remaining"])
    assert left == 40 - reserved(stack, answers) - 1


def test_a36_another_route_is_taken_first(stack: Stack, talk: Talk) -> None:
    with narrow(stack, 1):
        second = new_upstream(stack, 100)
        stack.sql(
            "INSERT INTO api_route (model_id, upstream_id, upstream_model, priority, weight,"
            " reasoning_dialect, is_enabled)"
            " SELECT id, %s, %s, 9, 1, 'reasoning_content', true FROM api_model WHERE name = %s",
            second,
            MODEL,
            MODEL,
        )
        try:
            answers = chat_concurrently(talk, 12, "tokens=1&first_ms=800")
        finally:
            stack.sql("DELETE FROM api_route WHERE upstream_id = %s", second)
    assert {answer.status_code for answer in answers} == {200}
    assert reserved(stack, answers) == 12


def test_a36_a_wrong_key_is_told_so_however_busy_the_upstream(stack: Stack) -> None:
    with narrow(stack, 0):
        nobody = Talk(stack, "sk-tg-" + "x" * 38)
        assert nobody.chat(model=MODEL).status_code == 401


def test_a36_an_upstreams_own_429_and_its_retry_after_reach_the_client(talk: Talk) -> None:
    answer = talk.chat(simulate="status=429&retry_after=7")
    assert error(answer)[:2] == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "7"
    assert talk.charged(answer) == 0


def test_a36_an_upstream_that_answers_429_gets_fewer_calls_and_more_after_a_calm(
    stack: Stack, talk: Talk
) -> None:
    with narrow(stack, 200):
        # It refuses, and is believed after a window or two.
        ends_at = time.monotonic() + 4
        while time.monotonic() < ends_at:
            chat_concurrently(talk, 30, "status=429")
        answers = chat_concurrently(talk, 60, "tokens=1&first_ms=800")
        counts = Counter(answer.status_code for answer in answers)
        assert counts[429] >= 10
        assert counts[200] >= PROCESSES  # each lets at least one through

        def all_served() -> bool:
            again = chat_concurrently(talk, 60, "tokens=1&first_ms=300")
            return all(answer.status_code == 200 for answer in again)

        eventually(all_served, seconds=60, every=2, what="the limit does not recover")

"""34: requests and tokens a minute by plan and by key, and free models with limits of their own."""

import asyncio
import time
from collections import Counter

import httpx
import pytest

from tests.acceptance.talk import Talk, error
from tests.stack import Stack, chat

FREE = "glm-4.7-flash"
FREE_LIMIT = 30  # of the default catalogue's row


def statuses(
    stack: Stack, key: str, bodies: list[dict[str, object]]
) -> tuple[Counter[int], list[httpx.Response]]:
    """Return the answers to chats that are sent all at once, to both web processes."""

    async def send_all() -> list[httpx.Response]:
        headers = {"authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=25)
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
            url = f"{stack.base_url}/v1/chat/completions"
            return await asyncio.gather(*(client.post(url, json=body) for body in bodies))

    answers = asyncio.run(send_all())
    return Counter(answer.status_code for answer in answers), answers


@pytest.fixture
def talk(stack: Stack, customer: tuple[str, str]) -> Talk:
    """A customer on the default plan, whose key has no limits of its own."""
    return Talk(stack, customer[1])


def on_plan(stack: Stack, email: str, plan: str) -> None:
    """Put a customer's team on a plan, as staff would."""
    stack.sql(
        "UPDATE accounts_team SET plan_id = (SELECT id FROM accounts_plan WHERE name = %s)"
        " WHERE id IN (SELECT team_id FROM accounts_membership"
        " JOIN accounts_user u ON u.id = user_id WHERE u.email = %s)",
        plan,
        email,
    )


def test_a34_sixty_requests_a_minute_are_sixty_over_all_processes(stack: Stack, talk: Talk) -> None:
    counts, answers = statuses(stack, talk.key, [chat(simulate="tokens=1")] * 75)

    assert counts == {200: 60, 429: 15}
    refused = [answer for answer in answers if answer.status_code == 429]
    for answer in refused:
        assert error(answer)[:2] == (429, "rate_limit_exceeded")
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 60
        assert abs(int(answer.headers["x-ratelimit-reset"]) - time.time() - wait) < 15
        assert answer.headers["x-ratelimit-remaining"] == "0"


def test_a34_the_default_plan_allows_120_000_tokens_a_minute(talk: Talk) -> None:
    most = [{"role": "user", "content": "word " * 80_000}]  # 100,000 tokens
    first = talk.chat(messages=most, max_tokens=1_000, simulate="tokens=1000")
    long = [
        {"role": "user", "content": "word " * 16_000}
    ]  # 20,000 tokens, of which 19,000 are left
    second = talk.chat(messages=long)

    assert first.headers["x-ratelimit-limit-tokens"] == "120000"
    assert first.status_code == 200
    assert error(second)[:2] == (429, "rate_limit_exceeded")
    assert second.json()["error"]["type"] == "tokens"
    # An output limit counts a slice until the answer is there: agents name 128,000 tokens.
    assert talk.chat(max_tokens=100_000, simulate="tokens=1").status_code == 200


@pytest.mark.parametrize(
    ("plan", "requests", "tokens"),
    [("default", "60", "120000"), ("pro", "300", "600000"), ("enterprise", "600", "1200000")],
)
def test_a34_limits_are_the_plans(
    stack: Stack, customer: tuple[str, str], plan: str, requests: str, tokens: str
) -> None:
    on_plan(stack, customer[0], plan)
    answer = Talk(stack, customer[1]).chat(simulate="tokens=1")

    assert answer.headers["x-ratelimit-limit"] == requests
    assert answer.headers["x-ratelimit-limit-tokens"] == tokens


def test_a34_an_enterprise_keys_own_limits_go_before_its_plans(stack: Stack) -> None:
    email = "a34-enterprise@example.com"
    key = stack.customer(email, requests_per_minute="1234", tokens_per_minute="5000000")
    on_plan(stack, email, "enterprise")
    answer = Talk(stack, key).chat(simulate="tokens=1")

    assert answer.headers["x-ratelimit-limit"] == "1234"
    assert answer.headers["x-ratelimit-limit-tokens"] == "5000000"


def test_a34_a_free_model_has_a_limit_of_its_own_for_each_key(stack: Stack, talk: Talk) -> None:
    body = chat(model=FREE, simulate="tokens=1")
    counts, answers = statuses(stack, talk.key, [body] * (FREE_LIMIT + 5))

    assert counts == {200: FREE_LIMIT, 429: 5}
    for answer in answers:
        assert answer.headers["x-ratelimit-limit"] == str(FREE_LIMIT)
        if answer.status_code == 429:
            assert error(answer)[:2] == (429, "rate_limit_exceeded")
            assert answer.headers["x-ratelimit-remaining"] == "0"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    # The key's own limit is told again where it is the nearer one, and counts both.
    paid = talk.chat(simulate="tokens=1")
    assert paid.status_code == 200
    assert paid.headers["x-ratelimit-limit"] == "60"
    assert paid.headers["x-ratelimit-remaining"] == str(60 - FREE_LIMIT - 1)


def test_a34_the_free_models_limit_is_the_keys_not_everybodys(stack: Stack) -> None:
    one = Talk(stack, stack.customer("a34-one@example.com"))
    other = Talk(stack, stack.customer("a34-other@example.com"))
    for left in (FREE_LIMIT - 1, FREE_LIMIT - 2):
        answer = one.chat(model=FREE, simulate="tokens=1")
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    answer = other.chat(model=FREE, simulate="tokens=1")
    assert answer.headers["x-ratelimit-remaining"] == str(FREE_LIMIT - 1)
    assert answer.headers["x-request-cost"] == "0.000000000"


def test_a34_a_key_with_less_than_the_free_model_gives_is_bound_by_its_own(stack: Stack) -> None:
    talk = Talk(stack, stack.customer("a34-small@example.com", requests_per_minute="2"))
    for expected in (200, 200, 429):
        answer = talk.chat(model=FREE, simulate="tokens=1")
        assert answer.status_code == expected
        assert answer.headers["x-ratelimit-limit"] == "2"


def test_a34_a_refused_request_counts_nothing(talk: Talk) -> None:
    assert talk.chat(temperature=3).status_code == 400
    assert talk.chat(model="glm-0").status_code == 404
    answer = talk.chat(simulate="tokens=1")
    assert answer.headers["x-ratelimit-remaining"] == "59"

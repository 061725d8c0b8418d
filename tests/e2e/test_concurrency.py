"""Many requests at once, through two worker processes: no limit and no balance is overrun."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.stack import Stack, chat

PICTURE = {"model": "glm-image", "prompt": "A toll gate at dawn"}
PICTURE_NANOS = 15_000_000  # its hold is its price, whatever else is under way
AFFORDED = 37


@pytest.fixture
def without_limits(stack: Stack, customer: tuple[str, str]) -> str:
    """The key of a customer whose credit buys `AFFORDED` pictures and half of one more."""
    email = customer[0].replace("@", "-few@")
    key = stack.customer(email, credit=f"{(AFFORDED + 0.5) * PICTURE_NANOS / 1e9:.4f}")
    stack.sql(
        "UPDATE accounts_apikey k SET requests_per_minute = 100000 FROM accounts_membership m"
        " JOIN accounts_user u ON u.id = m.user_id WHERE m.team_id = k.team_id AND u.email = %s",
        email,
    )
    return key


@pytest.fixture(autouse=True)
def upstream_of_its_own(stack: Stack) -> Iterator[None]:
    """An upstream that no other test has called, and that accepts all calls of this test.

    After other tests, the processes may have lowered the concurrency limit of the stack's upstream,
    and would refuse some calls for that reason.
    """
    rows = stack.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
        " AND column_name NOT IN ('id', 'name', 'max_concurrency')",
        "api_upstream",
    )
    columns = ", ".join(name for (name,) in rows)
    before = stack.sql("SELECT id, upstream_id FROM api_route")
    [(own,)] = stack.sql(
        f"INSERT INTO api_upstream (name, max_concurrency, {columns})"
        f" SELECT 'own', 2000, {columns} FROM api_upstream ORDER BY id LIMIT 1 RETURNING id"
    )
    stack.sql("UPDATE api_route SET upstream_id = %s", own)
    yield
    for route_id, upstream_id in before:
        stack.sql("UPDATE api_route SET upstream_id = %s WHERE id = %s", upstream_id, route_id)
    stack.sql("DELETE FROM api_upstream WHERE id = %s", own)


def statuses(stack: Stack, key: str, path: str, body: dict[str, Any], number: int) -> Counter[int]:
    """Send the request so often, all at once; return how often each status came."""

    async def send(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{stack.base_url}{path}", json=body) as answer:
            await answer.read()
            return answer.status

    async def send_all() -> list[int]:
        # Not httpx, whose pool takes 20 s of the processor for a thousand requests.
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=120)
        headers = {"authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout
        ) as session:
            return await asyncio.gather(*(send(session) for _ in range(number)))

    return Counter(asyncio.run(send_all()))


def test_of_a_thousand_requests_at_once_those_are_relayed_that_the_balance_affords(
    stack: Stack, customer: tuple[str, str], without_limits: str
) -> None:
    counts = statuses(stack, without_limits, "/v1/images/generations", PICTURE, 1000)

    assert counts == {200: AFFORDED, 402: 1000 - AFFORDED}
    balance = stack.balance(customer[0].replace("@", "-few@"))
    assert (balance["posted_nanos"], balance["held_nanos"]) == (PICTURE_NANOS // 2, 0)
    stack.check_ledger()


def test_sixty_a_minute_are_sixty_whatever_the_number_of_processes(
    stack: Stack, customer: tuple[str, str]
) -> None:
    assert len(stack.web_pids()) > 1

    assert statuses(stack, customer[1], "/v1/chat/completions", chat(), 150) == {200: 60, 429: 90}

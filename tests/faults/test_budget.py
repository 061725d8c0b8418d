"""The proof of budgets: a thousand calls at once, and processes that are killed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row(
    "budget", "1,000 calls at once to 4 processes against budgets of $5; SIGKILL while they hold"
)
CALLS = 1000
BUDGET_NANOS = 5_000_000_000
MODEL = "CLAUDE_FABLE_5"
# A plain call holds at once what a stream asks for slice by slice: 400 tokens, 2 cents.
PLAIN = chat(model=MODEL, max_tokens=400, simulate="tokens=400")
GROWING = chat(
    model=MODEL, stream=True, max_tokens=8000, simulate="tokens=400&chunk_tokens=20&pace_ms=5"
)
ROOMY = {"requests_per_minute": "100000", "tokens_per_minute": "1000000000"}


def limited(stack: Stack, email: str) -> str:
    """Make a customer with $50 and a budget of $5 for the team and each session; return the key."""
    key = stack.customer(email, "50", **ROOMY)
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 120")
    stack.sql(
        "UPDATE accounts_team SET concurrent_requests = 100000"
        f" WHERE id IN (SELECT team_id FROM billing_creditaccount WHERE id IN {ACCOUNTS_OF})",
        email,
    )
    stack.sql(
        "SELECT billing_set_budget(k.team_id, of_scope, of_key, NULL, 'total', %s, true)"
        " FROM accounts_apikey k CROSS JOIN LATERAL"
        " (VALUES ('team', NULL), ('session', k.id)) AS rule(of_scope, of_key)"
        " WHERE k.team_id IN (SELECT team_id FROM billing_creditaccount"
        f" WHERE id IN {ACCOUNTS_OF}) AND k.scope = 'inference'",
        BUDGET_NANOS,
        email,
    )
    return key


def spends(stack: Stack, email: str) -> list[tuple[str, int, int]]:
    """Return the subject, what is spent and what is held of each budget that was used."""
    return stack.sql(
        "SELECT subject, spent_nanos, held_nanos FROM billing_budgetspend"
        f" WHERE account_id IN {ACCOUNTS_OF} AND spent_nanos + held_nanos > 0 ORDER BY 1",
        email,
    )


async def statuses(stack: Stack, key: str, bodies: list[dict[str, Any]]) -> Counter[str]:
    """Send all requests at once, as one session, and count how they end."""
    headers = {"authorization": f"Bearer {key}", "x-session-id": "run 1"}
    async with httpx.AsyncClient(
        base_url=f"{stack.base_url}/v1",
        headers=headers,
        timeout=240,
        limits=httpx.Limits(max_connections=None),
    ) as client:

        async def end(body: dict[str, Any]) -> str:
            answer = await client.post("/chat/completions", json=body)
            if answer.status_code == 200:
                return "cut" if "budget" in answer.text else "whole"
            return str(answer.json()["error"]["code"])

        return Counter(await asyncio.gather(*[end(body) for body in bodies]))


def test_a_thousand_calls_at_once_spend_no_more_than_the_budget(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(workers=4, HOLD_SLICE_TOKENS="100")
    email = "thousand@example.com"
    key = limited(stack, email)

    ends = asyncio.run(statuses(stack, key, [PLAIN, GROWING] * (CALLS // 2)))

    assert ends["whole"] > 0, ends
    assert ends["budget_exceeded"] > 0, ends
    eventually(lambda: all(held == 0 for _, _, held in spends(stack, email)), seconds=60)
    # What the holds of the rest have given back is spent, too.
    while asyncio.run(statuses(stack, key, [PLAIN]))["whole"]:
        pass
    found = {subject: spent for subject, spent, _ in spends(stack, email)}
    charged = stack.sql(
        "SELECT sum(charged_nanos)::bigint FROM billing_usagerecord"
        f" WHERE account_id IN {ACCOUNTS_OF}",
        email,
    )
    assert set(found) == {"", "run 1"}
    assert [(found[""],)] == charged
    assert max(0, found[""] - BUDGET_NANOS) == 0
    assert BUDGET_NANOS - found[""] < 30_000_000, "more was left than a call costs"


def test_what_a_killed_process_held_of_a_budget_can_be_spent_again(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(workers=4, HOLD_SLICE_TOKENS="100", LEASE_SECONDS="2")
    email = "budget-killed@example.com"
    key = limited(stack, email)
    body = chat(model=MODEL, stream=True, max_tokens=8000, simulate="tokens=8000&pace_ms=50")

    async def hold() -> None:
        calls = [asyncio.create_task(statuses(stack, key, [body])) for _ in range(8)]
        held = lambda: len(spends(stack, email)) == 2  # noqa: E731
        await asyncio.to_thread(eventually, held)
        stack.kill_web()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(result, httpx.TransportError) for result in results)

    asyncio.run(hold())
    assert any(held > 0 for _, _, held in spends(stack, email))
    with recovery():
        stack.start_web()
        stack.start_worker()
        eventually(lambda: all(held == 0 for _, _, held in spends(stack, email)), seconds=120)
    with stack.client(key) as client:
        assert client.post("/chat/completions", json=PLAIN).status_code == 200

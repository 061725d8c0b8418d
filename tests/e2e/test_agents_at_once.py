"""Agents that name 128,000 tokens and use a few hundred: many share a small balance."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.stack import Stack, chat
from tests.support.waiting import eventually

AGENTS = 10
TOKENS = 1_500
# An agent's instructions and tools: 24 kB, 6,000 tokens.
PROMPT = "tool " * 4_800
INPUT_NANOS, OUTPUT_NANOS = 700, 2_500


def ask(stack: Stack, key: str, path: str, simulate: str) -> tuple[int, list[dict[str, Any]]]:
    """Stream an agent's answer. Return the status and the data of the events."""
    content = f"{PROMPT}<simulate>{simulate}</simulate>"
    body = chat(content, stream=True, max_tokens=128_000)
    with stack.client(key, timeout=120) as client:
        answer = client.post(path, json=body)
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n")]
    return answer.status_code, [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("path", ["/chat/completions", "/messages"])
def test_ten_agents_run_on_two_dollars_and_the_default_plan(
    stack: Stack, customer: tuple[str, str], path: str
) -> None:
    email = customer[0].replace("@", f"-agents-{path.strip('/').replace('/', '-')}@")
    key = stack.customer(email, credit="2")
    before = len(stack.journal())

    with ThreadPoolExecutor(AGENTS) as threads:
        answers = [
            threads.submit(ask, stack, key, path, f"tokens={TOKENS}&pace_ms=5")
            for _ in range(AGENTS)
        ]
        calls = (
            "SELECT open_calls FROM billing_creditaccount a JOIN accounts_membership m"
            " USING (team_id) JOIN accounts_user u ON u.id = m.user_id WHERE u.email = %s"
        )
        eventually(lambda: stack.sql(calls, email) == [(AGENTS,)], seconds=30)
        # All of it would be 32 cents for each.
        assert stack.balance(email)["held_nanos"] < 1_000_000_000
        statuses = [answer.result()[0] for answer in answers]

    assert statuses == [200] * AGENTS
    ends = stack.sql(
        "SELECT outcome, output_tokens, charged_nanos <= reserved_nanos"
        " FROM billing_usagerecord r JOIN billing_creditaccount a ON a.id = r.account_id"
        " JOIN accounts_membership m USING (team_id) JOIN accounts_user u ON u.id = m.user_id"
        " WHERE u.email = %s",
        email,
    )
    assert ends == [("completed", TOKENS, True)] * AGENTS
    assert stack.balance(email)["held_nanos"] == 0
    limits = [call["params"]["max_tokens"] for call in stack.journal()[before:]]
    assert limits == [128_000] * AGENTS
    stack.check_ledger()


def test_an_answer_ends_where_the_balance_does(stack: Stack, customer: tuple[str, str]) -> None:
    email = customer[0].replace("@", "-short@")
    key = stack.customer(email, credit="0.05")
    status, events = ask(stack, key, "/chat/completions", "tokens=50000&chunk_tokens=10")
    assert status == 200
    error = events[-1]["error"]
    assert error["code"] == "insufficient_quota"
    delivered = sum(
        len(choice["delta"].get("content") or "")
        for event in events[:-1]
        for choice in event["choices"]
    )
    [(outcome, output, charged, reserved)] = stack.sql(
        "SELECT outcome, output_tokens, charged_nanos, reserved_nanos"
        " FROM billing_usagerecord r JOIN billing_creditaccount a ON a.id = r.account_id"
        " JOIN accounts_membership m USING (team_id) JOIN accounts_user u ON u.id = m.user_id"
        " WHERE u.email = %s",
        email,
    )
    assert (outcome, output) == ("insufficient_quota", error["usage"]["completion_tokens"])
    assert output == pytest.approx(delivered / 4, rel=0.3)
    # What was passed on was held for byte by byte.
    assert delivered * OUTPUT_NANOS <= reserved <= 50_000_000
    assert error["usage"]["cost"] == pytest.approx(charged / 1e9)
    balance = stack.balance(email)
    assert (balance["posted_nanos"], balance["held_nanos"]) == (50_000_000 - charged, 0)
    stack.check_ledger()

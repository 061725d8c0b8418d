"""Limits of calls and tokens when processes are killed and PostgreSQL is away."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("leases", "web processes killed or paused with calls open")


def open_calls(stack: Stack, email: str) -> int:
    """Return how many calls the customer's account counts as open."""
    query = f"SELECT open_calls FROM billing_creditaccount WHERE id IN {ACCOUNTS_OF}"
    ((count,),) = stack.sql(query, email)
    return int(count)


def test_the_calls_of_a_killed_process_make_room_for_others(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(LEASE_SECONDS="2")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 600")
    email = "busy@example.com"
    key = stack.customer(email, "5")
    limit = "UPDATE accounts_team SET concurrent_requests = 2 WHERE id IN (SELECT team_id"
    stack.sql(f"{limit} FROM billing_creditaccount WHERE id IN {ACCOUNTS_OF})", email)
    body = chat(stream=True, simulate="tokens=4000&pace_ms=50", max_tokens=4000)

    def hold() -> None:
        with pytest.raises(httpx.TransportError), stack.client(key) as client:
            client.post("/chat/completions", json=body)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: open_calls(stack, email) == 2)
    with stack.client(key) as client:
        refused = client.post("/chat/completions", json=chat())
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "concurrent_requests_exceeded"
        assert refused.headers["retry-after"] == "1"
        as_anthropic = {"model": "glm-5.2", "max_tokens": 9, "messages": chat()["messages"]}
        answer = client.post("/messages", json=as_anthropic)
        assert answer.status_code == 429
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer.headers["retry-after"] == "1"
    stack.kill_web()
    for thread in threads:
        thread.join(10)
    with recovery():
        stack.start_web()
        stack.start_worker()
        eventually(lambda: open_calls(stack, email) == 0, seconds=60)
    with stack.client(key) as client:
        assert client.post("/chat/completions", json=chat()).status_code == 200


def test_a_stream_that_grows_while_postgresql_is_away_counts_once_it_is_settled(
    stack_with: Callable[..., Stack],
) -> None:
    # All of it is held at once: an extension would wait for the database, and end the stream.
    stack = stack_with(SETTLE_WAIT_SECONDS="1", HOLD_SLICE_TOKENS="0")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    email = "growing@example.com"
    key = stack.customer(email, "5", tokens_per_minute="9000")
    body = chat(stream=True, simulate="tokens=5000&pace_ms=1", max_tokens=5100)
    with (
        stack.client(key) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        stack.postgres.stop("immediate")
        assert "data: [DONE]" in "\n".join(lines)
    time.sleep(0.5)
    stack.postgres.start()
    settled = f"SELECT output_tokens FROM billing_usagerecord WHERE account_id IN {ACCOUNTS_OF}"
    assert eventually(lambda: stack.sql(settled, email)) == [(5000,)]
    # The crash emptied the minute, which is not logged: counting begins anew.
    with stack.client(key) as client:
        assert client.post("/chat/completions", json=chat(max_tokens=10)).status_code == 200


def test_an_answer_that_grows_uses_up_the_minute(stack_with: Callable[..., Stack]) -> None:
    stack = stack_with()
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    key = stack.customer("grown@example.com", "5", tokens_per_minute="9000")
    body = chat(stream=True, simulate="tokens=12000&pace_ms=1", max_tokens=20000)
    with (
        stack.client(key, timeout=60) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        small = chat(max_tokens=10)
        with stack.client(key) as other:
            assert other.post("/chat/completions", json=small).status_code == 200
            eventually(lambda: other.post("/chat/completions", json=small).status_code == 429)
        assert "[DONE]" not in next(lines)

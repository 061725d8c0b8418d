"""Holds of web processes that are killed, stopped or cut off: each has its process's lease."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("leases", "web processes killed or paused with calls open")

LEASE_SECONDS = 2
HOLD_SECONDS = 600
COST_NANOS = 2 * 700 + 40 * 2_500


@pytest.fixture
def stack(stack_with: Callable[..., Stack]) -> Stack:
    """A stack whose holds last long, with its Celery running."""
    stack = stack_with(LEASE_SECONDS=str(LEASE_SECONDS), SETTLE_WAIT_SECONDS="1")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = %s", HOLD_SECONDS)
    stack.start_worker()
    return stack


@contextmanager
def streaming(stack: Stack, key: str, tokens: int = 40) -> Iterator[threading.Thread]:
    """Give the thread of a client that reads a stream, which has begun."""
    has_begun = threading.Event()

    def read() -> None:
        body = chat(stream=True, simulate=f"tokens={tokens}&pace_ms=50", max_tokens=tokens + 10)
        with (
            stack.client(key, timeout=60) as client,
            client.stream("POST", "/chat/completions", json=body) as answer,
        ):
            for _ in answer.iter_lines():
                has_begun.set()

    def quietly() -> None:
        try:
            read()
        except Exception:
            has_begun.set()

    thread = threading.Thread(target=quietly)
    thread.start()
    assert has_begun.wait(30)
    yield thread
    thread.join(60)


def records(stack: Stack, email: str) -> list[tuple[str, bool, int, str]]:
    """Return outcome, lateness, charge and error of a customer's requests."""
    return stack.sql(
        "SELECT outcome, is_late, charged_nanos, error FROM billing_usagerecord"
        f" WHERE account_id IN {ACCOUNTS_OF}",
        email,
    )


def test_a_killed_process_gives_a_small_balance_back_within_a_minute(stack: Stack) -> None:
    email = "small@example.com"
    key = stack.customer(email, "0.02")
    with streaming(stack, key, tokens=4000):
        assert stack.balance(email)["held_nanos"] > 0
        stack.kill_web()
        killed_at = time.monotonic()
        with recovery():
            stack.start_web()
            eventually(lambda: stack.balance(email)["held_nanos"] == 0, seconds=60)
    # Two leases and two sweeps, which are a second here.
    assert time.monotonic() - killed_at < 2 * LEASE_SECONDS + 20
    (record,) = records(stack, email)
    assert record[:3] == ("expired", False, 0)
    assert "died before it could settle" in record[3]


def test_a_stopped_process_keeps_its_holds_and_charges_what_is_right(stack: Stack) -> None:
    email = "stopped@example.com"
    key = stack.customer(email, "1")
    web = stack.web
    assert web is not None
    with streaming(stack, key):
        web.signal(signal.SIGSTOP, group=True)
        time.sleep(2 * LEASE_SECONDS + 4)
        assert stack.balance(email)["held_nanos"] > 0
        web.signal(signal.SIGCONT, group=True)
    assert eventually(lambda: records(stack, email)) == [("completed", False, COST_NANOS, "")]


def test_a_restart_of_postgresql_takes_no_hold_from_a_living_process(stack: Stack) -> None:
    email = "restarted@example.com"
    key = stack.customer(email, "1")
    with streaming(stack, key, tokens=40):
        stack.postgres.stop("immediate")
        time.sleep(2 * LEASE_SECONDS + 1)  # longer than a lease: every lease looks old afterwards
        stack.postgres.start()
    assert eventually(lambda: records(stack, email)) == [("completed", False, COST_NANOS, "")]


def test_a_process_that_was_stopped_while_postgresql_restarted_charges_late(stack: Stack) -> None:
    """Without a session nothing tells it from a dead one: it is given up, and charges what is left.

    The process goes on under another lease.
    """
    email = "late@example.com"
    key = stack.customer(email, "1")
    web = stack.web
    assert web is not None
    with streaming(stack, key):
        web.signal(signal.SIGSTOP, group=True)
        stack.postgres.restart("immediate")
        eventually(lambda: stack.balance(email)["held_nanos"] == 0, seconds=60)
        web.signal(signal.SIGCONT, group=True)
    late = ("completed", True, COST_NANOS, "")
    eventually(lambda: records(stack, email) == [late])
    lost = "SELECT count(*) FROM billing_processlease WHERE ended_at IS NULL"
    eventually(lambda: stack.sql(lost) == [(1,)])
    with stack.client(key) as client:
        assert client.post("/chat/completions", json=chat()).status_code == 200

"""Settlements of processes that are killed while PostgreSQL hangs, and of full spools."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("spool", "SIGKILL with PostgreSQL hung; a full or missing spool")

REQUESTS = 24
COST_NANOS = 2 * 700 + 10 * 2_500


@contextmanager
def hung_postgres(stack: Stack) -> Iterator[None]:
    """Stop PostgreSQL's processes: it accepts nothing, answers nothing, and loses nothing."""
    child = stack.postgres.child
    assert child is not None
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    pids = [child.pid, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def end_while_postgres_hangs(stack: Stack, key: str, count: int) -> Iterator[None]:
    """Have so many streams begin with PostgreSQL and end without it; then wait for the caller."""
    has_begun = threading.Barrier(count + 1)

    def read() -> None:
        body = chat(stream=True, simulate="tokens=10&pace_ms=300", max_tokens=50)
        with (
            stack.client(key, timeout=60) as client,
            client.stream("POST", "/chat/completions", json=body) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            has_begun.wait(30)
            assert "data: [DONE]" in "\n".join(lines)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    has_begun.wait(30)
    with hung_postgres(stack):
        for thread in threads:
            thread.join(60)
        yield


def charges(stack: Stack, email: str) -> list[tuple[int]]:
    """Return what a customer's requests were charged."""
    return stack.sql(
        f"SELECT charged_nanos FROM billing_usagerecord WHERE account_id IN {ACCOUNTS_OF}", email
    )


def test_a_process_that_is_killed_while_postgresql_hangs_loses_no_settlement(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(SETTLE_WAIT_SECONDS="1", LEASE_SECONDS="2")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    email = "hung@example.com"
    key = stack.customer(email, "5")
    for _ in end_while_postgres_hangs(stack, key, REQUESTS):
        stack.kill_web()
    with recovery():
        stack.start_web()
        stack.start_worker()
        eventually(lambda: len(charges(stack, email)) == REQUESTS, seconds=60)
    assert charges(stack, email) == [(COST_NANOS,)] * REQUESTS
    eventually(lambda: not list((stack.folder / "spool").iterdir()))
    assert stack.balance(email)["held_nanos"] == 0


def test_a_spool_that_fails_has_another_and_staff_are_told(
    stack_with: Callable[..., Stack],
) -> None:
    spare = "spare spool"
    stack = stack_with()
    (stack.folder / "blocked").touch()
    options = {
        "SPOOL_DIR": str(stack.folder / "blocked" / "spool"),
        "SPOOL_FALLBACK_DIR": str(stack.folder / spare),
    }
    stack = stack_with(SETTLE_WAIT_SECONDS="1", **options)
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    email = "spare@example.com"
    key = stack.customer(email, "5")
    for _ in end_while_postgres_hangs(stack, key, 3):
        assert [path.suffix for path in (stack.folder / spare).iterdir()] == [".jsonl"]
        assert "spool_folder_failed" in stack.log("web")
    with recovery():
        eventually(lambda: charges(stack, email) == [(COST_NANOS,)] * 3)
    alerts = "SELECT detail FROM billing_ledgeralert WHERE kind = 'spool_failed'"
    ((detail,),) = eventually(lambda: stack.sql(alerts))
    assert options["SPOOL_DIR"] in detail
    eventually(lambda: not list((stack.folder / spare).iterdir()))


def test_without_any_spool_every_settlement_is_in_the_log_and_charged_later(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    (stack.folder / "blocked").touch()
    stack = stack_with(SETTLE_WAIT_SECONDS="1", SPOOL_DIR=str(stack.folder / "blocked" / "spool"))
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    email = "logged@example.com"
    key = stack.customer(email, "5")
    event = "] settlement_not_spooled"  # and not the alert, which names it
    before = stack.log("web").count(event)
    for _ in end_while_postgres_hangs(stack, key, 3):
        time.sleep(0.5)
        lines = [line for line in stack.log("web").splitlines() if event in line]
        assert len(lines) == before + 3
        assert all("error" in line and "request_id" in line for line in lines)
    with recovery():
        eventually(lambda: charges(stack, email) == [(COST_NANOS,)] * 3)

"""PostgreSQL restarted and stopped under requests (reliability.md, faults 5 and 6)."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF, reservations
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("database", "PostgreSQL restarted and stopped under load")


def test_a_restart_under_load_gives_503_and_then_service_again(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(workers=2)
    key = stack.customer(
        "load@example.com", "10", requests_per_minute="100000", tokens_per_minute="100000000"
    )
    answers: list[tuple[float, int, bool]] = []
    stop = threading.Event()

    def load() -> None:
        with stack.client(key) as client:
            while not stop.is_set():
                answer = client.post("/chat/completions", json=chat(max_tokens=20))
                answers.append(
                    (time.monotonic(), answer.status_code, "retry-after" in answer.headers)
                )

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answers) > 50)
    stack.postgres.restart("immediate")
    time.sleep(1)
    stack.postgres.stop("immediate")
    time.sleep(4)
    stack.postgres.start()
    back_at = time.monotonic()
    with recovery():
        eventually(lambda: any(at > back_at and status == 200 for at, status, _ in answers))
    served_at = next(at for at, status, _ in answers if at > back_at and status == 200)
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()

    assert served_at - back_at < 10
    assert {status for _, status, _ in answers} == {200, 503}
    assert all(says_when for _, status, says_when in answers if status == 503)
    known = {
        str(row[0]).replace("-", "") for row in stack.sql("SELECT id FROM billing_reservation")
    }
    relayed = {call["request_id"].replace("-", "") for call in stack.journal()}
    assert relayed <= known, "a call was relayed without a reservation"
    stack.start_worker()
    eventually(lambda: "open" not in reservations(stack), seconds=20)


def test_a_stream_outlives_the_database_and_is_settled_when_it_is_back(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(SETTLE_WAIT_SECONDS="1")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 30")
    key = stack.customer("patient@example.com", "1")
    body = chat(stream=True, simulate="tokens=40&pace_ms=50", max_tokens=50)
    with (
        stack.client(key) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        stack.postgres.stop("immediate")
        text = "\n".join(lines)
        assert text.rstrip().endswith("data: [DONE]")
        refused = httpx.post(
            f"{stack.base_url}/v1/chat/completions",
            json=chat(),
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "service_unavailable"
    stack.postgres.start()
    query = (
        f"SELECT charged_nanos, source FROM billing_usagerecord WHERE account_id IN {ACCOUNTS_OF}"
    )
    with recovery():
        charged = eventually(lambda: stack.sql(query, "patient@example.com"))
    assert charged == [(2 * 700 + 40 * 2_500, "upstream")]


def test_a_stream_waits_for_its_next_slice_while_the_database_restarts(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    key = stack.customer("growing-away@example.com", "1")
    # 8,000 bytes; the first hold pays for 1,000 of them.
    body = chat(stream=True, simulate="tokens=2000&pace_ms=2", max_tokens=128_000)
    with (
        stack.client(key) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        stack.postgres.restart("immediate")
        with recovery():
            text = "\n".join(lines)
    assert text.rstrip().endswith("data: [DONE]")
    query = (
        "SELECT charged_nanos, source, reserved_nanos FROM billing_usagerecord"
        f" WHERE account_id IN {ACCOUNTS_OF}"
    )
    [(charged, source, reserved)] = eventually(lambda: stack.sql(query, "growing-away@example.com"))
    assert (charged, source) == (2 * 700 + 2_000 * 2_500, "upstream")
    assert charged <= reserved
    assert stack.balance("growing-away@example.com")["held_nanos"] == 0


def test_what_a_stopping_process_cannot_settle_is_spooled_and_replayed(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(SETTLE_WAIT_SECONDS="1")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 30")
    key = stack.customer("spooled@example.com", "1")
    body = chat(stream=True, simulate="tokens=10&pace_ms=50", max_tokens=50)
    with (
        stack.client(key) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        stack.postgres.stop("immediate")
        assert "data: [DONE]" in "\n".join(lines)
    stack.web.stop()
    spool = stack.folder / "spool"
    assert len(list(spool.glob("*.jsonl"))) == 1
    stack.postgres.start()
    stack.start_web()
    stack.start_worker()
    query = f"SELECT charged_nanos FROM billing_usagerecord WHERE account_id IN {ACCOUNTS_OF}"
    charged = eventually(lambda: stack.sql(query, "spooled@example.com"), seconds=20)
    assert charged == [(2 * 700 + 10 * 2_500,)]
    eventually(lambda: not list(spool.iterdir()))

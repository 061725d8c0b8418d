"""SIGTERM with streams open (reliability.md, fault 4)."""

import json
import signal
import threading
from collections.abc import Callable

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("deploy", "SIGTERM with streams open")


def test_short_streams_finish_and_long_ones_end_with_an_error_event_and_a_bill(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with(GRACEFUL_SECONDS="6")
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 60")
    key = stack.customer("deploy@example.com", "5")
    texts: dict[str, str] = {}
    begun = threading.Barrier(3)

    def stream(name: str, script: str) -> None:
        body = chat(stream=True, simulate=script, max_tokens=5000)
        with (
            stack.client(key) as client,
            client.stream("POST", "/chat/completions", json=body) as answer,
        ):
            lines = answer.iter_lines()
            texts[name] = next(lines)
            begun.wait()
            texts[name] = "\n".join(lines)

    threads = [
        threading.Thread(target=stream, args=("short", "tokens=20&pace_ms=50")),
        threading.Thread(target=stream, args=("long", "tokens=5000&pace_ms=50")),
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    stack.web.signal(signal.SIGTERM)
    with recovery():
        for thread in threads:
            thread.join(30)
        assert stack.web.wait(15)

    assert texts["short"].rstrip().endswith("data: [DONE]")
    events = [line[6:] for line in texts["long"].splitlines() if line.startswith("data: ")]
    assert events[-1] != "[DONE]"
    error = json.loads(events[-1])["error"]
    assert error["code"] == "server_shutting_down"
    records = eventually(
        lambda: stack.sql(
            "SELECT outcome, source, charged_nanos > 2500 FROM billing_usagerecord"
            f" WHERE account_id IN {ACCOUNTS_OF} ORDER BY output_tokens",
            "deploy@example.com",
        )
    )
    assert records == [("completed", "upstream", True), ("server_shutting_down", "estimated", True)]

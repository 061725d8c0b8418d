"""Two web processes share counts through Valkey: a key gets no more refusals and cancellations than
from one process.
"""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat, free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("valkey", "Valkey flushed and stopped")

EMAIL = "counted@example.com"
LIMITS = {"REFUSALS_PER_MINUTE": "6", "MAX_CANCELLATIONS": "2", "KEEPALIVE_SECONDS": "1"}
# An exchange every half second, and the time that two busy cores may take for it.
EXCHANGE_SECONDS = 5.0


@pytest.fixture
def two(stack_with: Callable[..., Stack]) -> Iterator[tuple[Stack, list[str]]]:
    """The stack, and the base URLs of two web processes of its service."""
    stack = stack_with(**LIMITS)
    port = free_port()
    second = stack.start_second_web(port)
    yield stack, [f"{stack.base_url}/v1", f"http://127.0.0.1:{port}/v1"]
    second.stop()


def refused_at(url: str, key: str, times: int) -> list[int]:
    """Send requests that can't succeed, and return the statuses."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return [
        httpx.post(f"{url}/chat/completions", content=b"{", headers=headers, timeout=30).status_code
        for _ in range(times)
    ]


def cancel_at(url: str, key: str) -> None:
    """Start a stream and close it once some of it has arrived."""
    body = chat(stream=True, simulate="tokens=40&pace_ms=20", max_tokens=40)
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream(
        "POST", f"{url}/chat/completions", json=body, headers=headers, timeout=30
    ) as answer:
        next(answer.iter_raw())


def sources(stack: Stack) -> list[str]:
    """Return the source of the usage of each request that the client cancelled, oldest first."""
    return [
        source
        for (source,) in stack.sql(
            "SELECT source FROM billing_usagerecord WHERE outcome = 'client_closed'"
            f" AND account_id IN {ACCOUNTS_OF} ORDER BY created_at",
            EMAIL,
        )
    ]


def test_a_key_gets_no_more_from_two_processes_than_from_one(
    two: tuple[Stack, list[str]],
) -> None:
    stack, (first, second) = two
    key = stack.customer(EMAIL, "5")
    cancel_at(first, key)
    cancel_at(first, key)
    eventually(lambda: len(sources(stack)) == 2)
    time.sleep(EXCHANGE_SECONDS)
    # The third is drained, whichever process serves it.
    cancel_at(second, key)
    eventually(lambda: len(sources(stack)) == 3)
    assert sources(stack) == ["estimated", "estimated", "upstream"]

    assert refused_at(first, key, 3) == [400] * 3
    assert refused_at(second, key, 3) == [400] * 3
    time.sleep(EXCHANGE_SECONDS)
    assert refused_at(first, key, 1) == refused_at(second, key, 1) == [429]

    stack.valkey.stop()
    another = stack.customer("another@example.com", "1")
    with recovery():
        # Each process counts for itself, at the same limits.
        assert refused_at(first, another, 7) == [400] * 6 + [429]
        assert refused_at(second, another, 1) == [400]
        headers = {"authorization": f"Bearer {another}"}
        answer = httpx.post(f"{second}/chat/completions", json=chat(), headers=headers, timeout=30)
        assert answer.status_code == 200
    stack.valkey.start()

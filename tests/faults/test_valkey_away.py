"""Valkey flushed and stopped: money and limits are not in it (reliability.md, fault 7)."""

from collections.abc import Callable

import pytest
import redis

from tests.faults.rows import recovery
from tests.stack import Stack, chat

pytestmark = pytest.mark.row("valkey", "Valkey flushed and stopped")


def test_neither_money_nor_limits_notice(stack_with: Callable[..., Stack]) -> None:
    stack = stack_with()
    key = stack.customer("unmoved@example.com", "1", requests_per_minute="4")
    with stack.client(key) as client:

        def status() -> int:
            return client.post("/chat/completions", json=chat(max_tokens=20)).status_code

        assert status() == 200
        redis.Redis.from_url(stack.valkey.url).flushall()
        assert status() == 200
        stack.valkey.stop()
        with recovery():
            assert [status() for _ in range(4)] == [200, 200, 429, 429]
    stack.valkey.start()
    assert stack.balance("unmoved@example.com")["held_nanos"] == 0

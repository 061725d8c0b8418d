"""Waiting for what has no event to wait for, in threads and in an event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any


def eventually(
    check: Callable[[], Any], *, seconds: float = 30, every: float = 0.05, what: str = ""
) -> Any:
    """Return the first truthy result of `check`; fail if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline, what or f"not within {seconds} s"
        time.sleep(every)
    return result


async def eventually_async(check: Callable[[], Any], *, seconds: float = 30) -> None:
    """Wait in an event loop until `check` is truthy; fail if it is not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.005)

"""Stacks for the fault tests: timers scaled to seconds, the sweep every second."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack, running

# A hold lasts the upstream's total time plus HOLD_GRACE_SECONDS (2 here, see tests/stack.py).
TOTAL_SECONDS = 3


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Start stacks whose books are proved when the test is over."""
    with ExitStack() as stacks:

        def start(**options: Any) -> Stack:
            stack = stacks.enter_context(running(tmp_path, **options))
            stack.sql("UPDATE api_upstream SET total_timeout_seconds = %s", TOTAL_SECONDS)
            return stack

        yield start


def reservations(stack: Stack) -> list[str]:
    """Return the states of all reservations."""
    return [state for (state,) in stack.sql("SELECT state FROM billing_reservation ORDER BY id")]

"""One stack for all fault tests: timers scaled to seconds, the sweep every second. Each test finds
it whole, with the settings that it asks for.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults import losses, rows
from tests.stack import Stack, running

# A hold lasts the upstream's total time plus HOLD_GRACE_SECONDS (2 here, see tests/stack.py).
TOTAL_SECONDS = 3
# SQL for the credit accounts of the customers with an email like the parameter.
ACCOUNTS_OF = """(
    SELECT a.id FROM billing_creditaccount a JOIN accounts_membership USING (team_id)
    JOIN accounts_user u ON u.id = user_id WHERE u.email LIKE %s)"""


@pytest.fixture(scope="session")
def _fault_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("faults")) as started:
        yield started


@pytest.fixture(autouse=True)
def _books(request: pytest.FixtureRequest, _fault_stack: Stack) -> Iterator[None]:
    """Prove the books after the last test of each row: `check_ledger`, the audit, nothing lost."""
    yield
    if not rows.is_last(request.node):
        return
    _fault_stack.postgres.start()
    _fault_stack.check_ledger()
    lost_nanos = losses.lost_nanos(_fault_stack)
    rows.note_loss(request.node, lost_nanos)
    assert lost_nanos == 0


@pytest.fixture(scope="module")
def stack_with(_fault_stack: Stack) -> Callable[..., Stack]:
    """Give the stack with these options of `Stack`, its Celery stopped and everything else running.

    The books are proved when it is asked for again, and at the end.
    """

    def get(**options: Any) -> Stack:
        stack = _fault_stack
        stack.postgres.start()
        stack.valkey.start()
        if stack.worker is not None:
            stack.worker.stop()
        stack.configure_web(**options)
        stack.sql("UPDATE api_upstream SET total_timeout_seconds = %s", TOTAL_SECONDS)
        stack.check_ledger()
        return stack

    return get


def reservations(stack: Stack) -> list[str]:
    """Return the states of all reservations."""
    return [state for (state,) in stack.sql("SELECT state FROM billing_reservation ORDER BY id")]

"""kill -9 while days' roots are built: the next run builds what is missing, and no root twice."""

import signal
from collections.abc import Callable

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack

pytestmark = pytest.mark.row("receipts", "SIGKILL while days' Merkle roots are built")

EMAIL = "rooted@example.com"
# As if the day were over.
BUILD = """
from datetime import timedelta
from django.utils import timezone
from billing.models import CreditAccount
from billing.receipts.day_roots import close_days_of
account = CreditAccount.objects.get(team__memberships__user__email="{email}")
print(close_days_of(account, timezone.now() + timedelta(days=2)))
"""


def build(stack: Stack, failpoint: str = "") -> bool:
    """Build in a process of its own; return whether it died at the failpoint."""
    code = BUILD.format(email=EMAIL)
    status, _, problem = stack.run_command("shell", "-v", "0", "-c", code, failpoint=failpoint)
    assert status in (0, -signal.SIGKILL), problem
    return status == -signal.SIGKILL


def roots(stack: Stack) -> list[tuple[int, int]]:
    return stack.sql(
        "SELECT first_sequence, last_sequence FROM billing_dayroot"
        f" WHERE account_id IN {ACCOUNTS_OF} ORDER BY day",
        EMAIL,
    )


def test_a_builder_that_dies_is_followed_by_one_that_completes(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    stack.customer(EMAIL)
    assert build(stack, "in_day_root")
    assert roots(stack) == []
    assert build(stack, "after_day_root")
    assert roots(stack) == [(1, 1)]
    with recovery():
        assert not build(stack)
    assert roots(stack) == [(1, 1)]
    stack.check_ledger()

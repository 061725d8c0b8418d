"""kill -9 while an upstream's export is read and usage is corrected: each request is, once."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("correction", "SIGKILL while an export is compared, and corrected")

EMAIL = "corrected@example.com"
IMPORT = """
from accounts.models import User
from billing.reconciliation import statements
from billing.reconciliation.export_file import Mapping
content = {content!r}.encode()
user = User.objects.get(email="{email}")
statement, _ = statements.upload(user, "{upstream}", "usage.csv", len(content), lambda: [content])
statements.start(statement, user, Mapping(statement.columns), "dollar")
"""
PROCESS = """
from billing.reconciliation import statements
print(statements.process_statements())
"""
CONFIRM = """
from accounts.models import User
from billing.models import UpstreamStatement
from billing.reconciliation import statements
found = UpstreamStatement.objects.get()
user = User.objects.get(email="{email}")
statements.confirm(found, user, compared_at=found.compared_at, reason="As billed")
"""


def run(stack: Stack, code: str, failpoint: str = "") -> bool:
    """Run Python in a process of its own; return whether it died at the failpoint."""
    status, _, problem = stack.run_command("shell", "-v", "0", "-c", code, failpoint=failpoint)
    assert status in (0, -signal.SIGKILL), problem
    return status == -signal.SIGKILL


def corrections(stack: Stack) -> list[int]:
    rows = stack.sql(
        "SELECT amount_nanos FROM billing_transfer WHERE kind = 'adjustment'"
        f" AND reference LIKE 'correction:%%' AND customer_id IN {ACCOUNTS_OF}",
        EMAIL,
    )
    return [nanos for (nanos,) in rows]


def state(stack: Stack) -> str:
    return str(stack.sql("SELECT state FROM billing_upstreamstatement")[0][0])


def test_a_worker_that_dies_is_followed_by_one_that_corrects_each_request_once(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    key = stack.customer(EMAIL)
    with stack.client(key) as client:
        for _ in range(3):
            assert client.post("/chat/completions", json=chat()).status_code == 200
    # As if the upstream had reported nothing.
    stack.sql(
        "UPDATE billing_usagerecord SET source = 'estimated', upstream_request_id ="
        f" 'up-' || request_id WHERE account_id IN {ACCOUNTS_OF}",
        EMAIL,
    )
    records = stack.sql(
        "SELECT upstream_request_id, upstream FROM billing_usagerecord"
        f" WHERE account_id IN {ACCOUNTS_OF}",
        EMAIL,
    )
    assert len(records) == 3
    now = datetime.now(UTC).isoformat()
    content = "request_id,created_at,input_tokens,output_tokens\n" + "".join(
        f"{upstream_id},{now},1,0\n" for upstream_id, _ in records
    )
    run(stack, IMPORT.format(content=content, email=EMAIL, upstream=records[0][1]))
    assert state(stack) == "queued"

    assert run(stack, PROCESS, "in_comparison")
    assert state(stack) == "queued"
    assert stack.sql("SELECT 1 FROM billing_statementline") == []
    run(stack, PROCESS)
    assert state(stack) == "ready"
    # Their teams are their own, and nobody corrects those but a superuser.
    stack.sql("UPDATE accounts_user SET is_superuser = true WHERE email LIKE %s", EMAIL)
    run(stack, CONFIRM.format(email=EMAIL))

    assert run(stack, PROCESS, "after_usage_correction")
    assert (state(stack), corrections(stack)) == ("correcting", [])
    stack.check_ledger()

    stack.start_worker(STATEMENT_SECONDS="1")
    with recovery():
        eventually(lambda: state(stack) == "ready", seconds=120)
    assert len(corrections(stack)) == 3

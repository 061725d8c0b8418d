"""kill -9 while payments are on their way: each is credited once, and the books are right."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.stack import ROOT, Stack
from tests.support.waiting import eventually

PLACE = """
from uuid import UUID
from accounts.models import User
from billing.payments import orders
user = User.objects.get(email="payer@example.com")
order = orders.place(user.teams.get(), user, 1000, UUID("{order}"))
print(orders.open_checkout(order, user, success_url="{url}", cancel_url="{url}"))
"""
CONFIRM = """
from billing.models import Order
from billing.payments import orders
orders.confirm(Order.objects.get(pk="{order}"))
"""


def run(stack: Stack, code: str, order: uuid.UUID, **environment: str) -> Any:
    """Run Python beside the stack, as a process of its own."""
    text = code.format(order=order, url=stack.base_url)
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "shell", "-v", "0", "-c", text],
        env=stack.environment | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def checkout_page(stack: Stack, order: uuid.UUID) -> str:
    """Places an order, and returns the page where it is paid."""
    done = run(stack, PLACE, order)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.strip())


def pay(page: str) -> None:
    assert httpx.post(f"{page}/pay", data={"card": "pm_card_visa"}).status_code == 303


def credited(stack: Stack) -> list[int]:
    rows = stack.sql("SELECT amount_nanos FROM billing_transfer WHERE kind = 'top_up'")
    return [nanos for (nanos,) in rows]


def let_leases_end(stack: Stack) -> None:
    """Have the events be due that a dead process has claimed, as they are after some minutes."""
    stack.sql("UPDATE billing_stripeevent SET next_attempt_at = now() WHERE ended_at IS NULL")


def wait_until_the_worker_is_dead(stack: Stack) -> None:
    worker = stack.worker
    assert worker is not None
    eventually(lambda: not worker.running, seconds=30, what="the worker lives")


def everything_is_handled(stack: Stack) -> bool:
    let_leases_end(stack)
    return not stack.sql("SELECT id FROM billing_stripeevent WHERE ended_at IS NULL")


def reconcile(stack: Stack) -> None:
    """Fail where Stripe's balance and the books differ."""
    stack.manage("reconcile_stripe", "--since", f"{datetime.now(UTC):%Y-%m-%d}")


def events_of_orders(stack: Stack) -> int:
    """Return how many orders Stripe has told to be paid, and been answered."""
    kind = "checkout.session.completed"
    (row,) = stack.sql("SELECT count(*) FROM billing_stripeevent WHERE type = %s", kind)
    return int(row[0])


def test_a_worker_that_dies_with_an_event_is_followed_by_another(
    start_stack: Callable[..., Stack],
) -> None:
    stack = start_stack()
    stack.customer("payer@example.com")
    pages = [checkout_page(stack, uuid.uuid4()) for _ in range(4)]
    for point in ("in_credit", "after_event_handled"):
        stack.start_worker(TOLLGATE_FAILPOINT=point)
        for page in (pages.pop(), pages.pop()):
            pay(page)
        wait_until_the_worker_is_dead(stack)
        let_leases_end(stack)

    stack.start_worker()
    eventually(lambda: events_of_orders(stack) == 4, seconds=30)
    eventually(lambda: everything_is_handled(stack), seconds=60, every=1)

    assert credited(stack) == [10 * 10**9] * 4
    assert stack.sql("SELECT DISTINCT state FROM billing_order") == [("paid",)]
    reconcile(stack)


def test_a_process_that_dies_between_stripes_answer_and_our_commit_is_made_up_for(
    start_stack: Callable[..., Stack],
) -> None:
    stack = start_stack()
    stack.customer("payer@example.com")
    order = uuid.uuid4()

    # With the session open at Stripe, and the order's row not knowing of it.
    died = run(stack, PLACE, order, TOLLGATE_FAILPOINT="after_checkout_opened")
    assert died.returncode == -signal.SIGKILL
    assert stack.sql("SELECT session_id FROM billing_order") == [(None,)]
    page = checkout_page(stack, order)
    assert stack.sql("SELECT count(*) FROM billing_order WHERE session_id IS NOT NULL") == [(1,)]

    # With the webhook kept, and Stripe's call not answered.
    stack.kill_web()
    stack.start_web(TOLLGATE_FAILPOINT="after_event_kept")
    pay(page)
    eventually(lambda: stack.sql("SELECT id FROM billing_stripeevent"))
    stack.kill_web()
    stack.start_web()

    # With the payment found, and the credit not committed.
    died = run(stack, CONFIRM, order, TOLLGATE_FAILPOINT="in_credit")
    assert died.returncode == -signal.SIGKILL
    assert credited(stack) == []

    stack.start_worker()
    eventually(lambda: credited(stack), seconds=30)
    eventually(lambda: everything_is_handled(stack), seconds=60, every=1)
    assert credited(stack) == [10 * 10**9]
    sessions = httpx.get(
        f"{stack.stripe.url}/v1/checkout/sessions", headers={"authorization": "Bearer sk_test"}
    )
    assert len(sessions.json()["data"]) == 1
    reconcile(stack)


def test_while_valkey_is_away_payments_are_taken_down_and_credited_later(
    start_stack: Callable[..., Stack],
) -> None:
    stack = start_stack()
    stack.customer("payer@example.com")
    page = checkout_page(stack, uuid.uuid4())
    stack.start_worker()
    stack.valkey.stop()

    pay(page)
    eventually(lambda: events_of_orders(stack), seconds=30)
    assert credited(stack) == []

    stack.valkey.start()
    eventually(lambda: credited(stack), seconds=60)
    assert credited(stack) == [10 * 10**9]
    assert '"POST /webhooks/stripe" 500' not in stack.log("web")

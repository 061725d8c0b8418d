"""kill -9 while payments are on their way: each is credited once, and the books are right."""

import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("payment", "SIGKILL at each step of a payment; Valkey away")

PLACE = """
from uuid import UUID
from accounts.models import User
from billing.payments import orders
user = User.objects.get(email="{payer}")
order = orders.place(user.teams.get(), user, 1000, UUID("{order}"))
print(orders.open_checkout(order, user, success_url="{url}", cancel_url="{url}"))
"""
PAID = "checkout.session.completed"
CONFIRM = """
from billing.models import Order
from billing.payments import orders
orders.confirm(Order.objects.get(pk="{order}"))
"""


@dataclass
class Payer:
    """A customer of the stack, and what became of the payments."""

    stack: Stack
    email: str

    def __post_init__(self) -> None:
        self.stack.customer(self.email)

    def checkout_page(self, order: uuid.UUID) -> str:
        """Place an order; return the page where it is paid."""
        options = ("-v", "0", "-c", code(PLACE, self, order))
        return self.stack.manage("shell", *options).strip()

    def credited(self) -> list[int]:
        query = f"SELECT amount_nanos FROM billing_transfer WHERE customer_id IN {ACCOUNTS_OF}"
        rows = self.stack.sql(f"{query} AND kind = 'top_up'", self.email)
        return [nanos for (nanos,) in rows]

    def orders(self, columns: str) -> list[tuple[Any, ...]]:
        return self.stack.sql(
            f"SELECT DISTINCT {columns} FROM billing_order WHERE user_id ="
            " (SELECT id FROM accounts_user WHERE email = %s)",
            self.email,
        )


def code(text: str, payer: Payer, order: uuid.UUID) -> str:
    return text.format(order=order, url=payer.stack.base_url, payer=payer.email)


def killed_at(point: str, text: str, payer: Payer, order: uuid.UUID) -> bool:
    """Run Python in a process that is to die at a point; return whether it did."""
    arguments = ("shell", "-v", "0", "-c", code(text, payer, order))
    return payer.stack.run_command(*arguments, failpoint=point)[0] == -signal.SIGKILL


def pay(page: str) -> None:
    assert httpx.post(f"{page}/pay", data={"card": "pm_card_visa"}).status_code == 303


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


def events(stack: Stack, kind: str = "%") -> int:
    """Return how many events of a type Stripe has sent, and we have kept."""
    (row,) = stack.sql("SELECT count(*) FROM billing_stripeevent WHERE type LIKE %s", kind)
    return int(row[0])


def test_a_worker_that_dies_with_an_event_is_followed_by_another(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    payer = Payer(stack, "four-payments@example.com")
    known = events(stack, PAID)
    pages = [payer.checkout_page(uuid.uuid4()) for _ in range(4)]
    for point in ("in_credit", "after_event_handled"):
        stack.start_worker(TOLLGATE_FAILPOINT=point)
        for page in (pages.pop(), pages.pop()):
            pay(page)
        wait_until_the_worker_is_dead(stack)
        let_leases_end(stack)

    stack.start_worker()
    with recovery():
        eventually(lambda: events(stack, PAID) == known + 4, seconds=30)
        eventually(lambda: everything_is_handled(stack), seconds=60, every=1)

    assert payer.credited() == [10 * 10**9] * 4
    assert payer.orders("state") == [("paid",)]
    reconcile(stack)


def test_a_process_that_dies_between_stripes_answer_and_our_commit_is_made_up_for(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    payer = Payer(stack, "one-payment@example.com")
    known = events(stack)
    order = uuid.uuid4()

    # With the session open at Stripe, and the order's row not knowing of it.
    assert killed_at("after_checkout_opened", PLACE, payer, order)
    assert payer.orders("session_id") == [(None,)]
    page = payer.checkout_page(order)
    assert payer.orders("id, session_id IS NOT NULL") == [(order, True)]

    # With the webhook kept, and Stripe's call not answered.
    stack.kill_web()
    stack.start_web(TOLLGATE_FAILPOINT="after_event_kept")
    pay(page)
    eventually(lambda: events(stack) > known)
    stack.kill_web()
    stack.start_web()

    # With the payment found, and the credit not committed.
    assert killed_at("in_credit", CONFIRM, payer, order)
    assert payer.credited() == []

    stack.start_worker()
    with recovery():
        eventually(payer.credited, seconds=30)
        eventually(lambda: everything_is_handled(stack), seconds=60, every=1)
    assert payer.credited() == [10 * 10**9]
    sessions = stack.stripe.client.v1.checkout.sessions.list({"limit": 100})
    assert [session.client_reference_id for session in sessions].count(str(order)) == 1
    reconcile(stack)


def test_while_valkey_is_away_payments_are_taken_down_and_credited_later(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    payer = Payer(stack, "patient-payer@example.com")
    known, logged = events(stack, PAID), len(stack.log("web"))
    page = payer.checkout_page(uuid.uuid4())
    stack.start_worker()
    stack.valkey.stop()

    pay(page)
    eventually(lambda: events(stack, PAID) > known, seconds=30)
    assert payer.credited() == []

    stack.valkey.start()
    with recovery():
        eventually(payer.credited, seconds=60)
    assert payer.credited() == [10 * 10**9]
    assert '"POST /webhooks/stripe" 500' not in stack.log("web")[logged:]

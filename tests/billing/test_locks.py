"""Locks: what one statement decides stays true until it commits."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.billing.ledger_calls import (
    Customer,
    admit,
    connect,
    make_customer,
    new_id,
    settle,
    sweep,
    wait_until_blocked,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_are_right")]


def test_a_batch_locks_the_accounts_of_all_its_keys():
    """All, before the decision and whatever it comes to: here nobody can pay."""
    customers = [make_customer() for _ in range(3)]
    with connect(autocommit=False) as holder, connect() as watcher:
        admissions = admit(*[customer.ask() for customer in customers], on=holder)
        free = watcher.execute(
            "SELECT id FROM billing_creditaccount WHERE id = ANY (%s)"
            " FOR NO KEY UPDATE SKIP LOCKED",
            [[customer.account.pk for customer in customers]],
        ).fetchall()
        holder.rollback()

    assert {admission.code for admission in admissions} == {"insufficient_quota"}
    assert free == []


def behind(holder: psycopg.Connection, work: Callable[[psycopg.Connection], Any]) -> Any:
    """Do something on a connection of its own, which has to wait for the holder's commit."""
    with connect() as own, ThreadPoolExecutor(1) as thread:
        later = thread.submit(work, own)
        wait_until_blocked(own.info.backend_pid)
        holder.commit()
        return later.result(timeout=60)


def test_an_admission_waits_for_the_one_before_it():
    customer = make_customer(150, requests_per_minute=5)
    with connect(autocommit=False) as holder:
        admit(customer.ask(), on=holder)
        (second,) = behind(holder, lambda own: admit(customer.ask(), on=own))

    assert second.code == "insufficient_quota"
    assert (second.available_nanos, second.requests_remaining) == (50, 4)


def test_an_admission_does_not_wait_for_another_customers():
    customer, other = make_customer(150), make_customer(150)
    with connect(autocommit=False) as holder, connect() as own:
        admit(customer.ask(), on=holder)
        own.execute("SET lock_timeout = '1s'")
        assert admit(other.ask(), on=own)[0].code == "admitted"


def test_a_settlement_waits_for_a_posting():
    """And takes no more than that leaves."""
    customer = make_customer(1000)
    ask = customer.admitted()
    with connect(autocommit=False) as holder:
        take(holder, customer, 880)
        (receipt,) = behind(holder, lambda own: settle(customer.end(ask, output_nanos=300), on=own))

    assert (receipt.charged_nanos, receipt.written_off_nanos) == (120, 180)
    assert customer.balances == (0, 0)
    assert [transfer.sequence for transfer in customer.transfers] == [1, 2, 3]


def test_a_posting_waits_for_a_settlement():
    customer = make_customer(1000)
    ask = customer.admitted()
    with connect(autocommit=False) as holder:
        settle(customer.end(ask, output_nanos=100), on=holder)
        code = behind(holder, lambda own: take(own, customer, 901))

    assert code == "exceeds_credits"
    assert customer.balances == (900, 0)


def test_the_sweep_waits_for_a_posting():
    """Before it touches a reservation: else it and a settlement would wait for each other."""
    customer = make_customer(1000)
    ask = customer.admitted(hold_seconds=-1)
    with connect(autocommit=False) as holder, connect() as own, ThreadPoolExecutor(1) as thread:
        take(holder, customer, 10)
        later = thread.submit(sweep, own)
        wait_until_blocked(own.info.backend_pid)
        (receipt,) = settle(customer.end(ask, output_nanos=40), on=holder)
        holder.commit()
        later.result(timeout=60)

    assert receipt.code == "settled"
    assert customer.balances == (950, 0)


def take(own: psycopg.Connection, customer: Customer, amount: int) -> str:
    """Post a debit, and return its code."""
    row = ["adjustment", new_id(), customer.account.pk, "debit", "adjustments", amount, ""]
    return own.execute("SELECT code FROM billing_post(%s, %s, %s, %s, %s, %s, %s)", row).fetchone()[
        0
    ]

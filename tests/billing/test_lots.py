"""Credit lots: what is left of each gift and payment, and gifts that expire."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import tasks
from billing.ledger import postings
from billing.models import CreditLot
from billing.usage.lots import lots_left, refundable_nanos
from tests.billing.ledger_calls import (
    Customer,
    admit,
    connect,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    settle,
    wait_until_blocked,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

EXPIRE = "SELECT billing_expire_lots(100000)"


def give(customer: Customer, amount: int, days: float | None = None) -> datetime | None:
    """Grant credits for some days; for a negative number they have expired already."""
    expires_at = None if days is None else timezone.now() + timedelta(days=days)
    postings.grant(customer.account, amount, reference=new_id(), expires_at=expires_at)
    return expires_at


def pay(customer: Customer, amount: int) -> str:
    """Top up, and return the payment."""
    payment = new_id()
    postings.top_up(customer.account, amount, reference=payment)
    return payment


def spend(customer: Customer, amount: int) -> None:
    """Have a request admitted and settled."""
    ask = customer.admitted(amount_nanos=amount)
    (receipt,) = settle(customer.end(ask, output_nanos=amount))
    assert receipt.charged_nanos == amount


def left(customer: Customer) -> list[int]:
    """Return what is left of the customer's lots, in the order of spending."""
    return [lot.left_nanos for lot in lots_left(customer.account)]


def test_gifts_are_spent_before_payments_and_the_nearest_expiry_first():
    customer = make_customer()
    pay(customer, 100)
    give(customer, 200)
    give(customer, 300, days=9)
    give(customer, 400, days=2)
    assert left(customer) == [400, 300, 200, 100]

    spend(customer, 450)
    assert left(customer) == [250, 200, 100]
    spend(customer, 460)
    assert left(customer) == [90]
    assert [lot.is_paid for lot in lots_left(customer.account)] == [True]


def test_what_was_spent_before_a_gift_came_is_not_spent_of_it():
    customer = make_customer()
    pay(customer, 100)
    spend(customer, 30)

    give(customer, 50, days=1)

    assert left(customer) == [50, 70]


def test_usage_writes_no_lot():
    customer = make_customer()
    pay(customer, 100)
    spend(customer, 30)

    assert CreditLot.objects.get(account=customer.account).remaining_nanos == 100
    assert left(customer) == [70]


def test_an_expired_gift_is_taken_back():
    customer = make_customer()
    pay(customer, 100)
    expires_at = give(customer, 300, days=-1)
    spend(customer, 120)

    assert tasks.expire_credits() == 1

    assert customer.balances == (100, 0)
    assert left(customer) == [100]
    taken = customer.transfers[-1]
    assert (taken.kind, taken.amount_nanos) == ("expiry", 180)
    assert taken.debit_account == customer.account
    assert taken.credit_account.kind == "promotional_grants"
    assert taken.memo == f"Expired on {expires_at:%Y-%m-%d}"
    assert tasks.expire_credits() == 0


def test_what_is_spent_or_has_time_does_not_expire():
    customer = make_customer()
    give(customer, 100, days=-1)
    give(customer, 100, days=1)
    spend(customer, 100)

    assert tasks.expire_credits() == 0
    assert customer.balances == (100, 0)


def test_what_an_open_request_holds_expires_once_it_is_released():
    customer = make_customer()
    give(customer, 300, days=-1)
    ask = customer.admitted(amount_nanos=200)

    assert tasks.expire_credits() == 1
    assert customer.balances == (200, 200)
    assert tasks.expire_credits() == 0

    settle(customer.end(ask, output_nanos=50))
    assert tasks.expire_credits() == 1
    assert customer.balances == (0, 0)
    expiries = [each for each in customer.transfers if each.kind == "expiry"]
    assert [each.amount_nanos for each in expiries] == [100, 150]
    assert CreditLot.objects.get(account=customer.account).expired_nanos == 250


def test_several_gifts_of_several_customers_expire_in_one_run():
    customers = [make_customer() for _ in range(3)]
    for customer in customers:
        give(customer, 10, days=-2)
        give(customer, 20, days=-1)
        give(customer, 40)

    assert tasks.expire_credits() == 6
    assert [customer.balances for customer in customers] == [(40, 0)] * 3


def test_an_expired_gift_is_spent_while_the_sweep_has_not_come():
    customer = make_customer()
    give(customer, 300, days=-1)

    assert admit(customer.ask(amount_nanos=300))[0].code == "admitted"


@pytest.mark.django_db(transaction=True)
def test_expiry_at_once_takes_once():
    customer = make_customer()
    give(customer, 300, days=-1)

    counts = repeat_on_ten_connections(lambda own: own.execute(EXPIRE).fetchone()[0])

    assert sum(counts) == 1
    assert customer.balances == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_expiry_waits_for_a_request_and_takes_what_it_left():
    customer = make_customer()
    give(customer, 300, days=-1)
    with connect(autocommit=False) as holder, connect() as own, ThreadPoolExecutor(1) as thread:
        admit(customer.ask(amount_nanos=120), on=holder)
        later = thread.submit(lambda: own.execute(EXPIRE).fetchone()[0])
        wait_until_blocked(own.info.backend_pid)
        holder.commit()
        assert later.result(timeout=60) == 1

    assert customer.balances == (120, 120)


def test_refundable_is_the_paid_credit_that_is_neither_spent_nor_held():
    customer = make_customer()
    pay(customer, 100)
    give(customer, 50)
    assert refundable_nanos(customer.account) == 100
    spend(customer, 70)
    assert refundable_nanos(customer.account) == 80
    admit(customer.ask(amount_nanos=30))
    assert refundable_nanos(customer.account) == 50


@pytest.mark.parametrize(
    "change", [{"remaining_nanos": -1}, {"remaining_nanos": 101}, {"expired_nanos": 1}]
)
def test_a_lot_stays_within_its_amount(change):
    customer = make_customer()
    give(customer, 100)
    lots = CreditLot.objects.filter(account=customer.account)

    with pytest.raises(IntegrityError), transaction.atomic():
        lots.update(**change)


def test_a_payment_never_expires():
    customer = make_customer()
    pay(customer, 100)
    lots = CreditLot.objects.filter(account=customer.account)

    with pytest.raises(IntegrityError), transaction.atomic():
        lots.update(expires_at=timezone.now())

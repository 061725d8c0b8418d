"""What is undone returns to the lots that it was drawn from, whole or in parts."""

import itertools
from datetime import timedelta

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.ledger import expiry, postings
from billing.models import CreditLot, Transfer
from billing.usage.lots import lots_left, refundable_nanos
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import (
    Customer,
    connect,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    top_up,
)
from tests.billing.test_give_back import owing
from tests.billing.test_lots import give, left, pay, spend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

REVERSE_UP_TO = "SELECT code FROM billing_reverse_up_to(%s, %s, %s, %s, '')"


def kinds_left(customer: Customer) -> list[tuple[bool, bool, int]]:
    """Return of each lot left whether it was paid, whether it expires, and how much it has."""
    found = lots_left(customer.account)
    return [(lot.is_paid, lot.expires_at is not None, lot.left_nanos) for lot in found]


def test_a_won_dispute_gives_a_gift_back_as_the_gift_it_was():
    """Pay 12 and spend it, have 10 for a week from a plan, dispute the plan and win."""
    customer = make_customer()
    payment, plan, dispute = pay(customer, 12), new_id(), new_id()
    spend(customer, 12)
    expires_at = timezone.now() + timedelta(days=7)
    postings.grant(customer.account, 10, reference=plan, expires_at=expires_at)
    credit = postings.Credit(Transfer.Kind.GRANT, plan)
    postings.claw_back(customer.account, 10, reference=dispute, credit=credit)

    postings.reverse_claw_back(customer.account, reference=dispute)

    (lot,) = lots_left(customer.account)
    assert (lot.left_nanos, lot.is_paid, lot.expires_at) == (10, False, expires_at)
    assert refundable_nanos(customer.account) == 0
    with pytest.raises(postings.InsufficientCreditsError):
        postings.refund(customer.account, 10, reference=new_id(), credit=top_up(payment))


def test_a_failed_refund_returns_each_kind_to_its_lots():
    customer = make_customer()
    payment, refund = pay(customer, 100), new_id()
    give(customer, 50, days=1)
    give(customer, 60)
    before = kinds_left(customer)
    postings.refund(customer.account, 200, reference=refund, credit=top_up(payment), is_forced=True)
    assert kinds_left(customer) == [(False, True, 10)]

    postings.reverse_refund(customer.account, reference=refund)

    assert kinds_left(customer) == before


def test_what_a_debt_was_collected_from_gets_it_back():
    customer = make_customer()
    dispute = owing(customer, 100)
    give(customer, 80, days=3)
    pay(customer, 70)
    before = kinds_left(customer)
    postings.collect(customer.account, reference=dispute)
    assert kinds_left(customer) == [(True, False, 50)]

    postings.reverse_claw_back(customer.account, reference=dispute)

    assert kinds_left(customer) == before


def test_what_was_spent_meanwhile_is_spent_of_what_was_there():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))
    give(customer, 40, days=1)
    spend(customer, 30)

    postings.reverse_claw_back(customer.account, reference=dispute)

    assert kinds_left(customer) == [(False, True, 10), (True, False, 100)]


def test_a_gift_that_has_expired_meanwhile_returns_and_goes_with_the_next_sweep():
    customer = make_customer()
    plan, dispute = new_id(), new_id()
    soon = timezone.now() + timedelta(hours=1)
    postings.grant(customer.account, 10, reference=plan, expires_at=soon)
    credit = postings.Credit(Transfer.Kind.GRANT, plan)
    postings.claw_back(customer.account, 10, reference=dispute, credit=credit)
    CreditLot.objects.filter(account=customer.account).update(
        expires_at=timezone.now() - timedelta(days=30)
    )

    postings.reverse_claw_back(customer.account, reference=dispute)

    assert customer.balances == (10, 0)
    assert broken_invariants() == {}  # though it is long past its expiry
    assert expiry.expire_lots() == 1
    assert customer.balances == (0, 0)


def test_what_was_taken_before_lots_were_recorded_returns_as_a_gift_that_never_expires():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))
    forget_movements(customer)

    postings.reverse_claw_back(customer.account, reference=dispute)

    assert kinds_left(customer) == [(False, False, 100)]
    assert refundable_nanos(customer.account) == 0


def forget_movements(customer: Customer) -> None:
    """Leave a take-back as the release before lot movements left it."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_lotmovement DISABLE TRIGGER USER")
        cursor.execute(
            "DELETE FROM billing_lotmovement m USING billing_creditlot l"
            " WHERE l.transfer_id = m.lot_id AND l.account_id = %s",
            [customer.account.pk],
        )
        cursor.execute("ALTER TABLE billing_lotmovement ENABLE TRIGGER USER")


# A dispute that is won in part.


def test_a_part_that_is_won_ends_what_is_owed_before_it_gives_back():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    spend(customer, 60)
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))

    steps = [
        postings.reverse_claw_back(customer.account, reference=dispute, up_to_nanos=total)
        for total in (50, 50, 75, 60, 1000)
    ]

    assert [(p.code, p.amount_nanos, p.shortfall_nanos) for p in steps] == [
        ("posted", 0, 50),
        ("exists", 0, 50),
        ("posted", 15, 10),
        ("exists", 15, 60),
        ("posted", 25, 0),
    ]
    assert customer.balances == (40, 0)
    assert kinds_left(customer) == [(True, False, 40)]
    with pytest.raises(postings.UnknownReferenceError):
        postings.collect(customer.account, reference=dispute)


def test_after_a_part_was_won_only_the_rest_is_collected():
    customer = make_customer()
    dispute = owing(customer, 100)
    postings.reverse_claw_back(customer.account, reference=dispute, up_to_nanos=40)
    pay(customer, 70)

    posting = postings.collect(customer.account, reference=dispute)

    assert (posting.amount_nanos, posting.balance_nanos) == (60, 10)
    again = postings.reverse_claw_back(customer.account, reference=dispute, up_to_nanos=90)
    assert (again.amount_nanos, again.shortfall_nanos) == (50, 0)
    assert postings.collect(customer.account, reference=dispute).code == "exists"
    assert customer.balances == (60, 0)


@pytest.mark.django_db(transaction=True)
def test_a_hundred_parts_at_once_add_up_to_the_largest():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))
    totals = itertools.cycle([10, 30, 60])
    row = ["clawback", dispute, customer.account.pk]

    repeat_on_ten_connections(lambda own: own.execute(REVERSE_UP_TO, [*row, next(totals)]))

    assert customer.balances == (60, 0)
    assert kinds_left(customer) == [(True, False, 60)]


@pytest.mark.django_db(transaction=True)
def test_a_reversal_whose_connection_is_lost_before_its_commit_is_made_by_the_repeat():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))
    row = ["clawback", dispute, customer.account.pk, 60]
    with connect(autocommit=False) as dying, connect() as killer:
        assert dying.execute(REVERSE_UP_TO, row).fetchone() == ("posted",)
        killer.execute("SELECT pg_terminate_backend(%s)", [dying.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            dying.commit()
        assert left(customer) == []

        codes = [killer.execute(REVERSE_UP_TO, row).fetchone()[0] for _ in range(2)]

    assert codes == ["posted", "exists"]
    assert kinds_left(customer) == [(True, False, 60)]


def test_a_movement_of_a_lot_is_never_changed():
    customer = make_customer()
    payment = pay(customer, 100)
    postings.refund(customer.account, 60, reference=new_id(), credit=top_up(payment))

    for change in (
        "UPDATE billing_lotmovement SET amount_nanos = -1",
        "DELETE FROM billing_lotmovement",
    ):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)

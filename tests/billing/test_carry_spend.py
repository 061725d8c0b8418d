"""Rotation: the successor goes on with what was spent of the key's budgets."""

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from accounts import api_keys
from billing.models import KeySpend
from billing.receivers import carry_spend
from tests.billing.ledger_calls import (
    Customer,
    admit,
    connect,
    make_customer,
    repeat_on_ten_connections,
    settle,
)
from tests.billing.test_lots import spend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

CARRY = "SELECT billing_carry_spend(%s, %s)"


def rotated(customer: Customer, grace_seconds: int = 3600) -> Customer:
    """Rotate the customer's key, and return the customer with the successor."""
    successor, _ = api_keys.rotate_key(customer.key, grace_seconds)
    return Customer(customer.team, customer.account, successor, customer.catalogue_version)


@pytest.mark.parametrize("budget", ["day", "month", "total"])
def test_a_successor_has_what_the_budget_had_left(budget):
    customer = make_customer(1000, **{f"budget_{budget}_nanos": 100})
    spend(customer, 70)

    new = rotated(customer)

    assert new.code(amount_nanos=31) == "budget_exceeded"
    spend(new, 30)
    assert new.code(amount_nanos=1) == "budget_exceeded"
    newest = rotated(new)
    assert newest.code(amount_nanos=1) == "budget_exceeded"


def test_what_was_spent_on_another_day_is_not_spent_today():
    customer = make_customer(1000, budget_day_nanos=100, budget_total_nanos=150)
    spend(customer, 70)
    customer.move_spend((timezone.now() - timedelta(days=40)).date())

    new = rotated(customer)

    assert (new.spend.day_nanos, new.spend.month_nanos, new.spend.total_nanos) == (0, 0, 70)
    assert new.code(amount_nanos=81) == "budget_exceeded"
    spend(new, 80)


def test_a_key_that_was_never_used_has_nothing_to_carry():
    customer = make_customer(1000, budget_total_nanos=100)

    new = rotated(customer)

    assert not KeySpend.objects.filter(key=new.key).exists()
    spend(new, 100)


def test_the_keys_of_another_team_carry_nothing():
    customer, other = make_customer(1000), make_customer(1000)
    spend(customer, 70)

    assert not carry_spend(customer.key.pk, other.key.pk)
    assert not KeySpend.objects.filter(key=other.key).exists()


@pytest.mark.django_db(transaction=True)
def test_a_hundred_copies_at_once_carry_once():
    customer = make_customer(1000)
    spend(customer, 70)
    new = customer.another_key()

    done = repeat_on_ten_connections(
        lambda own: own.execute(CARRY, [customer.key.pk, new.key.pk]).fetchone()[0]
    )

    assert sorted(done) == [False] * 99 + [True]
    assert (new.spend.total_nanos, new.spend.carried_total_nanos) == (70, 70)


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_a_settlement_that_is_under_way():
    customer = make_customer(1000)
    spend(customer, 70)
    new, ask = customer.another_key(), customer.admitted(amount_nanos=20)
    with connect(autocommit=False) as settling, connect() as carrying:
        settle(customer.end(ask, output_nanos=20), on=settling)
        carrying.execute("SET lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            carrying.execute(CARRY, [customer.key.pk, new.key.pk])
        settling.commit()
        carrying.execute(CARRY, [customer.key.pk, new.key.pk])

    assert new.spend.total_nanos == 90


@pytest.mark.django_db(transaction=True)
def test_a_rotation_that_is_cut_off_carries_nothing_and_its_repeat_does():
    customer = make_customer(1000)
    spend(customer, 70)
    new = customer.another_key()
    row = [customer.key.pk, new.key.pk]
    with connect(autocommit=False) as dying, connect() as killer:
        assert dying.execute(CARRY, row).fetchone() == (True,)
        killer.execute("SELECT pg_terminate_backend(%s)", [dying.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            dying.commit()
        assert not KeySpend.objects.filter(key=new.key).exists()
        assert killer.execute(CARRY, row).fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_the_keys_first_admission_and_its_rotation_do_not_deadlock():
    """An admission holds the account and waits for the key's row, which the rotation holds."""
    customer = make_customer(1000)
    new = customer.another_key()
    with connect(autocommit=False) as rotating:
        rotating.execute(
            "SELECT id FROM accounts_apikey WHERE id = %s FOR UPDATE", [customer.key.pk]
        )
        with connect(autocommit=False) as admitting:
            admitting.execute(
                "SELECT id FROM billing_creditaccount WHERE id = %s FOR NO KEY UPDATE",
                [customer.account.pk],
            )
            rotating.execute("SET lock_timeout = '2s'")
            assert rotating.execute(CARRY, [customer.key.pk, new.key.pk]).fetchone() == (False,)
            rotating.commit()
            admit(customer.ask(), on=admitting)
            admitting.commit()

    assert customer.balances == (1000, 100)

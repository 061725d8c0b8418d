"""Claw-backs: what a dispute takes back, and what the customer then owes."""

import pytest
from django.db import connection

from billing.ledger import postings
from billing.models import Transfer
from tests.billing.ledger_calls import (
    Customer,
    admit,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    settle,
    top_up,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_dispute_takes_back_what_a_payment_gave():
    customer = make_customer(1000)
    reference = new_id()

    posting = postings.claw_back(
        customer.account, 400, reference=reference, credit=top_up(""), memo="dispute"
    )

    assert (posting.code, posting.amount_nanos, posting.shortfall_nanos) == ("posted", 400, 0)
    assert posting.balance_nanos == 600
    taken = customer.transfers[-1]
    assert (taken.kind, taken.reference, taken.memo) == ("clawback", reference, "dispute")
    assert (taken.debit_account, taken.credit_account.kind) == (customer.account, "stripe_clearing")
    assert not Transfer.objects.filter(kind="receivable", reference=reference).exists()


def test_what_is_spent_or_held_becomes_a_receivable():
    customer = make_customer(300)
    admit(customer.ask(amount_nanos=100))
    reference = new_id()

    posting = postings.claw_back(
        customer.account, 1000, reference=reference, credit=top_up(""), memo="dispute"
    )

    assert (posting.code, posting.amount_nanos, posting.shortfall_nanos) == ("posted", 200, 800)
    assert customer.balances == (100, 100)
    owed = Transfer.objects.get(kind="receivable", reference=reference)
    assert (owed.amount_nanos, owed.customer) == (800, None)
    assert (owed.debit_account.kind, owed.credit_account.kind) == ("receivable", "stripe_clearing")
    assert owed.memo == f"dispute (account {customer.account.pk})"


def test_of_an_empty_account_everything_is_a_receivable():
    customer = make_customer()

    posting = postings.claw_back(customer.account, 50, reference=new_id(), credit=top_up(""))

    assert (posting.amount_nanos, posting.shortfall_nanos, posting.balance_nanos) == (0, 50, 0)
    assert customer.transfers == []


@pytest.mark.parametrize("balance", [1000, 60, 0])
def test_a_repeat_takes_nothing_and_tells_what_the_first_took(balance):
    customer = make_customer(balance)
    reference = new_id()
    first = postings.claw_back(customer.account, 100, reference=reference, credit=top_up(""))
    postings.grant(customer.account, 500, reference=new_id())

    again = postings.claw_back(customer.account, 100, reference=reference, credit=top_up(""))

    assert again.code == "exists"
    assert (again.amount_nanos, again.shortfall_nanos) == (
        first.amount_nanos,
        first.shortfall_nanos,
    )
    assert customer.balances == (first.balance_nanos + 500, 0)


@pytest.mark.parametrize("balance", [1000, 60, 0])
@pytest.mark.parametrize("change", ["amount", "customer"])
def test_a_reference_names_one_dispute(balance, change):
    customer, other = make_customer(balance), make_customer(balance)
    reference = new_id()
    postings.claw_back(customer.account, 100, reference=reference, credit=top_up(""))

    account, amount = (other.account, 100) if change == "customer" else (customer.account, 101)
    with pytest.raises(postings.ReferenceReusedError):
        postings.claw_back(account, amount, reference=reference, credit=top_up(""))
    assert other.balances == (balance, 0)


@pytest.mark.django_db(transaction=True)
def test_a_hundred_copies_at_once_take_once():
    customer = make_customer(60)
    row = ["clawback", new_id(), customer.account.pk, 100, "top_up", "", True, ""]

    codes = repeat_on_ten_connections(
        lambda own: own.execute(
            "SELECT code FROM billing_take_back_credit(%s, %s, %s, %s, %s, %s, %s, %s)", row
        ).fetchone()[0]
    )

    assert sorted(codes) == ["exists"] * 99 + ["posted"]
    assert customer.balances == (0, 0)
    assert Transfer.objects.get(kind="receivable", reference=row[1]).amount_nanos == 40


# What a plan's payment granted.

TAKE_GRANT = "SELECT code FROM billing_take_back_grant(%s, %s, %s, %s, %s, '')"


def granted(customer: Customer, amount: int) -> str:
    """Grant credits as a plan's payment does, and return the grant's reference."""
    reference = new_id()
    postings.grant(customer.account, amount, reference=reference)
    return reference


def test_a_plans_grant_is_taken_back_to_where_it_came_from_and_no_other_credit():
    customer, dispute = make_customer(1000), new_id()
    grant = granted(customer, 500)

    posting = postings.take_back_grant(
        customer.account, 800, reference=dispute, grant_reference=grant, most_owed_nanos=800
    )

    assert (posting.amount_nanos, posting.shortfall_nanos, posting.balance_nanos) == (500, 0, 1000)
    assert customer.transfers[-1].credit_account.kind == "promotional_grants"


@pytest.mark.parametrize(("most_owed", "owed"), [(1000, 350), (200, 200), (0, 0)])
def test_what_was_spent_of_the_grant_is_owed_up_to_the_price(most_owed, owed):
    customer, dispute = make_customer(), new_id()
    grant = granted(customer, 500)
    settle(customer.end(customer.admitted(amount_nanos=350), output_nanos=350))

    posting = postings.take_back_grant(
        customer.account, 500, reference=dispute, grant_reference=grant, most_owed_nanos=most_owed
    )

    assert (posting.amount_nanos, posting.shortfall_nanos) == (150, owed)
    undone = postings.reverse_claw_back(customer.account, reference=dispute)
    assert (undone.amount_nanos, undone.shortfall_nanos) == (150, owed)


@pytest.mark.parametrize(("amount", "most_owed"), [(499, 500), (500, 349)])
def test_a_repeat_that_could_not_have_taken_as_much_of_a_grant_is_refused(amount, most_owed):
    customer, dispute = make_customer(), new_id()
    row = [dispute, customer.account.pk, 500, granted(customer, 500), 500]
    settle(customer.end(customer.admitted(amount_nanos=350), output_nanos=350))

    with connection.cursor() as cursor:
        codes = [cursor.execute(TAKE_GRANT, row).fetchone()[0] for _ in range(2)]
        row[2], row[4] = amount, most_owed
        (code,) = cursor.execute(TAKE_GRANT, row).fetchone()

    assert [*codes, code] == ["posted", "exists", "exists_with_different_fields"]


@pytest.mark.django_db(transaction=True)
def test_a_hundred_copies_at_once_take_the_grant_once():
    customer, dispute = make_customer(1000), new_id()
    row = [dispute, customer.account.pk, 500, granted(customer, 500), 500]

    codes = repeat_on_ten_connections(lambda own: own.execute(TAKE_GRANT, row).fetchone()[0])

    assert sorted(codes) == ["exists"] * 99 + ["posted"]
    assert customer.balances == (1000, 0)

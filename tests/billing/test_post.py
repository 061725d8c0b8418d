"""billing_post: grants, top-ups and adjustments, each named by its reference."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DataError, transaction

from billing.ledger import postings
from billing.models import CreditAccount
from tests.billing.ledger_calls import (
    Customer,
    admit,
    connect,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    wait_until_blocked,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

POST = "SELECT code FROM billing_post(%s, %s, %s, %s, %s, %s, '')"


def test_opening_an_account_twice_finds_the_first():
    customer = make_customer()

    assert postings.open_account(customer.team) == customer.account
    assert customer.balances == (0, 0)
    assert CreditAccount.objects.filter(team=customer.team).count() == 1


@pytest.mark.parametrize(
    ("post", "kind", "against"),
    [
        (postings.grant, "grant", "promotional_grants"),
        (postings.top_up, "top_up", "stripe_clearing"),
    ],
)
def test_credits_are_given(post, kind, against):
    customer = make_customer()
    reference = new_id()

    posting = post(customer.account, 500, reference=reference, memo="why")

    assert (posting.code, posting.amount_nanos, posting.balance_nanos) == ("posted", 500, 500)
    assert customer.balances == (500, 0)
    (transfer,) = customer.transfers
    assert (transfer.kind, transfer.reference, transfer.memo) == (kind, reference, "why")
    assert transfer.debit_account.kind == against
    assert transfer.credit_account == customer.account
    assert (transfer.sequence, transfer.balance_nanos) == (1, 500)


def test_credits_are_taken():
    customer = make_customer(800)

    posting = postings.adjust(customer.account, -300, reference=new_id(), memo="")

    assert (posting.code, posting.amount_nanos, posting.balance_nanos) == ("posted", 300, 500)
    transfer = customer.transfers[-1]
    assert transfer.kind == "adjustment"
    assert transfer.debit_account == customer.account
    assert transfer.credit_account.kind == "adjustments"
    assert (transfer.sequence, transfer.balance_nanos) == (2, 500)


def test_an_adjustment_gives_too():
    customer = make_customer(100)

    postings.adjust(customer.account, 50, reference=new_id(), memo="sorry")

    assert customer.balances == (150, 0)
    assert customer.transfers[-1].debit_account.kind == "adjustments"


def test_no_more_is_taken_than_is_available():
    """What open requests hold is not available."""
    customer = make_customer(300)
    admit(customer.ask(amount_nanos=100))

    with pytest.raises(postings.InsufficientCreditsError):
        postings.adjust(customer.account, -201, reference=new_id(), memo="")
    assert customer.balances == (300, 100)
    posting = postings.adjust(customer.account, -200, reference=new_id(), memo="")
    assert posting.balance_nanos == 100


def test_a_refusal_for_want_of_credits_is_no_posting():
    """The same reference goes through once there are enough."""
    customer = make_customer(100)
    reference = new_id()
    with pytest.raises(postings.InsufficientCreditsError):
        postings.adjust(customer.account, -150, reference=reference, memo="")
    postings.grant(customer.account, 50, reference=new_id())

    assert postings.adjust(customer.account, -150, reference=reference, memo="").code == "posted"


@pytest.mark.parametrize("post", [postings.grant, postings.top_up])
def test_a_repeat_moves_nothing(post):
    customer = make_customer(1000)
    reference = new_id()
    first = post(customer.account, 30, reference=reference)

    again = post(customer.account, 30, reference=reference)

    assert (again.code, again.amount_nanos) == ("exists", 30)
    assert again.balance_nanos == first.balance_nanos
    assert len(customer.transfers) == 2


@pytest.mark.parametrize("change", ["amount", "customer", "direction"])
def test_a_reference_names_one_posting(change):
    customer, other = make_customer(1000), make_customer(1000)
    reference = new_id()
    postings.adjust(customer.account, 30, reference=reference, memo="")
    account = other.account if change == "customer" else customer.account
    amount = {"amount": 31, "customer": 30, "direction": -30}[change]

    with pytest.raises(postings.ReferenceReusedError):
        postings.adjust(account, amount, reference=reference, memo="")

    assert (customer.balances, other.balances) == ((1030, 0), (1000, 0))


def test_kinds_of_postings_have_references_of_their_own():
    customer = make_customer()
    reference = new_id()

    postings.grant(customer.account, 5, reference=reference)
    postings.top_up(customer.account, 5, reference=reference)

    assert customer.balances == (10, 0)


@pytest.mark.parametrize("amount", [0, -1])
@pytest.mark.parametrize("post", [postings.grant, postings.top_up])
def test_a_posting_moves_a_positive_amount(post, amount):
    customer = make_customer(100)

    with pytest.raises(ValueError, match="positive amount"):
        post(customer.account, amount, reference=new_id())


def test_an_adjustment_by_nothing_is_none():
    with pytest.raises(ValueError, match="moves an amount"):
        postings.adjust(make_customer().account, 0, reference=new_id(), memo="")


def test_a_balance_too_large_for_its_column_is_refused():
    customer = make_customer(2**62)

    with pytest.raises(DataError), transaction.atomic():
        postings.grant(customer.account, 2**62, reference=new_id())


PARALLEL: list[tuple[str, str, str, int]] = [
    ("grant", "credit", "promotional_grants", 1100),
    ("top_up", "credit", "stripe_clearing", 1100),
    ("adjustment", "debit", "adjustments", 900),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("kind", "direction", "against", "balance"), PARALLEL)
def test_a_hundred_copies_at_once_post_once(kind, direction, against, balance):
    customer = make_customer(1000)
    row = [kind, new_id(), customer.account.pk, direction, against, 100]

    codes = repeat_on_ten_connections(lambda own: own.execute(POST, row).fetchone()[0])

    assert sorted(codes) == ["exists"] * 99 + ["posted"]
    assert customer.balances == (balance, 0)


@pytest.mark.django_db(transaction=True)
def test_one_reference_for_two_customers_at_once_posts_for_one():
    """The other is told so, as it would be a moment later."""
    customers = [make_customer(1000), make_customer(1000)]
    reference = new_id()

    def post(own: Any, customer: Customer) -> str:
        row = ["grant", reference, customer.account.pk, "credit", "promotional_grants", 100]
        return own.execute(POST, row).fetchone()[0]

    with connect(autocommit=False) as first:
        assert post(first, customers[0]) == "posted"
        with ThreadPoolExecutor(1) as thread, connect() as second:
            later = thread.submit(post, second, customers[1])
            wait_until_blocked(second.info.backend_pid)
            first.commit()
            code = later.result(timeout=60)

    assert code == "exists_with_different_fields"
    assert [customer.balances for customer in customers] == [(1100, 0), (1000, 0)]


@pytest.mark.django_db(transaction=True)
def test_debits_at_once_take_no_more_than_there_is():
    customer = make_customer(1000)

    def take(own: Any) -> str:
        row = ["adjustment", new_id(), customer.account.pk, "debit", "adjustments", 70]
        return own.execute(POST, row).fetchone()[0]

    codes = repeat_on_ten_connections(take)

    assert codes.count("posted") == 14
    assert codes.count("exceeds_credits") == 86
    assert customer.balances == (20, 0)


@pytest.mark.django_db(transaction=True)
def test_an_account_opened_at_once_is_opened_once():
    customer = make_customer()
    bare = make_customer()
    CreditAccount.objects.filter(pk=bare.account.pk).delete()

    accounts = repeat_on_ten_connections(
        lambda own: own.execute("SELECT billing_open_account(%s)", [bare.team.pk]).fetchone()[0]
    )

    assert len(set(accounts)) == 1
    assert customer.account.pk not in accounts

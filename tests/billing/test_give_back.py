"""Refunds, what undoes refunds and claw-backs, and what is collected of a debt."""

import psycopg
import pytest
from django.db import ProgrammingError, transaction

from billing.ledger import postings
from billing.models import CreditLot, Transfer
from billing.usage.lots import lots_left, refundable_nanos
from tests.billing.ledger_calls import (
    Customer,
    admit,
    connect,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    top_up,
)
from tests.billing.test_lots import give, left, pay, spend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

TAKE_BACK = "SELECT code FROM billing_take_back_credit(%s, %s, %s, %s, %s, %s, %s, '')"
REVERSE = "SELECT code FROM billing_reverse(%s, %s, %s, '')"


def kinds(reference: str) -> dict[str, int]:
    """Return what was booked under a reference."""
    return dict(Transfer.objects.filter(reference=reference).values_list("kind", "amount_nanos"))


def owing(customer: Customer, amount: int = 100) -> str:
    """Have a spent payment disputed, and return the dispute."""
    payment, dispute = pay(customer, amount), new_id()
    spend(customer, amount)
    posting = postings.claw_back(
        customer.account, amount, reference=dispute, credit=top_up(payment)
    )
    assert posting.shortfall_nanos == amount
    return dispute


def test_a_refund_takes_unspent_paid_credit():
    customer = make_customer()
    payment, refund = pay(customer, 100), new_id()
    give(customer, 50)

    posting = postings.refund(
        customer.account, 60, reference=refund, credit=top_up(payment), memo="Refund of it"
    )

    assert (posting.code, posting.amount_nanos, posting.shortfall_nanos) == ("posted", 60, 0)
    assert left(customer) == [50, 40]
    taken = customer.transfers[-1]
    assert (taken.kind, taken.reference, taken.memo) == ("refund", refund, "Refund of it")
    assert taken.credit_account.kind == "stripe_clearing"


@pytest.mark.parametrize("amount", [71, 100, 150])
def test_what_is_spent_is_not_refunded(amount):
    """However large the gifts beside it."""
    customer = make_customer()
    payment = pay(customer, 100)
    spend(customer, 30)
    give(customer, 500)

    with pytest.raises(postings.InsufficientCreditsError):
        postings.refund(customer.account, amount, reference=new_id(), credit=top_up(payment))
    assert customer.balances == (570, 0)
    assert left(customer) == [500, 70]


def test_what_is_held_is_not_refunded():
    customer = make_customer()
    payment = pay(customer, 100)
    admit(customer.ask(amount_nanos=40))

    with pytest.raises(postings.InsufficientCreditsError):
        postings.refund(customer.account, 61, reference=new_id(), credit=top_up(payment))
    assert (
        postings.refund(customer.account, 60, reference=new_id(), credit=top_up(payment)).code
        == "posted"
    )


def test_a_refund_takes_from_its_own_payment_first():
    customer = make_customer()
    first, second = pay(customer, 100), pay(customer, 200)

    postings.refund(customer.account, 80, reference=new_id(), credit=top_up(first))
    assert left(customer) == [20, 200]
    postings.refund(customer.account, 70, reference=new_id(), credit=top_up(first))

    assert left(customer) == [150]
    postings.refund(customer.account, 150, reference=new_id(), credit=top_up(second))
    assert left(customer) == []


def test_a_refund_takes_no_gift_that_has_the_payments_reference():
    """What was refunded would stay refundable."""
    customer = make_customer()
    payment = pay(customer, 300)
    postings.grant(customer.account, 2000, reference="a gift of the name " + payment)
    named = postings.Credit(Transfer.Kind.TOP_UP, "a gift of the name " + payment)

    postings.refund(customer.account, 250, reference=new_id(), credit=named)

    assert left(customer) == [2000, 50]
    assert refundable_nanos(customer.account) == 50


def test_a_plans_payment_is_refunded_from_the_gift_it_made_and_no_other():
    customer = make_customer()
    plan = postings.Credit(Transfer.Kind.GRANT, new_id())
    postings.grant(customer.account, 100, reference=plan.reference)
    give(customer, 500)
    spend(customer, 30)

    with pytest.raises(postings.InsufficientCreditsError):
        postings.refund(customer.account, 71, reference=new_id(), credit=plan)
    postings.refund(customer.account, 70, reference=new_id(), credit=plan)

    assert left(customer) == [500]


def test_a_disputed_plans_payment_takes_the_gift_before_what_was_bought():
    customer = make_customer()
    plan = postings.Credit(Transfer.Kind.GRANT, new_id())
    pay(customer, 300)
    postings.grant(customer.account, 100, reference=plan.reference)
    postings.top_up(customer.account, 200, reference=plan.reference)

    postings.claw_back(customer.account, 150, reference=new_id(), credit=plan)

    assert left(customer) == [300, 150]


def test_a_forced_refund_takes_what_there_is_and_books_the_rest_as_goodwill():
    customer = make_customer()
    payment, refund = pay(customer, 100), new_id()
    spend(customer, 70)

    posting = postings.refund(
        customer.account, 100, reference=refund, credit=top_up(payment), is_forced=True
    )

    assert (posting.amount_nanos, posting.shortfall_nanos, posting.balance_nanos) == (30, 70, 0)
    assert kinds(refund) == {"refund": 30, "goodwill": 70}
    goodwill = Transfer.objects.get(kind="goodwill", reference=refund)
    assert goodwill.debit_account.kind == "adjustments"
    assert goodwill.credit_account.kind == "stripe_clearing"


def test_a_forced_refund_takes_payments_before_gifts():
    customer = make_customer()
    payment = pay(customer, 100)
    give(customer, 50, days=1)
    give(customer, 60)

    postings.refund(
        customer.account, 180, reference=new_id(), credit=top_up(payment), is_forced=True
    )

    assert left(customer) == [30]
    assert lots_left(customer.account)[0].expires_at is not None


@pytest.mark.parametrize("spent", [0, 70, 100])
def test_a_refund_that_failed_is_given_back_whole(spent):
    customer = make_customer()
    payment, refund = pay(customer, 100), new_id()
    spend(customer, spent) if spent else None
    postings.refund(customer.account, 100, reference=refund, credit=top_up(payment), is_forced=True)

    posting = postings.reverse_refund(customer.account, reference=refund)

    assert (posting.amount_nanos, posting.shortfall_nanos) == (100 - spent, spent)
    assert customer.balances == (100 - spent, 0)
    assert [lot.is_paid for lot in lots_left(customer.account)] == [True] * (spent < 100)
    again = postings.reverse_refund(customer.account, reference=refund)
    assert (again.code, again.amount_nanos) == ("exists", 100 - spent)
    assert customer.balances == (100 - spent, 0)


def test_a_won_dispute_gives_back_what_it_took_and_ends_what_was_owed():
    customer = make_customer()
    payment, dispute = pay(customer, 100), new_id()
    spend(customer, 60)
    postings.claw_back(customer.account, 100, reference=dispute, credit=top_up(payment))

    posting = postings.reverse_claw_back(customer.account, reference=dispute)

    assert (posting.amount_nanos, posting.shortfall_nanos, posting.balance_nanos) == (40, 60, 40)
    assert kinds(dispute) == {
        "clawback": 40,
        "receivable": 60,
        "clawback_reversal": 40,
        "receivable_reversal": 60,
    }


@pytest.mark.parametrize("reverse", [postings.reverse_refund, postings.reverse_claw_back])
def test_only_what_was_taken_from_the_customer_is_given_back(reverse):
    customer, other = make_customer(), make_customer()
    dispute = owing(other)

    for reference in (new_id(), dispute):
        with pytest.raises(postings.UnknownReferenceError):
            reverse(customer.account, reference=reference)
    assert customer.balances == (0, 0)


def test_a_debt_is_collected_whole_or_not_at_all():
    customer = make_customer()
    dispute = owing(customer)
    pay(customer, 99)

    with pytest.raises(postings.InsufficientCreditsError):
        postings.collect(customer.account, reference=dispute)
    pay(customer, 50)
    posting = postings.collect(customer.account, reference=dispute)

    assert (posting.code, posting.amount_nanos, posting.balance_nanos) == ("posted", 100, 49)
    assert postings.collect(customer.account, reference=dispute).code == "exists"
    assert customer.balances == (49, 0)


def test_a_dispute_won_after_its_debt_was_collected_gives_that_back_too():
    customer = make_customer()
    dispute = owing(customer)
    pay(customer, 100)
    postings.collect(customer.account, reference=dispute)

    posting = postings.reverse_claw_back(customer.account, reference=dispute)

    assert (posting.amount_nanos, posting.shortfall_nanos) == (100, 0)
    assert customer.balances == (100, 0)


def test_nothing_is_collected_where_nothing_is_owed():
    customer = make_customer()
    won = owing(customer)
    postings.reverse_claw_back(customer.account, reference=won)
    payment, dispute = pay(customer, 100), new_id()
    postings.claw_back(customer.account, 50, reference=dispute, credit=top_up(payment))

    for reference in (new_id(), dispute, won):
        with pytest.raises(postings.UnknownReferenceError):
            postings.collect(customer.account, reference=reference)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("kind", "is_bold"), [("refund", False), ("refund", True)])
def test_a_hundred_copies_of_a_refund_take_once(kind, is_bold):
    customer = make_customer()
    payment = pay(customer, 150)
    row = [kind, new_id(), customer.account.pk, 100, "top_up", payment, is_bold]

    codes = repeat_on_ten_connections(lambda own: own.execute(TAKE_BACK, row).fetchone()[0])

    assert sorted(codes) == ["exists"] * 99 + ["posted"]
    assert customer.balances == (50, 0)


@pytest.mark.django_db(transaction=True)
def test_refunds_at_once_take_no_more_than_was_paid():
    customer = make_customer(1000)
    payment = pay(customer, 500)

    codes = repeat_on_ten_connections(
        lambda own: own.execute(
            TAKE_BACK, ["refund", new_id(), customer.account.pk, 70, "top_up", payment, False]
        ).fetchone()[0]
    )

    assert codes.count("posted") == 7
    assert customer.balances == (1010, 0)
    assert left(customer) == [1000, 10]


@pytest.mark.django_db(transaction=True)
def test_refunds_at_once_leave_a_gift_of_the_payments_reference_alone():
    customer, payment = make_customer(), new_id()
    pay(customer, 500)
    postings.grant(customer.account, 1000, reference=payment)

    codes = repeat_on_ten_connections(
        lambda own: own.execute(
            TAKE_BACK, ["refund", new_id(), customer.account.pk, 70, "top_up", payment, False]
        ).fetchone()[0]
    )

    assert codes.count("posted") == 7
    assert left(customer) == [1000, 10]


@pytest.mark.django_db(transaction=True)
def test_a_refund_whose_connection_is_lost_before_its_commit_is_made_by_the_repeat():
    customer = make_customer()
    payment = pay(customer, 500)
    row = ["refund", new_id(), customer.account.pk, 70, "top_up", payment, False]
    with connect(autocommit=False) as dying, connect() as killer:
        assert dying.execute(TAKE_BACK, row).fetchone() == ("posted",)
        killer.execute("SELECT pg_terminate_backend(%s)", [dying.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            dying.commit()
        assert left(customer) == [500]

        codes = [killer.execute(TAKE_BACK, row).fetchone()[0] for _ in range(2)]

    assert codes == ["posted", "exists"]
    assert left(customer) == [430]


@pytest.mark.django_db(transaction=True)
def test_a_hundred_reversals_at_once_restore_once():
    customer = make_customer()
    dispute = owing(customer)
    pay(customer, 5)

    codes = repeat_on_ten_connections(
        lambda own: own.execute(REVERSE, ["clawback", dispute, customer.account.pk]).fetchone()[0]
    )

    assert sorted(codes) == ["exists"] * 99 + ["posted"]
    assert kinds(dispute) == {"receivable": 100, "receivable_reversal": 100}
    assert customer.balances == (5, 0)


def test_a_refund_that_the_lots_do_not_cover_takes_nothing():
    """The functions rely on each other's results: a fault of ours is not booked half."""
    customer = make_customer()
    payment = pay(customer, 100)
    lots = CreditLot.objects.filter(account=customer.account)
    lots.update(remaining_nanos=60)

    with pytest.raises(ProgrammingError, match="drawn from the lots"), transaction.atomic():
        postings.refund(
            customer.account, 80, reference=new_id(), credit=top_up(payment), is_forced=True
        )

    lots.update(remaining_nanos=100)

    assert customer.balances == (100, 0)
    assert left(customer) == [100]


def test_a_shortfall_says_whose_it_is():
    customer = make_customer()
    dispute = owing(customer)
    postings.reverse_claw_back(customer.account, reference=dispute)

    booked = Transfer.objects.filter(reference=dispute).values_list("kind", "owner", "customer")
    account = customer.account.pk
    assert sorted(booked) == [
        ("receivable", account, None),
        ("receivable_reversal", account, None),
    ]


def test_a_subscriptions_payment_is_revenue_once():
    invoice = new_id()

    codes = [postings.book_subscription(2000, reference=invoice, memo="Plus") for _ in range(2)]

    assert codes == ["posted", "exists"]
    booked = Transfer.objects.get(kind="subscription", reference=invoice)
    assert (booked.debit_account.kind, booked.credit_account.kind) == ("stripe_clearing", "revenue")
    with pytest.raises(postings.ReferenceReusedError):
        postings.book_subscription(2001, reference=invoice, memo="Plus")

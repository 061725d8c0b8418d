"""Disputes and refunds of plans' payments: revenue moves, the grant goes back, the rest is owed."""

from functools import partial

import pytest
from django.db import OperationalError, connection

from accounts.models import Team, User
from billing.ledger import expiry, postings
from billing.models import CreditAccount, Dispute, Order, PlanRefund, SubscriptionPayment, Transfer
from billing.payments import disputes, plan_reversals, reversals, tasks
from billing.usage.lots import lots_left, refundable_nanos
from tests.billing.ledger_calls import top_up
from tests.payments.conftest import StripeStandIn, paid_order, run_concurrently
from tests.payments.plans_paid import plan_payment
from tests.payments.refund_helpers import DOLLAR, moved, posted, spend
from tests.payments.test_disputes import paused
from tests.payments.test_reconciliation import look

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def balance_of(kind: CreditAccount.Kind) -> int:
    """Return what one of the platform's accounts has been credited, less its debits."""
    account = CreditAccount.objects.get(kind=kind)
    credited = Transfer.objects.filter(credit_account=account)
    debited = Transfer.objects.filter(debit_account=account)
    return sum(each.amount_nanos for each in credited) - sum(each.amount_nanos for each in debited)


def disputed(stand_in: StripeStandIn, charge: str, **more: int) -> Dispute:
    """Dispute a plan's payment, and deliver the events."""
    created = stand_in.control("dispute", charge=charge, **more)
    stand_in.deliver(*stand_in.events("charge.dispute.created"))
    return Dispute.objects.get(pk=created["id"])


def closed(stand_in: StripeStandIn, found: Dispute, amount: int | None = None) -> Dispute:
    """Win a dispute, or a part of it, and deliver the events."""
    part = {} if amount is None else {"amount": amount}
    stand_in.control("close_dispute", dispute=found.pk, won=True, **part)
    stand_in.deliver(*stand_in.events("charge.dispute.closed"))
    found.refresh_from_db()
    return found


def test_a_dispute_moves_revenue_takes_the_grant_and_leaves_the_rest_owing(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    charge, payment = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    spend(alices_team, 2 * DOLLAR)  # of the grant
    revenue = balance_of(CreditAccount.Kind.REVENUE)

    found = disputed(stand_in, charge)

    assert (found.order, found.subscription_payment) == (None, payment)
    assert found.revenue_nanos == 20 * DOLLAR
    assert (found.credit_nanos, found.owed_nanos) == (5 * DOLLAR, 2 * DOLLAR)
    assert balance_of(CreditAccount.Kind.REVENUE) == revenue - 20 * DOLLAR
    assert balance_of(CreditAccount.Kind.PROMOTIONAL_GRANTS) == 0
    assert posted(alices_team) == 10 * DOLLAR
    assert paused(alices_team) == disputes.PAUSED_FOR_DISPUTE
    assert look().differences == []
    # The lot of what was bought is whole, so it is still all refundable.
    assert refundable_nanos(postings.open_account(alices_team)) == 10 * DOLLAR


def test_what_is_owed_is_collected_and_is_at_most_the_price(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    charge, _ = plan_payment(stand_in, alices_team, credit_nanos=50 * DOLLAR)
    spend(alices_team, 45 * DOLLAR)

    found = disputed(stand_in, charge)

    assert (found.credit_nanos, found.owed_nanos) == (25 * DOLLAR, 20 * DOLLAR)
    postings.grant(postings.open_account(alices_team), 20 * DOLLAR, reference="more")
    assert tasks.collect_debts() == 1
    assert posted(alices_team) == 10 * DOLLAR


def test_what_expired_is_not_owed(
    stand_in: StripeStandIn, alices_team: Team, alices_account: CreditAccount
) -> None:
    charge, _ = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR, days=-1)
    spend(alices_team, 1 * DOLLAR)
    expiry.expire_lots()

    found = disputed(stand_in, charge)

    assert (found.credit_nanos, found.owed_nanos) == (DOLLAR, DOLLAR)


def test_a_dispute_that_is_won_returns_the_grant_as_it_was(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    """Pay 10 and spend it, dispute a plan of 10 in credits, win: nothing of it is refundable."""
    spend(alices_team, 10 * DOLLAR)
    charge, _ = plan_payment(stand_in, alices_team, credit_nanos=10 * DOLLAR)
    account = postings.open_account(alices_team)
    before, revenue = lots_left(account), balance_of(CreditAccount.Kind.REVENUE)

    found = closed(stand_in, disputed(stand_in, charge))

    assert (found.is_reinstated, paused(alices_team)) == (True, "")
    assert lots_left(account) == before
    assert refundable_nanos(account) == 0
    assert balance_of(CreditAccount.Kind.REVENUE) == revenue
    credit = top_up(order.payment_intent_id or "")
    with pytest.raises(postings.InsufficientCreditsError):
        postings.refund(account, 10 * DOLLAR, reference="all", credit=credit)
    assert look().differences == []


def test_a_dispute_that_is_won_in_part_returns_its_part(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    charge, _ = plan_payment(stand_in, alices_team, credit_nanos=8 * DOLLAR)
    spend(alices_team, 2 * DOLLAR)
    found = closed(stand_in, disputed(stand_in, charge), amount=1000)
    # Half of the eight: the two that were owed, and two of the six that were taken.
    assert (posted(alices_team), found.owed_nanos) == (12 * DOLLAR, 0)
    assert look().differences == []

    stand_in.control("reinstate", dispute=found.pk, amount=1000)
    stand_in.deliver_all()

    assert posted(alices_team) == 16 * DOLLAR
    assert look().differences == []


def test_a_refund_takes_the_same_way(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    charge, payment = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    spend(alices_team, 2 * DOLLAR)
    revenue = balance_of(CreditAccount.Kind.REVENUE)
    for cents in (500, 1500):
        stand_in.control("refund", charge=charge, amount=cents)
        stand_in.deliver(*stand_in.events("refund.created", "charge.refunded"))

    rows = PlanRefund.objects.order_by("amount_cents").values_list(
        "payment", "revenue_nanos", "credit_nanos", "owed_nanos", "state"
    )
    assert list(rows) == [
        (payment.pk, 5 * DOLLAR, 1.25 * DOLLAR, 0, "succeeded"),
        (payment.pk, 15 * DOLLAR, 3.75 * DOLLAR, 2 * DOLLAR, "succeeded"),
    ]
    assert posted(alices_team) == 10 * DOLLAR
    assert balance_of(CreditAccount.Kind.REVENUE) == revenue - 20 * DOLLAR
    assert look().differences == []
    assert tasks.collect_debts() == 1
    assert posted(alices_team) == 8 * DOLLAR


def test_a_refund_that_fails_gives_everything_back(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    charge, _ = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    before = lots_left(postings.open_account(alices_team))
    revenue = balance_of(CreditAccount.Kind.REVENUE)
    made = stand_in.control("refund", charge=charge)
    stand_in.deliver_all()
    stand_in.control("finish_refund", refund=made["id"], status="failed")

    stand_in.deliver_all()

    assert PlanRefund.objects.get().state == "failed"
    assert lots_left(postings.open_account(alices_team)) == before
    assert balance_of(CreditAccount.Kind.REVENUE) == revenue
    assert look().differences == []


def test_reconciliation_does_not_believe_our_own_row(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    """A dispute whose row says that all is booked, while the money never left the ledger."""
    charge, payment = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    created = stand_in.control("dispute", charge=charge)
    Dispute.objects.create(
        stripe_id=created["id"], subscription_payment=payment, amount_cents=2000,
        credit_nanos=0, revenue_nanos=20 * DOLLAR, status="needs_response", is_withdrawn=True,
    )  # fmt: skip

    (found,) = look().differences

    assert found.sentence.endswith(
        f"the ledger has $0.00 under {created['id']}, where -$20.00 is expected."
    )


@pytest.mark.django_db(transaction=True)
def test_the_same_refund_ten_times_at_once_has_one_effect(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    charge, payment = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    paid_order(stand_in, alices_team, alice, 500)
    stand_in.control("refund", charge=charge)

    run_concurrently(*[partial(reversals.sync, payment)] * 10)

    assert moved(alices_team, "clawback") == [("clawback", 5 * DOLLAR)]
    assert Transfer.objects.filter(kind="revenue_reversal").count() == 1
    assert SubscriptionPayment.objects.get() == payment


@pytest.mark.django_db(transaction=True)
def test_a_dispute_whose_booking_is_cut_off_between_money_and_credits_is_booked_by_the_next(
    stand_in: StripeStandIn, order: Order, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge, payment = plan_payment(stand_in, alices_team, credit_nanos=5 * DOLLAR)
    stand_in.control("dispute", charge=charge)

    def cut_off(_name: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(plan_reversals, "failpoint", cut_off)
        with pytest.raises(OperationalError):
            reversals.sync(payment)
    connection.close()
    assert not Transfer.objects.filter(kind__in=["revenue_reversal", "clawback"]).exists()

    reversals.sync(payment)

    assert posted(alices_team) == 10 * DOLLAR
    assert look().differences == []

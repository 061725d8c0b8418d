"""Reconciliation with Stripe: every kind of difference is reported, and nothing else."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Plan, Team, User
from billing.ledger import postings
from billing.models import (
    Dispute,
    Order,
    PlanPrice,
    Refund,
    Subscription,
    SubscriptionPayment,
)
from billing.payments import refunds
from billing.payments.customers import get_or_create_customer
from billing.payments.reconciliation import Difference, Report, reconcile
from tests.billing.ledger_calls import top_up
from tests.payments.conftest import StripeStandIn, checkout, paid_order
from tests.payments.refund_helpers import CENT, DOLLAR

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def look(hours: float = 1) -> Report:
    """Reconcile the last hour, up to what has just moved."""
    now = timezone.now()
    return reconcile(now - timedelta(hours=hours), now + timedelta(seconds=5))


def difference() -> Difference:
    """Return the one difference that there is."""
    (found,) = look().differences
    return found


def booked_order(team: Team, user: User, payment: str, charge: str | None = None) -> Order:
    """Write an order of ten dollars down as paid, whatever Stripe has of it."""
    account = postings.open_account(team)
    postings.top_up(account, 10 * DOLLAR, reference=payment)
    return Order.objects.create(
        team=team,
        user=user,
        amount_cents=1000,
        credit_nanos=10 * DOLLAR,
        is_live=False,
        state=Order.State.PAID,
        payment_intent_id=payment,
        charge_id=charge,
        ended_at=timezone.now(),
    )


def booked_invoice(team: Team, payment: str, charge: str, cents: int) -> SubscriptionPayment:
    """Write a plan's invoice down as paid, whatever Stripe has of it."""
    price = PlanPrice.objects.create(
        plan=Plan.objects.create(name="pro", title="Pro"),
        price_cents=cents,
        credit_nanos=0,
        credit_days=31,
        is_live=False,
    )
    return SubscriptionPayment.objects.create(
        invoice_id="in_1",
        subscription=Subscription.objects.create(
            team=team, price=price, is_live=False, stripe_id="sub_1"
        ),
        amount_cents=cents,
        payment_intent_id=payment,
        charge_id=charge,
    )


def charge(stand_in: StripeStandIn, **fields: Any) -> Any:
    """Take money from a card as another user of the Stripe account does."""
    card = {"payment_method": "pm_card_visa", "confirm": "true", "currency": "usd"}
    return stand_in.create("payment_intents", **card, **fields)


def let_it_have_been(stand_in: StripeStandIn, hours: float) -> None:
    """Move everything that is on Stripe's balance into the past."""
    for moved in stand_in.get("balance_transactions", limit=100)["data"]:
        stand_in.control("age", id=moved["id"], seconds=hours * 3600)


@pytest.fixture
def order(stand_in: StripeStandIn, alices_team: Team, alice: User) -> Order:
    """Ten dollars' worth of credits, paid and in the books."""
    return paid_order(stand_in, alices_team, alice)


def test_books_that_are_right_have_no_difference(
    stand_in: StripeStandIn, alice: User, alices_team: Team, settings: Any
) -> None:
    settings.STRIPE_TAX = True
    orders = [paid_order(stand_in, alices_team, alice, 2000 + n) for n in range(4)]
    refunds.request_refund(orders[0], 500, reason="x", is_forced=False, staff=alice)
    stand_in.control("next_refunds", statuses=["pending", "pending"])
    pending = refunds.request_refund(orders[1], 700, reason="x", is_forced=False, staff=alice)
    failed = refunds.request_refund(orders[1], 200, reason="x", is_forced=False, staff=alice)
    stand_in.control("finish_refund", refund=failed.stripe_id, status="failed")
    stand_in.control("dispute", charge=orders[2].charge_id)
    won = stand_in.control("dispute", charge=orders[3].charge_id, amount=300)
    stand_in.deliver_all()
    stand_in.control("close_dispute", dispute=won["id"], won=True)
    stand_in.deliver_all()
    assert {each.state for each in (pending, *Refund.objects.all())} >= {"pending", "failed"}

    report = look()

    assert report.differences == []
    assert report.compared == 4 + 3 + 2
    assert report.stripe_cents == report.books_cents > 0
    fees = [each["fee"] for each in stand_in.get("balance_transactions", limit=100)["data"]]
    assert report.fee_cents == sum(fees) > 2 * 1500
    assert (report.foreign, report.other) == ({}, {})


def test_payouts_and_stripes_bills_are_reported_separately(
    stand_in: StripeStandIn, order: Order
) -> None:
    stand_in.control("stripe_fee", amount=25)
    stand_in.control("payout", amount=500)

    report = look()

    assert report.other == {"fee": -25, "payout": -500}
    assert report.differences == []


def test_payments_of_the_operators_other_business_are_named_and_are_no_difference(
    stand_in: StripeStandIn, order: Order
) -> None:
    shirt = charge(stand_in, amount=3000)
    refund = stand_in.create("refunds", payment_intent=shirt["id"], amount=1000)

    report = look()

    assert report.foreign == {shirt["id"]: 3000, refund["id"]: -1000}
    assert report.differences == []
    assert report.stripe_cents == 1000


def test_a_payment_that_was_never_credited(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice, 1250)
    stand_in.pay(page)
    (intent,) = stand_in.get("payment_intents")["data"]

    found = difference()

    assert (found.reference, found.stripe_cents, found.books_cents) == (intent["id"], 1250, 0)
    assert found.sentence == (
        f"Order {order.number} (open here), payment {intent['id']}: Stripe moved $12.50, the books "
        "say $0.00."
    )


def test_a_payment_by_our_customer_for_no_known_order_or_plan(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    intent = charge(
        stand_in, amount=2000, customer=get_or_create_customer(alices_team, alice).stripe_id
    )

    assert difference().sentence == (
        f"Payment {intent['id']} of {alices_team.slug}, for no known order or plan: "
        "Stripe moved $20.00, the books say $0.00."
    )


def test_a_credit_without_a_payment(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order = booked_order(alices_team, alice, "pi_invented")

    assert difference().sentence == (
        f"Order {order.number}, payment pi_invented: Stripe moved $0.00, the books say $10.00."
    )


def test_a_payment_of_another_amount(stand_in: StripeStandIn, order: Order) -> None:
    Order.objects.update(tax_cents=80)

    found = difference()

    assert (found.stripe_cents, found.books_cents) == (1000, 1080)


def test_a_paid_order_whose_credits_are_not_in_the_ledger(
    stand_in: StripeStandIn, order: Order
) -> None:
    Order.objects.update(credit_nanos=20 * DOLLAR)

    found = difference()

    assert found.reference == f"ledger {order.payment_intent_id}"
    assert found.sentence.endswith(
        f"the ledger has $10.00 under {order.payment_intent_id}, where $20.00 is expected."
    )


def test_a_refund_that_is_not_booked(stand_in: StripeStandIn, order: Order) -> None:
    refund = stand_in.control("refund", charge=order.charge_id, amount=400)

    assert difference().sentence == (
        f"Refund {refund['id']} of payment {order.payment_intent_id}: Stripe moved -$4.00, the "
        "books say $0.00."
    )


def test_a_refund_that_stripe_has_not_made(stand_in: StripeStandIn, order: Order) -> None:
    refund = Refund.objects.create(
        order=order, amount_cents=400, credit_nanos=4 * DOLLAR, state=Refund.State.SUCCEEDED,
        stripe_id="re_invented", ended_at=timezone.now(),
    )  # fmt: skip
    postings.refund(
        postings.open_account(order.team), 4 * DOLLAR,
        reference=str(refund.pk), credit=top_up(order.payment_intent_id or ""),
    )  # fmt: skip

    assert difference().sentence == (
        f"Refund re_invented of Order {order.number}: Stripe moved $0.00, the books say -$4.00."
    )


def test_a_failed_refund_that_is_not_booked(
    stand_in: StripeStandIn, order: Order, alice: User
) -> None:
    refund = refunds.request_refund(order, 400, reason="x", is_forced=False, staff=alice)
    stand_in.control("finish_refund", refund=refund.stripe_id, status="failed")

    found = difference()

    assert (found.reference, found.stripe_cents, found.books_cents) == (refund.stripe_id, 0, -400)


def test_a_refund_that_took_no_credits(stand_in: StripeStandIn, order: Order) -> None:
    made = stand_in.control("refund", charge=order.charge_id, amount=400)
    refund = Refund.objects.create(
        order=order, amount_cents=400, credit_nanos=4 * DOLLAR, state=Refund.State.SUCCEEDED,
        stripe_id=made["id"], ended_at=timezone.now(),
    )  # fmt: skip

    assert difference().reference == f"ledger {refund.pk}"


def test_what_another_kind_of_transfer_moved_under_the_reference_is_no_refund(
    stand_in: StripeStandIn, order: Order
) -> None:
    made = stand_in.control("refund", charge=order.charge_id, amount=400)
    refund = Refund.objects.create(
        order=order, amount_cents=400, credit_nanos=4 * DOLLAR, state=Refund.State.SUCCEEDED,
        stripe_id=made["id"], ended_at=timezone.now(),
    )  # fmt: skip
    postings.claw_back(
        postings.open_account(order.team), 4 * DOLLAR,
        reference=str(refund.pk), credit=top_up(order.payment_intent_id or ""),
    )  # fmt: skip

    assert difference().reference == f"ledger {refund.pk}"


def test_a_dispute_that_is_not_booked(stand_in: StripeStandIn, order: Order) -> None:
    dispute = stand_in.control("dispute", charge=order.charge_id)

    assert difference().sentence == (
        f"Dispute {dispute['id']} of payment {order.payment_intent_id}: Stripe moved -$10.00, the "
        "books say $0.00."
    )


def test_a_reinstated_dispute_that_is_not_booked(stand_in: StripeStandIn, order: Order) -> None:
    dispute = stand_in.control("dispute", charge=order.charge_id)
    stand_in.deliver_all()
    assert look().differences == []
    stand_in.control("close_dispute", dispute=dispute["id"], won=True)

    found = difference()

    assert (found.reference, found.stripe_cents, found.books_cents) == (dispute["id"], 0, -1000)


def test_a_dispute_that_stripe_does_not_have(stand_in: StripeStandIn, order: Order) -> None:
    Dispute.objects.create(
        stripe_id="du_invented", order=order, amount_cents=1000, credit_nanos=10 * DOLLAR,
        reason="fraudulent", status="needs_response", is_withdrawn=True,
    )  # fmt: skip
    postings.claw_back(
        postings.open_account(order.team), 10 * DOLLAR,
        reference="du_invented", credit=top_up(order.payment_intent_id or ""),
    )  # fmt: skip

    assert difference().sentence == (
        f"Dispute du_invented of Order {order.number}: Stripe moved $0.00, the books say -$10.00."
    )


@pytest.mark.parametrize(
    ("taken_cents", "booked_cents", "ledger_cents", "says"),
    [
        (2200, 2200, 2000, ""),
        (2200, 2000, 2000, "Stripe moved $22.00, the books say $20.00."),
        (2200, 2200, 0, "the ledger has $0.00 under in_1"),
        (2200, 2200, 2300, "the ledger has $23.00 under in_1"),
    ],
)
def test_a_plans_invoice_is_compared_too(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    taken_cents: int,
    booked_cents: int,
    ledger_cents: int,
    says: str,
) -> None:
    intent = charge(
        stand_in, amount=taken_cents, customer=get_or_create_customer(alices_team, alice).stripe_id
    )
    booked_invoice(alices_team, intent["id"], intent["latest_charge"], booked_cents)
    if ledger_cents:
        postings.book_subscription(ledger_cents * CENT, reference="in_1")

    sentences = [found.sentence for found in look().differences]

    assert len(sentences) == bool(says)
    assert says in "".join(sentences)


def test_transactions_before_the_period_are_no_difference(
    stand_in: StripeStandIn, order: Order, alice: User
) -> None:
    refunds.request_refund(order, 400, reason="x", is_forced=False, staff=alice)
    let_it_have_been(stand_in, hours=2)

    report = look(hours=1)  # both are in the books since then

    assert report.differences == []
    assert report.compared == 2


def test_a_refund_that_ends_in_the_period_is_no_difference(
    stand_in: StripeStandIn, order: Order
) -> None:
    dispute = stand_in.control("dispute", charge=order.charge_id)
    stand_in.deliver_all()
    let_it_have_been(stand_in, hours=2)
    stand_in.control("close_dispute", dispute=dispute["id"], won=True)
    stand_in.deliver_all()

    assert look(hours=1).differences == []


def test_orders_of_the_other_mode_are_left_alone(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    booked_order(alices_team, alice, "pi_live")
    Order.objects.update(is_live=True)

    assert look().compared == 0


def test_long_lists_are_read_to_their_end(stand_in: StripeStandIn, order: Order) -> None:
    for _ in range(120):
        charge(stand_in, amount=100)

    report = look()

    assert len(report.foreign) == 120
    assert report.stripe_cents == 1000

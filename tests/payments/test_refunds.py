"""Refunds: of unspent paid credit unless forced, once at Stripe and once in the books."""

import uuid
from functools import partial

import pytest

from accounts.models import AuditEntry, Team, User
from billing.ledger import postings
from billing.models import Order, Refund
from billing.payments import tasks
from billing.payments.refunds import RefundError
from tests.billing.ledger_calls import admit
from tests.payments.conftest import StripeStandIn, run_concurrently
from tests.payments.refund_helpers import (
    DOLLAR,
    age_refunds,
    booked,
    customer_of,
    moved,
    posted,
    refunds_at_stripe,
    request_refund,
    spend,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


# What is given back


def test_a_whole_order_is_refunded(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    refund = request_refund(order, 1000, clerk)

    assert (refund.state, refund.error, refund.requested_by) == ("succeeded", "", clerk)
    assert refund.ended_at is not None
    assert refunds_at_stripe(stand_in) == [1000]
    assert posted(alices_team) == 0
    assert moved(alices_team) == [("top_up", 10 * DOLLAR), ("refund", 10 * DOLLAR)]
    entry = AuditEntry.objects.get(action="refund.requested")
    assert (entry.actor, entry.subject) == (clerk, f"Order {order.number}")
    assert entry.detail["amount_cents"] == 1000
    assert {event.state for event in stand_in.deliver_all()} == {"handled", "ignored"}
    assert Refund.objects.count() == 1
    assert posted(alices_team) == 0


def test_parts_add_up_to_the_cent_and_the_last_takes_the_rest(
    stand_in: StripeStandIn, taxed_order: Order, alices_team: Team, clerk: User
) -> None:
    parts = [request_refund(taxed_order, cents, clerk) for cents in (333, 333, 332, 1)]

    assert [(part.amount_cents, part.tax_cents) for part in parts] == [
        *[(333, 33), (333, 33), (332, 33)],
        (1, 1),
    ]
    assert sum(refunds_at_stripe(stand_in)) == 999 + 100
    assert sum(part.credit_nanos for part in parts) == taxed_order.credit_nanos
    assert posted(alices_team) == 0
    with pytest.raises(RefundError, match=r"up to \$0\.00"):
        request_refund(taxed_order, 1, clerk)


def test_spent_credit_is_not_refunded(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 4 * DOLLAR)

    with pytest.raises(RefundError, match=r"Only \$6\.00 of this order is unspent") as refused:
        request_refund(order, 601, clerk)

    assert refused.value.field == "amount"
    assert not Refund.objects.exists()
    assert refunds_at_stripe(stand_in) == []
    assert request_refund(order, 600, clerk).state == "succeeded"
    assert posted(alices_team) == 0


def test_grants_are_not_refunded(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    postings.grant(postings.open_account(alices_team), 5 * DOLLAR, reference="gift")
    spend(alices_team, 7 * DOLLAR)  # the grant first

    with pytest.raises(RefundError, match=r"\$8\.00 of this order is unspent"):
        request_refund(order, 801, clerk)
    assert request_refund(order, 800, clerk).state == "succeeded"


def test_held_credit_is_not_refunded(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    customer = customer_of(alices_team)
    admit(customer.ask(amount_nanos=3 * DOLLAR))

    with pytest.raises(RefundError, match=r"\$7\.00 of this order is unspent"):
        request_refund(order, 1000, clerk)
    assert request_refund(order, 700, clerk).state == "succeeded"
    assert customer.balances == (3 * DOLLAR, 3 * DOLLAR)


def test_a_forced_refund_books_spent_credit_as_goodwill(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 8 * DOLLAR)

    refund = request_refund(order, 1000, clerk, is_forced=True, reason="Our fault")

    assert (refund.state, refund.reason) == ("succeeded", "Our fault")
    assert posted(alices_team) == 0
    assert moved(alices_team, "refund") == [("refund", 2 * DOLLAR)]
    assert booked("goodwill") == [8 * DOLLAR]


@pytest.mark.parametrize("cents", [0, -1, 1001])
def test_no_more_than_the_order_and_no_less_than_a_cent(
    order: Order, clerk: User, cents: int
) -> None:
    with pytest.raises(RefundError, match=r"up to \$10\.00"):
        request_refund(order, cents, clerk, is_forced=True)


def test_a_reason_is_asked_for(order: Order, clerk: User) -> None:
    with pytest.raises(RefundError) as refused:
        request_refund(order, 100, clerk, reason="  ", is_forced=True)
    assert refused.value.field == "reason"


def test_an_order_that_is_not_paid_is_not_refunded(order: Order, clerk: User) -> None:
    Order.objects.update(state="open")
    with pytest.raises(RefundError, match="not paid"):
        request_refund(order, 100, clerk)


def test_a_disputed_payment_is_not_refunded(
    stand_in: StripeStandIn, order: Order, clerk: User
) -> None:
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.deliver_all()
    with pytest.raises(RefundError, match="disputed"):
        request_refund(order, 100, clerk, is_forced=True)


# At once


@pytest.mark.django_db(transaction=True)
def test_ten_clicks_on_one_form_are_one_refund(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    number = uuid.uuid4()
    click = partial(request_refund, order, 400, clerk, refund_id=number)

    found = run_concurrently(*[click] * 10)

    assert {refund.pk for refund in found} == {number}
    age_refunds()
    tasks.submit_requested_refunds()
    assert Refund.objects.get().state == "succeeded"
    assert refunds_at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR
    assert AuditEntry.objects.filter(action="refund.requested").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_ten_of_staff_who_refund_all_of_it_one_does(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    def click() -> str:
        try:
            return str(request_refund(order, 1000, clerk, is_forced=True).state)
        except RefundError:
            return "refused"

    assert sorted(run_concurrently(*[click] * 10)) == ["refused"] * 9 + ["succeeded"]
    assert refunds_at_stripe(stand_in) == [1000]
    assert posted(alices_team) == 0


@pytest.mark.django_db(transaction=True)
def test_one_webhook_ten_times_at_once_has_one_effect(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    stand_in.control("refund", charge=order.charge_id, amount=400)
    events = stand_in.events("refund.created", "charge.refunded", "refund.updated")

    run_concurrently(*[partial(stand_in.deliver, *events)] * 10)

    assert Refund.objects.get().state == "succeeded"
    assert moved(alices_team, "refund") == [("refund", 4 * DOLLAR)]


@pytest.mark.django_db(transaction=True)
def test_a_refund_that_races_requests_is_refused_or_exact(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    customer = customer_of(alices_team)

    def use() -> str:
        return str(admit(customer.ask(amount_nanos=2 * DOLLAR))[0].code)

    def click() -> str:
        try:
            return str(request_refund(order, 600, clerk).state)
        except RefundError:
            return "refused"

    *used, outcome = run_concurrently(*[use] * 5, click)

    held = used.count("admitted") * 2 * DOLLAR
    taken = 6 * DOLLAR if outcome == "succeeded" else 0
    assert customer.balances == (10 * DOLLAR - taken, held)
    assert held + taken <= 10 * DOLLAR
    assert refunds_at_stripe(stand_in) == ([600] if taken else [])

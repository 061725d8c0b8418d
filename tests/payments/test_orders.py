"""An order of credits: credited once when it is paid, whoever notices first, and only then."""

import dataclasses
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import Team, User
from billing.errors import PaymentMismatchError
from billing.models import LedgerAlert, Order, StripeEvent, Transfer
from billing.payments import orders, tasks, webhooks
from billing.stripe_api import checkout as stripe_checkout
from billing.stripe_api import payments
from billing.usage.balances import balance_of
from tests.payments.conftest import StripeStandIn, checkout, run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9


def credited(team: Team) -> int:
    """Return the nanos that the team's payments have brought it."""
    transfers = Transfer.objects.filter(kind="top_up", customer__team=team)
    return sum(transfer.amount_nanos for transfer in transfers)


def let_time_pass(order: Order, **time: float) -> None:
    Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - timedelta(**time))


def test_a_paid_order_is_credited_whoever_notices_first(
    stand_in: StripeStandIn, alice: User, alices_team: Any
) -> None:
    before = balance_of(alices_team).posted_nanos
    order, url = checkout(alices_team, alice, 1250)
    assert orders.confirm(order).state == Order.State.OPEN
    stand_in.pay(url)

    events = stand_in.deliver_all()

    order = orders.confirm(order)
    assert order.state == Order.State.PAID
    assert balance_of(alices_team).posted_nanos - before == 12.5 * DOLLAR
    (transfer,) = Transfer.objects.filter(kind="top_up", customer__team=alices_team)
    assert transfer.reference == order.payment_intent_id
    assert {event.state for event in events} == {"handled", "ignored"}


def test_a_paid_order_keeps_what_a_receipt_and_a_refund_need(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)

    order = orders.confirm(order)

    (charge,) = stand_in.get("charges")["data"]
    (invoice,) = stand_in.get("invoices")["data"]
    assert (order.charge_id, order.invoice_id) == (charge["id"], invoice["id"])
    assert order.ended_at is not None


def test_tax_is_paid_beside_the_credits(
    stand_in: StripeStandIn, alice: User, alices_team: Team, settings: Any
) -> None:
    settings.STRIPE_TAX = True
    order, page = checkout(alices_team, alice, 2000)
    stand_in.pay(page)

    order = orders.confirm(order)

    (charge,) = stand_in.get("charges")["data"]
    assert order.tax_cents == charge["amount"] - 2000 > 0
    assert credited(alices_team) == 20 * DOLLAR


@pytest.mark.django_db(transaction=True)
def test_redirect_webhooks_and_hourly_check_at_once_credit_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)
    let_time_pass(order, minutes=10)
    events = stand_in.events("checkout.session.completed", "payment_intent.succeeded")
    for event in events:
        stand_in.post(event)

    run_concurrently(
        *[lambda: orders.confirm(Order.objects.get())] * 4,
        *[partial(webhooks.handle, event["id"]) for event in events * 2],
        *[tasks.check_open_orders] * 4,
    )

    assert credited(alices_team) == 10 * DOLLAR
    assert Order.objects.get().state == Order.State.PAID


def test_events_in_any_order_and_repeated_give_the_same_balance(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    page = checkout(alices_team, alice)[1]
    stand_in.pay(page, "pm_card_chargeDeclined")
    stand_in.pay(page)
    events = stand_in.events(
        "payment_intent.payment_failed", "payment_intent.succeeded", "checkout.session.completed"
    )
    assert len(events) == 3

    for permutation in permutations(events):
        point = transaction.savepoint()
        stand_in.deliver(*permutation, *permutation)
        # Stripe may also send two events about one change.
        stand_in.deliver(
            *[event | {"id": f"{event['id']}_again"} for event in reversed(permutation)]
        )
        assert credited(alices_team) == 10 * DOLLAR
        assert Order.objects.get().state == Order.State.PAID
        transaction.savepoint_rollback(point)
    assert not LedgerAlert.objects.exists()


def test_a_lost_webhook_is_made_up_for_by_the_hourly_check(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)
    assert tasks.check_open_orders() == 0  # too early: the webhook may be on its way
    let_time_pass(order, minutes=6)

    assert tasks.check_open_orders() == 1
    assert credited(alices_team) == 10 * DOLLAR
    assert tasks.check_open_orders() == 0


def test_orders_of_the_other_mode_are_not_asked_about(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)
    let_time_pass(order, hours=1)
    Order.objects.update(is_live=True)
    calls = len(stand_in.control("calls"))

    assert tasks.check_open_orders() == 0
    assert len(stand_in.control("calls")) == calls


def test_while_stripe_is_away_the_hourly_check_gives_up_soon_and_loses_nothing(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    for _ in range(8):
        order, page = checkout(alices_team, alice)
        stand_in.pay(page)
        let_time_pass(order, hours=1)
    calls = len(stand_in.control("calls"))
    stand_in.control("fault", next=["error_before"] * 100)

    assert tasks.check_open_orders() == 0
    asked = len(stand_in.control("calls")) - calls
    assert asked == 2 * tasks.MAX_CONSECUTIVE_FAILURES  # each is asked twice

    stand_in.control("fault", next=[])
    assert tasks.check_open_orders() == 8
    assert credited(alices_team) == 80 * DOLLAR


def test_a_session_that_expires_ends_the_order_without_credit(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, _ = checkout(alices_team, alice)
    stand_in.control("expire", session=Order.objects.get().session_id)

    (event,) = stand_in.deliver(*stand_in.events("checkout.session.expired"))

    order.refresh_from_db()
    assert (order.state, event.state) == ("expired", "handled")
    assert order.number in event.outcome
    assert credited(alices_team) == 0


def test_an_order_without_a_session_expires_after_a_day(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order = orders.place(alices_team, alice, 1000)
    let_time_pass(order, hours=20)
    tasks.check_open_orders()
    order.refresh_from_db()
    assert order.state == Order.State.OPEN

    let_time_pass(order, hours=26)
    tasks.check_open_orders()
    order.refresh_from_db()
    assert order.state == Order.State.EXPIRED


@pytest.mark.parametrize("state", [Order.State.EXPIRED, Order.State.FAILED])
def test_an_order_that_was_given_up_and_turns_out_paid_is_credited(
    stand_in: StripeStandIn, alice: User, alices_team: Team, state: str
) -> None:
    order, page = checkout(alices_team, alice)
    Order.objects.update(state=state, failure="It seemed so.", ended_at=timezone.now())
    stand_in.pay(page)

    stand_in.deliver(*stand_in.events("payment_intent.succeeded"))

    order.refresh_from_db()
    assert (order.state, order.failure) == ("paid", "")
    assert credited(alices_team) == 10 * DOLLAR


def test_a_declined_card_leaves_the_order_open_for_another(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page, "pm_card_chargeDeclined")
    stand_in.deliver_all()
    order.refresh_from_db()
    assert order.state == Order.State.OPEN

    stand_in.pay(page)
    stand_in.deliver(*stand_in.events("checkout.session.completed"))

    order.refresh_from_db()
    assert order.state == Order.State.PAID
    assert credited(alices_team) == 10 * DOLLAR


@pytest.mark.parametrize(
    ("succeeds", "state", "dollars"), [(True, "paid", 10), (False, "failed", 0)]
)
def test_a_bank_debit_is_credited_when_it_has_come_and_not_before(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    succeeds: bool,
    state: str,
    dollars: int,
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page, "pm_usBankAccount_success")
    stand_in.deliver_all()
    order.refresh_from_db()
    assert (order.state, credited(alices_team)) == ("open", 0)

    stand_in.control("settle", session=order.session_id, succeeds=succeeds)
    word = "succeeded" if succeeds else "failed"
    (event,) = stand_in.deliver(*stand_in.events(f"checkout.session.async_payment_{word}"))

    order.refresh_from_db()
    assert (order.state, event.state) == (state, "handled")
    assert bool(order.failure) is not succeeds
    assert credited(alices_team) == dollars * DOLLAR


SESSION_FAULTS = {"client_reference_id": "", "subtotal_cents": 900, "total_cents": 1100}
PAYMENT_FAULTS = {
    "currency": "eur",
    "received_cents": 999,
    "order_id": "",
    "is_live": True,
}


@pytest.mark.parametrize("fault", [*SESSION_FAULTS, *PAYMENT_FAULTS])
def test_a_payment_that_does_not_match_its_order_is_not_credited_and_raises_an_alert(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)
    get_session, get_payment = stripe_checkout.get_session, payments.get_payment_intent

    def wrong_session(number: str) -> Any:
        changes = {key: SESSION_FAULTS[key] for key in [fault] if key in SESSION_FAULTS}
        return dataclasses.replace(get_session(number), **changes)

    def wrong_payment(number: str) -> Any:
        changes = {key: PAYMENT_FAULTS[key] for key in [fault] if key in PAYMENT_FAULTS}
        return dataclasses.replace(get_payment(number), **changes)

    monkeypatch.setattr(stripe_checkout, "get_session", wrong_session)
    monkeypatch.setattr(payments, "get_payment_intent", wrong_payment)

    for _ in range(2):
        with pytest.raises(PaymentMismatchError, match=order.number):
            orders.confirm(order)

    alert = LedgerAlert.objects.get()
    assert (alert.kind, alert.reference) == ("payment_mismatch", str(order.pk))
    assert credited(alices_team) == 0


def test_the_session_of_another_order_credits_neither_it_nor_this_one(
    stand_in: StripeStandIn, alice: User, alices_team: Team, charlie: User, charlies_team: Team
) -> None:
    mine, _ = checkout(alices_team, alice)
    theirs, page = checkout(charlies_team, charlie)
    stand_in.pay(page)
    theirs.refresh_from_db()
    session = stripe_checkout.get_session(theirs.session_id)

    with pytest.raises(PaymentMismatchError):
        orders.confirm_session(mine, session)

    orders.confirm_session(theirs, session)
    assert (credited(alices_team), credited(charlies_team)) == (0, 10 * DOLLAR)


def test_an_order_paid_in_two_sessions_is_credited_once_and_raises_an_alert(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    order.refresh_from_db()
    twin = stripe_checkout.create_payment_session(
        order_id=str(order.pk),
        customer_id=alices_team.payment_customer.stripe_id,
        amount_cents=1000,
        title="API credits",
        success_url=page,
        cancel_url=page,
        retry="first",
    )
    stand_in.control("expire", session=twin.id)
    stand_in.deliver_all()
    order.refresh_from_db()
    assert order.state == Order.State.OPEN  # the twin's end is not the order's

    twin = stripe_checkout.create_payment_session(
        order_id=str(order.pk),
        customer_id=alices_team.payment_customer.stripe_id,
        amount_cents=1000,
        title="API credits",
        success_url=page,
        cancel_url=page,
        retry="second",
    )
    stand_in.pay(page)
    stand_in.pay(twin.url)
    stand_in.deliver(*stand_in.events("checkout.session.completed"))

    assert credited(alices_team) == 10 * DOLLAR
    assert "again by" in LedgerAlert.objects.get(kind="payment_mismatch").detail
    states = StripeEvent.objects.filter(type="checkout.session.completed").values_list("state")
    assert sorted(states) == [("handled",), ("ignored",)]


def test_every_further_payment_of_an_order_raises_an_alert_of_its_own(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    order.refresh_from_db()
    pages = [page]
    for retry in ("second", "third"):
        twin = stripe_checkout.create_payment_session(
            order_id=str(order.pk),
            customer_id=alices_team.payment_customer.stripe_id,
            amount_cents=1000,
            title="API credits",
            success_url=page,
            cancel_url=page,
            retry=retry,
        )
        pages.append(twin.url)
    for each in pages:
        stand_in.pay(each)

    for _ in range(2):  # Stripe may send each event again
        stand_in.deliver(*stand_in.events("checkout.session.completed"))

    assert credited(alices_team) == 10 * DOLLAR
    surplus = LedgerAlert.objects.filter(kind="payment_mismatch", detail__contains="again by")
    assert surplus.count() == 2

"""Paid invoices of plans: booked once, and credits granted that are spent first and expire."""

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Team, User
from billing.errors import StripeUnavailableError
from billing.ledger import expiry, postings
from billing.models import CreditAccount, LedgerAlert, PlanOffer, SubscriptionPayment, Transfer
from billing.payments import invoices, orders, plans
from billing.stripe_api import subscriptions as at_stripe
from billing.stripe_api.objects import Invoice, InvoiceLine
from billing.usage.balances import balance_of
from billing.usage.lots import lots_left
from tests.billing import ledger_calls
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import (
    DOLLAR,
    deliver_subscription_events,
    earned,
    granted,
    owner,
    paid,
    plan_of,
    rolled_back,
    subscribed,
    subscription_events,
    switch_to_declined_card,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_each_month_is_booked_and_granted_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    stand_in.control("renew", subscription=row.stripe_id)
    for _ in range(2):
        deliver_subscription_events(stand_in)
    for payment in SubscriptionPayment.objects.all():
        assert invoices.book_invoice(payment.pk) == payment
    assert (granted(alices_team), earned()) == ([25, 25], [20, 20])
    assert SubscriptionPayment.objects.filter(subscription=row).count() == 2


def test_credits_expire_so_many_days_after_they_were_paid(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    payment = SubscriptionPayment.objects.get()
    (lot,) = lots_left(CreditAccount.objects.get(team=alices_team))
    assert lot.expires_at == payment.paid_at + timedelta(days=31)
    assert (lot.is_paid, lot.left_nanos) == (False, 25 * DOLLAR)


def test_every_order_of_an_upgrades_events_has_the_same_result(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, pro: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    before = len(stand_in.events())
    plans.price_of(pro)
    with rolled_back():
        plans.change(owner(alices_team, alice), row, pro, at=timezone.now(), attempt="one")
    events = subscription_events(stand_in, before)
    assert len(events) >= 2
    for order in itertools.permutations(events):
        with rolled_back():
            stand_in.deliver(*order)
            outcome = (plan_of(alices_team), granted(alices_team), earned())
            assert outcome == ("pro", [25, 105], [20, 80])


def test_a_month_paid_while_the_database_was_down_is_booked_later(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paid(stand_in, alices_team, alice, plus)
    with monkeypatch.context() as patch:
        patch.setattr(postings, "grant", _fails)
        events = stand_in.deliver(*stand_in.events("invoice.paid"))
    assert [event.state for event in events] == ["failed"]
    assert (granted(alices_team), earned()) == ([], []), "both or neither"
    invoices.book_invoice(events[0].object_id)
    assert (granted(alices_team), earned()) == ([25], [20])


@pytest.mark.parametrize("fault", ["error_before", "hang_before"])
def test_stripes_failures_leave_the_event_for_later(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    settings: Any,
    fault: str,
) -> None:
    paid(stand_in, alices_team, alice, plus)
    settings.STRIPE_TIMEOUT_SECONDS = 0.2
    (sent,) = stand_in.events("invoice.paid")
    stand_in.control("fault", call="GET /v1/invoices", next=[fault] * 4, hang_seconds=0.4)
    (event,) = stand_in.deliver(sent)
    assert (event.state, event.attempts) == ("failed", 1)
    stand_in.control("fault")
    settings.STRIPE_TIMEOUT_SECONDS = 10
    assert invoices.book_invoice(event.object_id) is not None
    assert granted(alices_team) == [25]


def test_an_open_invoice_grants_nothing(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    stand_in.control("renew", subscription=row.stripe_id)
    (failed,) = stand_in.events("invoice.payment_failed")
    assert invoices.book_invoice(failed["data"]["object"]["id"]) is None
    assert invoices.book_recent_invoices(row) == 1, "the first month's"
    assert (granted(alices_team), earned()) == ([25], [20])


def test_an_order_s_invoice_is_no_subscription_s(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order = orders.place(alices_team, alice, 1000)
    pages = {"success_url": "http://testserver/a", "cancel_url": "http://testserver/b"}
    stand_in.pay(orders.open_checkout(order, alice, **pages))
    states = {event.type: event.state for event in stand_in.deliver(*subscription_events(stand_in))}
    assert states["invoice.paid"] == "ignored"
    assert earned() == []


def test_another_currency_raises_an_alert(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paid(stand_in, alices_team, alice, plus)
    (sent,) = stand_in.events("invoice.paid")
    in_dollars = at_stripe.get_invoice(sent["data"]["object"]["id"])
    monkeypatch.setattr(
        at_stripe, "get_invoice", lambda _: dataclasses.replace(in_dollars, currency="jpy")
    )
    assert stand_in.deliver(sent)[0].state == "ignored", "a person has to look"
    assert LedgerAlert.objects.filter(kind="payment_mismatch").count() == 1
    assert (granted(alices_team), earned()) == ([], [])


def test_tax_is_charged_on_top_and_not_earned(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer, settings: Any
) -> None:
    settings.STRIPE_TAX = True
    subscribed(stand_in, alices_team, alice, plus)
    assert SubscriptionPayment.objects.get().amount_cents == 2200
    assert (granted(alices_team), earned()) == ([25], [20])


@pytest.mark.parametrize(
    ("reason", "lines", "expected"),
    [
        ("subscription_create", [("plus", 2000)], 25),
        ("subscription_cycle", [("plus", 2000)], 25),
        ("subscription_cycle", [("plus", 0)], 0),  # a trial that staff gave at Stripe
        ("subscription_cycle", [("plus", 2000), ("foreign", 700)], 25),
        ("subscription_update", [("plus", -2000), ("pro", 10000)], 105),
        ("subscription_update", [("plus", -500), ("pro", 2500)], 26.25),
        ("subscription_update", [("pro", -10000), ("plus", 2000)], 0),
        ("manual", [("plus", 2000)], 0),
    ],
)
def test_lines_grant_in_proportion_to_what_they_charge(
    stand_in: StripeStandIn,
    plus: PlanOffer,
    pro: PlanOffer,
    reason: str,
    lines: list[tuple[str, int]],
    expected: float,
) -> None:
    ids = {offer.plan.name: plans.price_of(offer).stripe_id for offer in (plus, pro)}
    sold = tuple(InvoiceLine(str(ids.get(name, "price_x")), cents) for name, cents in lines)
    invoice = Invoice("in_1", "sub_1", reason, "paid", "usd", False, 0, 0, None, "", "", sold)
    assert invoices.granted_credit(invoice)[0] == expected * DOLLAR


def test_granted_credit_is_spent_before_paid_and_the_nearest_expiry_first(
    stand_in: StripeStandIn, plus: PlanOffer
) -> None:
    """Through real admissions and settlements; what expires is a transfer."""
    customer = ledger_calls.make_customer()
    account = customer.account
    now = datetime.now(UTC)
    postings.top_up(account, 1000, reference=f"pi_{customer.key.pk}")
    postings.grant(account, 500, reference=f"late {account.pk}", expires_at=now + timedelta(days=9))
    postings.grant(account, 300, reference=f"soon {account.pk}", expires_at=now + timedelta(days=1))
    spend(customer, 400)
    assert [(lot.left_nanos, lot.is_paid) for lot in lots_left(account)] == [
        (400, False),
        (1000, True),
    ]
    spend(customer, 300)
    account.lots.filter(remaining_nanos__gt=0, is_paid=False).update(
        expires_at=now - timedelta(seconds=1)
    )
    expiry.expire_lots()
    assert [(lot.left_nanos, lot.is_paid) for lot in lots_left(account)] == [(1000, True)]
    (transfer,) = Transfer.objects.filter(kind="expiry", customer=account)
    assert transfer.amount_nanos == 100
    assert balance_of(customer.team).available_nanos == 1000


def spend(customer: ledger_calls.Customer, nanos: int) -> None:
    """Have a request admitted, and settled at its price."""
    request = customer.admitted(amount_nanos=nanos)
    (receipt,) = ledger_calls.settle(customer.end(request, output_nanos=nanos))
    assert receipt.charged_nanos == nanos


def _fails(*_: Any, **__: Any) -> None:
    raise StripeUnavailableError("away")

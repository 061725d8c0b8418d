"""What payments tell customers' webhooks: once, and only what is committed."""

from typing import Any

import pytest
from django.db import transaction

from accounts.models import Team, User, WebhookEvent
from billing import events
from billing.ledger import postings
from billing.models import CreditAccount, Order, PlanOffer, Subscription
from billing.payments import orders
from tests.api.webhooks.receiver import endpoint_of, events_of
from tests.payments.conftest import StripeStandIn, checkout
from tests.payments.plan_helpers import subscribed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9


@pytest.fixture(autouse=True)
def _endpoint(alices_team: Team) -> None:
    endpoint_of(alices_team, "https://example.com/hook")


def test_a_paid_order_is_told_once(stand_in: StripeStandIn, alice: User, alices_team: Team) -> None:
    order, url = checkout(alices_team, alice, 1250)
    stand_in.pay(url)
    orders.confirm(order)
    stand_in.deliver_all()
    ((kind, data),) = events_of(alices_team)
    assert kind == "payment.succeeded"
    assert data == {
        "object": "order",
        "order": order.number,
        "origin": "checkout",
        "amount_usd": "12.500000000",
        "credit_usd": "12.500000000",
        "tax_usd": "0.000000000",
    }


def test_what_is_rolled_back_is_not_told(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, url = checkout(alices_team, alice, 1250)
    stand_in.pay(url)
    with transaction.atomic():
        orders.confirm(order)
        assert WebhookEvent.objects.exists()
        transaction.set_rollback(True)
    assert not WebhookEvent.objects.exists()


def test_a_failed_payment_is_told_but_no_abandoned_checkout(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    abandoned, _ = checkout(alices_team, alice, 1000)
    stand_in.control("expire", session=Order.objects.get().session_id)
    assert orders.confirm(abandoned).state == Order.State.EXPIRED
    assert events_of(alices_team) == []
    order, _ = checkout(alices_team, alice, 1000)
    for _ in range(2):
        orders.fail(order, "Your card was declined.", orders.Problem.DECLINED)
    ((kind, data),) = events_of(alices_team)
    assert (kind, data["reason"]) == ("payment.failed", "Your card was declined.")
    assert data["amount_usd"] == "10.000000000"


def test_a_plans_payments_are_told(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    ((kind, data),) = events_of(alices_team)
    assert (kind, data["object"], data["amount_usd"]) == (
        "payment.succeeded",
        "plan",
        "20.000000000",
    )
    row.status, row.latest_invoice_id = Subscription.Status.PAST_DUE, "in_2"
    for _ in range(2):
        events.publish_plan_unpaid(row)
    assert [kind for kind, _ in events_of(alices_team)] == ["payment.succeeded", "payment.failed"]


def test_a_low_balance_is_told_once_for_each_fall(
    alices_team: Team, alices_account: CreditAccount
) -> None:
    endpoint_of(alices_team, "https://example.com/small", low_balance_nanos=DOLLAR)
    endpoint_of(alices_team, "https://example.com/jobs", "job.completed")
    assert events.publish_low_balances() == 0, "a new account is not low"
    credit = postings.Credit("grant", "given 1")
    postings.grant(alices_account, 20 * DOLLAR, reference="given 1", memo="")
    take(alices_account, 16 * DOLLAR, credit)
    for _ in range(2):
        events.publish_low_balances()
    assert lows(alices_team) == ["5.000000000"]
    take(alices_account, 3.5 * DOLLAR, credit)
    events.publish_low_balances()
    assert lows(alices_team) == ["5.000000000", "1.000000000"]
    postings.grant(alices_account, 20 * DOLLAR, reference="given 2", memo="")
    events.publish_low_balances()
    take(alices_account, 18 * DOLLAR, postings.Credit("grant", "given 2"))
    events.publish_low_balances()
    assert lows(alices_team) == ["5.000000000", "1.000000000", "5.000000000"]


def take(account: CreditAccount, nanos: float, credit: Any) -> None:
    postings.claw_back(account, int(nanos), reference=f"taken {nanos}", credit=credit)


def lows(team: Team) -> list[str]:
    """Return the thresholds that were told."""
    return [data["threshold_usd"] for kind, data in events_of(team) if kind == "balance.low"]

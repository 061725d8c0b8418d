"""An order of credits: placed once, paid at Checkout, credited once, whoever notices first."""

from typing import Any

import pytest

from accounts.models import User
from billing.balances import balance_of
from billing.models import Order, Transfer
from billing.payments import orders
from tests.payments.conftest import StripeStandIn, checkout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9


def test_a_paid_order_is_credited_whoever_notices_first(
    stand_in: StripeStandIn, alice: User, alices_team: Any
) -> None:
    before = balance_of(alices_team).posted_nanos
    order, url = checkout(alices_team, alice, 1250)
    assert orders.confirm(order).state == Order.State.OPEN
    stand_in.pay(url)

    events = stand_in.tell_everything()

    order = orders.confirm(order)
    assert order.state == Order.State.PAID
    assert balance_of(alices_team).posted_nanos - before == 12.5 * DOLLAR
    (transfer,) = Transfer.objects.filter(kind="top_up", customer__team=alices_team)
    assert transfer.reference == order.payment_intent_id
    assert {event.state for event in events} <= {"handled", "ignored"}

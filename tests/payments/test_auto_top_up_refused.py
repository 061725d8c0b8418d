"""Auto top-up with declined cards, by webhook or response."""

from typing import Any

import pytest

from accounts.models import Team, User
from billing.models import CreditAccount, Order
from billing.payments import orders
from billing.stripe_api import payments
from tests.payments.auto_top_up_helpers import (
    DAY,
    DOLLAR,
    HOUR,
    MINUTE,
    available,
    charged_cents,
    keep_card,
    pass_time,
    run_round,
    settings_of,
    spend_all,
)
from tests.payments.conftest import StripeStandIn, checkout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


# Cards that refuse


def test_a_declined_card_is_tried_again_later_and_in_the_end_no_more(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_chargeCustomerFail")
    for failures, pause in enumerate([HOUR, 6 * HOUR, DAY], start=1):
        order = run_round(low)
        assert order is not None
        assert (order.state, order.failure) == ("failed", "Your card was declined.")
        row = settings_of(low)
        assert (row.is_enabled, row.problem, row.failures) == (True, "declined", failures)
        pass_time(low, pause - MINUTE)
        assert run_round(low) is None
        pass_time(low, MINUTE)
    assert run_round(low) is not None
    row = settings_of(low)
    assert (row.is_enabled, row.problem, row.failures) == (False, "declined", 4)
    pass_time(low, 30 * DAY)
    assert run_round(low) is None
    assert charged_cents(stand_in) == []


def test_a_card_that_pays_again_ends_the_count(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_chargeCustomerFail")
    run_round(low)
    keep_card(stand_in, low, alice)
    assert run_round(low) is None
    pass_time(low, HOUR)
    order = run_round(low)
    assert order is not None
    assert order.state == "paid"
    row = settings_of(low)
    assert (row.problem, row.failures, row.next_attempt_at) == ("", 0, None)


def test_required_authentication_pauses_until_a_payment_at_checkout(
    low: Team, alice: User, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_authenticationRequired")
    order = run_round(low)
    assert order is not None
    assert order.state == "failed"
    row = settings_of(low)
    assert (row.is_enabled, row.problem, row.failures) == (True, "authentication_required", 0)
    pass_time(low, 30 * DAY)
    assert run_round(low) is None
    (intent,) = stand_in.get("payment_intents")["data"]
    assert intent["status"] == "canceled"

    own, url = checkout(low, alice, 1000)
    stand_in.pay(url)
    own.refresh_from_db()
    assert orders.confirm(own).state == "paid"
    assert settings_of(low).problem == ""
    spend_all(alices_account)
    order = run_round(low)
    assert order is not None
    assert order.state == "paid"


def test_without_a_card_it_waits_for_the_owner(low: Team, stand_in: StripeStandIn) -> None:
    (method,) = stand_in.get(f"customers/{low.payment_customer.stripe_id}/payment_methods")["data"]
    stand_in.web.post(
        f"{stand_in.url}/v1/payment_methods/{method['id']}/detach",
        headers={"authorization": "Bearer sk_test"},
    ).raise_for_status()
    order = run_round(low)
    assert order is not None
    assert (order.state, order.failure) == ("failed", "No card to charge.")
    assert settings_of(low).problem == "no_card"
    assert run_round(low) is None


# Webhooks


def test_the_webhook_may_come_first_or_last_or_often(
    low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def told_before_the_answer(**order: Any) -> Any:
        intent = charge(**order)
        stand_in.deliver_all()
        assert available(low) == 13 * DOLLAR
        return intent

    monkeypatch.setattr(payments, "charge_card", told_before_the_answer)
    order = run_round(low)
    assert order is not None
    assert order.state == "paid"
    stand_in.deliver_all()
    assert available(low) == 13 * DOLLAR
    assert settings_of(low).next_attempt_at is None


@pytest.mark.parametrize(
    ("card", "problem", "failures"),
    [
        ("pm_card_chargeCustomerFail", "declined", 1),
        ("pm_card_authenticationRequired", "authentication_required", 0),
    ],
)
def test_a_failure_counts_once_whether_webhook_or_response_comes_first(
    card: str,
    problem: str,
    failures: int,
    low: Team,
    alice: User,
    stand_in: StripeStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_card(stand_in, low, alice, card)
    charge = payments.charge_card

    def told_before_the_answer(**order: Any) -> Any:
        try:
            return charge(**order)
        finally:
            stand_in.deliver_all()

    monkeypatch.setattr(payments, "charge_card", told_before_the_answer)
    run_round(low)
    stand_in.deliver_all()
    row = settings_of(low)
    assert (row.problem, row.failures) == (problem, failures)
    assert Order.objects.get(origin="auto_top_up").state == "failed"

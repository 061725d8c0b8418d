"""Auto top-up while Stripe fails and processes die between two steps: one charge, one credit."""

from typing import Any

import pytest

from accounts.models import Team, User
from billing.errors import PaymentMismatchError, StripeUnavailableError
from billing.models import LedgerAlert, Order, PaymentCustomer
from billing.payments import auto_top_up, orders
from billing.stripe_api import payments
from tests.payments.auto_top_up_helpers import (
    CHARGE,
    DOLLAR,
    HOUR,
    MINUTE,
    available,
    charged_cents,
    enable_auto_top_up,
    keep_card,
    pass_time,
    run_round,
    settings_of,
)
from tests.payments.conftest import StripeStandIn

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


# Stripe that fails, and processes that die


@pytest.mark.parametrize("fault", ["error_before", "error_after", "hang_before", "hang_after"])
def test_stripe_failing_or_silent_never_makes_two_charges(
    fault: str, low: Team, stand_in: StripeStandIn, settings: Any
) -> None:
    settings.STRIPE_TIMEOUT_SECONDS = 0.3
    # Two for each attempt, as the SDK repeats a call once by itself.
    stand_in.control("fault", next=[fault] * 4, call=CHARGE, hang_seconds=0.5)
    for _ in range(5):
        try:
            order = run_round(low)
        except StripeUnavailableError:
            assert Order.objects.get(origin="auto_top_up").state == "open"
        else:
            if order is not None and order.state == "paid":
                break
        pass_time(low, MINUTE)
    assert Order.objects.get(origin="auto_top_up").state == "paid"
    assert charged_cents(stand_in) == [1000]
    assert available(low) == 13 * DOLLAR


class Crash(BaseException):
    """The process dies."""


@pytest.mark.parametrize("step", ["card", "before_charge", "after_charge", "before_credit"])
def test_after_a_crash_between_two_steps_the_next_round_resumes(
    step: str, low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Crash

    def charge_and_die(**order: Any) -> None:
        payments_charge(**order)
        raise Crash

    payments_charge = payments.charge_card
    with monkeypatch.context() as patch:
        if step == "card":
            patch.setattr(auto_top_up, "refresh_card", die)
        elif step == "before_credit":
            patch.setattr(orders.postings, "top_up", die)
        else:
            patch.setattr(payments, "charge_card", charge_and_die if "after" in step else die)
        with pytest.raises(Crash):
            run_round(low)
    assert run_round(low) is None  # whoever died may still be at it, for all that others know
    pass_time(low, MINUTE)
    order = run_round(low)
    assert order is not None
    assert order.state == "paid"
    assert charged_cents(stand_in) == [1000]
    assert available(low) == 13 * DOLLAR
    assert Order.objects.filter(origin="auto_top_up").count() == 1


def test_a_card_changed_between_two_attempts_does_not_change_the_order(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    first = PaymentCustomer.objects.get(team=low).payment_method_id
    stand_in.control("fault", next=["error_before"] * 2, call=CHARGE)
    with pytest.raises(StripeUnavailableError):
        run_round(low)
    stand_in.control("fault", next=[])
    second = keep_card(stand_in, low, alice, "pm_card_mastercard").payment_method_id
    pass_time(low, MINUTE)
    order = run_round(low)
    assert order is not None
    assert (order.state, order.payment_method_id) == ("paid", first)
    assert second != first
    assert charged_cents(stand_in) == [1000]


@pytest.mark.parametrize("was_charged", [True, False])
def test_after_an_hour_the_payment_is_looked_up_instead_of_charged_again(
    was_charged: bool, low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def lost(**order: Any) -> None:
        if was_charged:
            charge(**order)
        raise StripeUnavailableError("no answer")

    monkeypatch.setattr(payments, "charge_card", lost)
    with pytest.raises(StripeUnavailableError):
        run_round(low)
    pass_time(low, HOUR + MINUTE)
    order = run_round(low)
    assert order is not None
    assert order.state == "open"  # the last attempt may not be over yet
    pass_time(low, 4 * MINUTE)
    order = run_round(low)
    assert order is not None
    assert order.state == ("paid" if was_charged else "failed")
    assert charged_cents(stand_in) == ([1000] if was_charged else [])
    row = settings_of(low)
    assert (row.problem, row.failures) == ("", 0)

    if not was_charged:
        monkeypatch.setattr(payments, "charge_card", charge)
        assert run_round(low) is None
        pass_time(low, 10 * MINUTE)
        order = run_round(low)
        assert order is not None
        assert order.state == "paid"
        assert charged_cents(stand_in) == [1000]


def test_after_a_replayed_failure_the_payment_is_looked_up(
    low: Team, stand_in: StripeStandIn
) -> None:
    stand_in.control("fault", next=["error_kept"], call=CHARGE)
    order = run_round(low)
    assert order is not None
    assert order.state == "paid"
    assert charged_cents(stand_in) == [1000]


@pytest.mark.parametrize("was_charged", [True, False])
def test_an_open_order_is_closed_and_not_charged_after_switching_off(
    was_charged: bool, low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def die(**order: Any) -> None:
        if was_charged:
            charge(**order)
        raise Crash

    monkeypatch.setattr(payments, "charge_card", die)
    with pytest.raises(Crash):
        run_round(low)
    enable_auto_top_up(low, is_enabled=False, next_attempt_at=None)
    order = run_round(low)
    assert order is not None
    assert order.state == ("paid" if was_charged else "failed")
    assert charged_cents(stand_in) == ([1000] if was_charged else [])


def test_a_payment_of_another_amount_raises_an_alert(
    low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card
    monkeypatch.setattr(
        payments, "charge_card", lambda **order: charge(**(order | {"amount_cents": 900}))
    )
    with pytest.raises(PaymentMismatchError):
        run_round(low)
    assert LedgerAlert.objects.filter(kind="payment_mismatch").exists()
    assert available(low) == 3 * DOLLAR
    pass_time(low, MINUTE)
    with pytest.raises(PaymentMismatchError):
        run_round(low)
    assert charged_cents(stand_in) == [900]

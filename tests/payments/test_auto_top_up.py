"""Auto top-up: bought when the balance is low, once, whatever goes wrong between any two steps."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Plan, Team, User
from billing import ledger
from billing.balances import balance_of
from billing.models import AutoTopUp, CreditAccount, LedgerAlert, Order, PaymentCustomer
from billing.payments import auto_top_up, orders, tasks
from billing.stripe_api import payments
from billing.stripe_api.client import StripeUnavailableError
from tests.billing.customers import admit, make_customer, settle
from tests.payments.cards import DOLLAR, charged_cents, keep_card, pass_time, spend_all, wish
from tests.payments.conftest import StripeStandIn, checkout

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

CHARGE = "POST /v1/payment_intents"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def low(
    stand_in: StripeStandIn, alice: User, alices_team: Team, alices_account: CreditAccount
) -> Team:
    """Alice's team: $3 left, a card on file, $10 to be bought below $5."""
    keep_card(stand_in, alices_team, alice)
    ledger.grant(alices_account, 3 * DOLLAR, reference="three dollars")
    wish(alices_team)
    return alices_team


def round_of(team: Team) -> Order | None:
    """Does for the team what a round of Celery's does."""
    if team.pk not in auto_top_up.due_teams():
        return None
    return auto_top_up.top_up(team.pk)


def settings_of(team: Team) -> AutoTopUp:
    return AutoTopUp.objects.get(team=team)


def available(team: Team) -> int:
    return balance_of(team).available_nanos


# When


def test_below_the_threshold_the_amount_is_bought_once(low: Team, stand_in: StripeStandIn) -> None:
    order = round_of(low)
    assert order is not None
    assert (order.state, order.origin, order.amount_cents) == ("paid", "auto_top_up", 1000)
    assert available(low) == 13 * DOLLAR
    assert charged_cents(stand_in) == [1000]
    assert round_of(low) is None
    assert auto_top_up.top_up(low.pk) is None
    assert charged_cents(stand_in) == [1000]


def test_at_the_threshold_nothing_is_bought(low: Team, alices_account: CreditAccount) -> None:
    ledger.grant(alices_account, 2 * DOLLAR, reference="two more")
    assert round_of(low) is None
    ledger.adjust(alices_account, -1, reference="a nano-dollar", memo="spent")
    assert round_of(low) is not None


def test_what_open_requests_hold_is_not_available(stand_in: StripeStandIn, alice: User) -> None:
    customer = make_customer(6 * DOLLAR)
    Membership.objects.create(user=alice, team=customer.team, role="owner")
    keep_card(stand_in, customer.team, alice)
    wish(customer.team)
    assert auto_top_up.due_teams() == []
    request = customer.admitted(amount_nanos=2 * DOLLAR)
    assert auto_top_up.due_teams() == [customer.team.pk]
    settle(customer.end(request, output_nanos=2 * DOLLAR, outcome="completed"))
    assert round_of(customer.team) is not None
    assert available(customer.team) == 14 * DOLLAR


@pytest.mark.parametrize("reason", ["off", "suspended", "nobody", "waits"])
def test_who_may_not_buy_is_not_charged(
    reason: str, low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    if reason == "off":
        wish(low, is_enabled=False)
    elif reason == "suspended":
        Team.objects.filter(pk=low.pk).update(suspended_at=timezone.now())
    elif reason == "nobody":
        Membership.objects.filter(team=low).delete()
    else:
        wish(low, next_attempt_at=timezone.now() + MINUTE)
    assert auto_top_up.due_teams() == []
    assert auto_top_up.top_up(low.pk) is None
    assert charged_cents(stand_in) == []


def test_looking_for_due_teams_takes_two_queries_however_many_there_are(low: Team) -> None:
    plan = Plan.objects.get(is_default=True)
    for number in range(30):
        team = Team.objects.create(name=f"{number}", slug=f"full-{number}", plan=plan)
        wish(team)
        ledger.grant(ledger.open_account(team), 20 * DOLLAR, reference=f"full {number}")
    with CaptureQueriesContext(connection) as captured:
        assert auto_top_up.due_teams() == [low.pk]
    assert len(captured) == 2


# Twice at once


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_buy_once(low: Team, stand_in: StripeStandIn) -> None:
    def attempt(_: int) -> Order | None:
        try:
            return auto_top_up.top_up(low.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        found = [order for order in threads.map(attempt, range(20)) if order is not None]
    assert [order.state for order in found] == ["paid"]
    assert charged_cents(stand_in) == [1000]
    assert available(low) == 13 * DOLLAR


def test_the_database_itself_refuses_a_second_open_order(low: Team) -> None:
    fields = {"team": low, "origin": "auto_top_up", "amount_cents": 1000, "is_live": False}
    Order.objects.create(credit_nanos=1, **fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.create(credit_nanos=1, **fields)


# The month's limit


def test_the_months_limit_is_exact(
    low: Team, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    wish(low, monthly_limit_cents=3000)
    for _ in range(3):
        assert round_of(low) is not None
        spend_all(alices_account)
    assert round_of(low) is None
    row = settings_of(low)
    assert (row.problem, row.is_enabled) == ("monthly_limit", True)
    assert row.next_attempt_at is not None
    assert (row.next_attempt_at.day, row.next_attempt_at.hour) == (1, 0)
    assert row.next_attempt_at > timezone.now()
    assert charged_cents(stand_in) == [1000] * 3
    assert round_of(low) is None

    pass_time(low, timedelta(days=32))
    assert round_of(low) is not None
    assert settings_of(low).problem == ""


def test_orders_that_failed_or_that_a_person_placed_count_for_nothing(
    low: Team, alice: User, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    order, url = checkout(low, alice, 5000)
    stand_in.pay(url)
    order.refresh_from_db()
    assert orders.confirm(order).state == "paid"
    spend_all(alices_account)
    fields = {"origin": "auto_top_up", "amount_cents": 5000, "credit_nanos": 1, "is_live": False}
    Order.objects.create(team=low, state="failed", **fields)
    assert auto_top_up.bought_this_month_cents(low, timezone.now()) == 0
    assert round_of(low) is not None
    assert auto_top_up.bought_this_month_cents(low, timezone.now()) == 1000


# Cards that refuse


def test_a_declined_card_is_tried_again_later_and_in_the_end_no_more(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_chargeCustomerFail")
    for failures, pause in enumerate([HOUR, 6 * HOUR, DAY], start=1):
        order = round_of(low)
        assert order is not None
        assert (order.state, order.failure) == ("failed", "Your card was declined.")
        row = settings_of(low)
        assert (row.is_enabled, row.problem, row.failures) == (True, "declined", failures)
        pass_time(low, pause - MINUTE)
        assert round_of(low) is None
        pass_time(low, MINUTE)
    assert round_of(low) is not None
    row = settings_of(low)
    assert (row.is_enabled, row.problem, row.failures) == (False, "declined", 4)
    pass_time(low, 30 * DAY)
    assert round_of(low) is None
    assert charged_cents(stand_in) == []


def test_a_card_that_pays_again_ends_the_count(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_chargeCustomerFail")
    round_of(low)
    keep_card(stand_in, low, alice)
    assert round_of(low) is None
    pass_time(low, HOUR)
    order = round_of(low)
    assert order is not None
    assert order.state == "paid"
    row = settings_of(low)
    assert (row.problem, row.failures, row.next_attempt_at) == ("", 0, None)


def test_a_bank_that_asks_for_the_owner_pauses_until_they_pay_at_checkout(
    low: Team, alice: User, alices_account: CreditAccount, stand_in: StripeStandIn
) -> None:
    keep_card(stand_in, low, alice, "pm_card_authenticationRequired")
    order = round_of(low)
    assert order is not None
    assert order.state == "failed"
    row = settings_of(low)
    assert (row.is_enabled, row.problem, row.failures) == (True, "authentication_required", 0)
    pass_time(low, 30 * DAY)
    assert round_of(low) is None
    (intent,) = stand_in.get("payment_intents")["data"]
    assert intent["status"] == "canceled"

    own, url = checkout(low, alice, 1000)
    stand_in.pay(url)
    own.refresh_from_db()
    assert orders.confirm(own).state == "paid"
    assert settings_of(low).problem == ""
    spend_all(alices_account)
    order = round_of(low)
    assert order is not None
    assert order.state == "paid"


def test_without_a_card_it_waits_for_the_owner(low: Team, stand_in: StripeStandIn) -> None:
    (method,) = stand_in.get(f"customers/{low.payment_customer.stripe_id}/payment_methods")["data"]
    stand_in.http.post(
        f"{stand_in.url}/v1/payment_methods/{method['id']}/detach",
        headers={"authorization": "Bearer sk_test"},
    ).raise_for_status()
    order = round_of(low)
    assert order is not None
    assert (order.state, order.failure) == ("failed", "There is no card to charge.")
    assert settings_of(low).problem == "no_card"
    assert round_of(low) is None


# Stripe that fails, and processes that die


@pytest.mark.parametrize("trouble", ["error_before", "error_after", "hang_before", "hang_after"])
def test_stripe_failing_or_silent_never_makes_two_charges(
    trouble: str, low: Team, stand_in: StripeStandIn, settings: Any
) -> None:
    settings.STRIPE_TIMEOUT_SECONDS = 0.3
    # Two for each attempt, as the SDK repeats a call once by itself.
    stand_in.control("trouble", next=[trouble] * 4, call=CHARGE, hang_seconds=0.5)
    for _ in range(5):
        try:
            order = round_of(low)
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
def test_a_crash_between_two_steps_is_taken_up_by_the_next_round(
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
            patch.setattr(orders.ledger, "top_up", die)
        else:
            patch.setattr(payments, "charge_card", charge_and_die if "after" in step else die)
        with pytest.raises(Crash):
            round_of(low)
    assert round_of(low) is None  # whoever died may still be at it, for all that others know
    pass_time(low, MINUTE)
    order = round_of(low)
    assert order is not None
    assert order.state == "paid"
    assert charged_cents(stand_in) == [1000]
    assert available(low) == 13 * DOLLAR
    assert Order.objects.filter(origin="auto_top_up").count() == 1


def test_a_card_changed_between_two_attempts_does_not_change_the_order(
    low: Team, alice: User, stand_in: StripeStandIn
) -> None:
    first = PaymentCustomer.objects.get(team=low).payment_method_id
    stand_in.control("trouble", next=["error_before"] * 2, call=CHARGE)
    with pytest.raises(StripeUnavailableError):
        round_of(low)
    stand_in.control("trouble", next=[])
    second = keep_card(stand_in, low, alice, "pm_card_mastercard").payment_method_id
    pass_time(low, MINUTE)
    order = round_of(low)
    assert order is not None
    assert (order.state, order.payment_method_id) == ("paid", first)
    assert second != first
    assert charged_cents(stand_in) == [1000]


@pytest.mark.parametrize("was_charged", [True, False])
def test_after_an_hour_stripe_is_asked_what_came_of_it_instead_of_charging_again(
    was_charged: bool, low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def lost(**order: Any) -> None:
        if was_charged:
            charge(**order)
        raise StripeUnavailableError("no answer")

    monkeypatch.setattr(payments, "charge_card", lost)
    with pytest.raises(StripeUnavailableError):
        round_of(low)
    pass_time(low, HOUR + MINUTE)
    order = round_of(low)
    assert order is not None
    assert order.state == "open"  # the last attempt may not be over yet
    pass_time(low, 4 * MINUTE)
    order = round_of(low)
    assert order is not None
    assert order.state == ("paid" if was_charged else "failed")
    assert charged_cents(stand_in) == ([1000] if was_charged else [])
    row = settings_of(low)
    assert (row.problem, row.failures) == ("", 0)

    if not was_charged:
        monkeypatch.setattr(payments, "charge_card", charge)
        assert round_of(low) is None
        pass_time(low, 10 * MINUTE)
        order = round_of(low)
        assert order is not None
        assert order.state == "paid"
        assert charged_cents(stand_in) == [1000]


def test_a_failure_that_stripe_repeats_for_the_key_is_looked_behind(
    low: Team, stand_in: StripeStandIn
) -> None:
    stand_in.control("trouble", next=["error_kept"], call=CHARGE)
    order = round_of(low)
    assert order is not None
    assert order.state == "paid"
    assert charged_cents(stand_in) == [1000]


@pytest.mark.parametrize("was_charged", [True, False])
def test_switched_off_meanwhile_an_open_order_is_concluded_and_not_charged(
    was_charged: bool, low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def die(**order: Any) -> None:
        if was_charged:
            charge(**order)
        raise Crash

    monkeypatch.setattr(payments, "charge_card", die)
    with pytest.raises(Crash):
        round_of(low)
    wish(low, is_enabled=False, next_attempt_at=None)
    order = round_of(low)
    assert order is not None
    assert order.state == ("paid" if was_charged else "failed")
    assert charged_cents(stand_in) == ([1000] if was_charged else [])


def test_another_amount_than_the_orders_is_for_a_person_to_see(
    low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card
    monkeypatch.setattr(
        payments, "charge_card", lambda **order: charge(**(order | {"amount_cents": 900}))
    )
    with pytest.raises(orders.PaymentMismatchError):
        round_of(low)
    assert LedgerAlert.objects.filter(kind="payment_mismatch").exists()
    assert available(low) == 3 * DOLLAR
    pass_time(low, MINUTE)
    with pytest.raises(orders.PaymentMismatchError):
        round_of(low)
    assert charged_cents(stand_in) == [900]


# Webhooks


def test_the_webhook_may_come_first_or_last_or_often(
    low: Team, stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = payments.charge_card

    def told_before_the_answer(**order: Any) -> Any:
        intent = charge(**order)
        stand_in.tell_everything()
        assert available(low) == 13 * DOLLAR
        return intent

    monkeypatch.setattr(payments, "charge_card", told_before_the_answer)
    order = round_of(low)
    assert order is not None
    assert order.state == "paid"
    stand_in.tell_everything()
    assert available(low) == 13 * DOLLAR
    assert settings_of(low).next_attempt_at is None


@pytest.mark.parametrize(
    ("card", "problem", "failures"),
    [
        ("pm_card_chargeCustomerFail", "declined", 1),
        ("pm_card_authenticationRequired", "authentication_required", 0),
    ],
)
def test_a_failure_counts_once_whether_the_webhook_or_the_answer_tells_it_first(
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
            stand_in.tell_everything()

    monkeypatch.setattr(payments, "charge_card", told_before_the_answer)
    round_of(low)
    stand_in.tell_everything()
    row = settings_of(low)
    assert (row.problem, row.failures) == (problem, failures)
    assert Order.objects.get(origin="auto_top_up").state == "failed"


# Through the API's own gate


@pytest.mark.django_db(transaction=True)
def test_a_request_that_brings_the_balance_low_has_credits_bought(
    stand_in: StripeStandIn, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = make_customer(6 * DOLLAR)
    Membership.objects.create(user=alice, team=customer.team, role="owner")
    keep_card(stand_in, customer.team, alice)
    wish(customer.team)
    monkeypatch.setattr(
        tasks.top_up_team, "apply_async", lambda args, **_: tasks.top_up_team(*args)
    )
    assert tasks.top_up_low_balances() == 0
    ask = customer.ask(amount_nanos=2 * DOLLAR)
    assert admit(ask)[0].code == "admitted"
    settle(customer.end(ask, output_nanos=2 * DOLLAR))
    assert tasks.top_up_low_balances() == 1
    assert available(customer.team) == 14 * DOLLAR
    assert tasks.top_up_low_balances() == 0


def test_without_payments_nothing_is_looked_for(low: Team, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert tasks.top_up_low_balances() == 0

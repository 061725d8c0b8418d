"""Refunds at Stripe: rejected, failed, unanswered, or made in the dashboard."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import Team, User
from billing.models import LedgerAlert, Order, Refund
from billing.payments import refunds, tasks
from billing.stripe_api.objects import Refund as StripeRefund
from tests.payments.conftest import StripeStandIn
from tests.payments.refund_helpers import (
    CENT,
    DOLLAR,
    age_refunds,
    booked,
    moved,
    posted,
    refunds_at_stripe,
    request_refund,
    spend,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

CALL = "POST /v1/refunds"


def test_a_rejected_refund_returns_its_credits_once(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("dispute", charge=order.charge_id, amount=1)  # without an event

    refund = request_refund(order, 1000, clerk)
    refunds.submit(refund)

    assert (refund.state, "charged back" in refund.error) == ("failed", True)
    assert posted(alices_team) == 10 * DOLLAR
    assert moved(alices_team)[1:] == [("refund", 10 * DOLLAR), ("refund_reversal", 10 * DOLLAR)]


@pytest.mark.parametrize("end", ["failed", "canceled"])
@pytest.mark.parametrize("start", ["pending", "succeeded"])
def test_a_refund_that_fails_later_returns_its_credits_once(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User, start: str, end: str
) -> None:
    stand_in.control("next_refunds", statuses=[start])
    refund = request_refund(order, 400, clerk)
    assert (refund.state, posted(alices_team)) == (start, 6 * DOLLAR)

    stand_in.control("finish_refund", refund=refund.stripe_id, status=end)
    stand_in.deliver_all()
    stand_in.deliver(*stand_in.events("refund.created")[::-1])

    refund.refresh_from_db()
    assert refund.state == end
    assert posted(alices_team) == 10 * DOLLAR
    assert moved(alices_team, "refund_reversal") == [("refund_reversal", 4 * DOLLAR)]
    assert request_refund(order, 1000, clerk).state == "succeeded"  # all of it is there again


def test_a_forced_refund_that_fails_ends_its_goodwill(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 9 * DOLLAR)
    refund = request_refund(order, 1000, clerk, is_forced=True)

    stand_in.control("finish_refund", refund=refund.stripe_id, status="failed")
    stand_in.deliver_all()

    assert posted(alices_team) == 1 * DOLLAR
    assert booked("goodwill") == booked("goodwill_reversal") == [9 * DOLLAR]


def test_a_lost_webhook_is_made_up_for_by_the_hourly_check_of_refunds(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("next_refunds", statuses=["pending"])
    refund = request_refund(order, 400, clerk)
    stand_in.control("finish_refund", refund=refund.stripe_id, status="failed")

    assert tasks.check_reversals() == 1

    refund.refresh_from_db()
    assert (refund.state, posted(alices_team)) == ("failed", 10 * DOLLAR)
    assert tasks.check_reversals() == 0


FAULTS = ["error_before", "error_after", "error_kept", "hang_before", "hang_after"]


@pytest.mark.parametrize("fault", FAULTS)
def test_stripe_failing_or_silent_never_makes_two_refunds(
    stand_in: StripeStandIn,
    order: Order,
    alices_team: Team,
    clerk: User,
    settings: Any,
    fault: str,
) -> None:
    settings.STRIPE_TIMEOUT_SECONDS = 0.4
    stand_in.control("fault", next=[fault] * 2, call=CALL, hang_seconds=0.8)

    refund = request_refund(order, 400, clerk)
    assert tasks.submit_requested_refunds() == 0  # too recent for a retry
    age_refunds()
    for _ in range(3):
        tasks.submit_requested_refunds()

    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert refunds_at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR
    assert moved(alices_team, "refund") == [("refund", 4 * DOLLAR)]


def test_while_stripe_is_away_a_refund_waits_and_its_credits_with_it(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("fault", next=["error_before"] * 4)
    refund = request_refund(order, 400, clerk)
    age_refunds()
    assert tasks.submit_requested_refunds() == 0
    assert (refund.state, posted(alices_team)) == ("requested", 6 * DOLLAR)

    assert tasks.submit_requested_refunds() == 1
    assert refunds_at_stripe(stand_in) == [400]


class ProcessDiedError(BaseException):
    """Stands for SIGKILL: nothing of the caller's handles it."""


@pytest.mark.parametrize("point", ["after_refund_booked", "after_refund_submitted"])
def test_killed_before_stripes_answer_is_booked_it_is_asked_for_again_once(
    stand_in: StripeStandIn,
    order: Order,
    alices_team: Team,
    clerk: User,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def die(name: str) -> None:
        if name == point:
            raise ProcessDiedError

    with monkeypatch.context() as armed:
        armed.setattr(refunds, "failpoint", die)
        with pytest.raises(ProcessDiedError):
            request_refund(order, 400, clerk)
    refund = Refund.objects.get()
    assert (refund.state, posted(alices_team)) == ("requested", 6 * DOLLAR)

    age_refunds()
    assert [tasks.submit_requested_refunds() for _ in range(3)] == [1, 0, 0]

    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert refunds_at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR


def test_a_dispute_fails_a_refund_that_was_not_submitted_yet(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("fault", next=["error_before"] * 2, call=CALL)
    refund = request_refund(order, 400, clerk)
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.deliver_all()

    refund.refresh_from_db()
    assert (refund.state, refund.error) == ("failed", "The payment was disputed first.")
    assert order.disputes.get().credit_nanos == 10 * DOLLAR
    assert posted(alices_team) == 0
    age_refunds()
    tasks.submit_requested_refunds()
    assert refunds_at_stripe(stand_in) == []


# Stripe's dashboard


def test_a_refund_made_at_stripe_takes_its_credits(
    stand_in: StripeStandIn, taxed_order: Order, alices_team: Team
) -> None:
    stand_in.control("refund", charge=taxed_order.charge_id, amount=500)
    stand_in.deliver_all()

    refund = Refund.objects.get()
    assert (refund.state, refund.is_forced, refund.requested_by) == ("succeeded", True, None)
    assert refund.reason == refunds.DASHBOARD_REASON
    assert refund.amount_cents + refund.tax_cents == 500
    assert refund.credit_nanos == 999 * CENT * 500 // 1099
    assert posted(alices_team) == 999 * CENT - refund.credit_nanos

    stand_in.control("refund", charge=taxed_order.charge_id)
    stand_in.deliver_all()
    assert posted(alices_team) == 0
    assert sum(Refund.objects.values_list("credit_nanos", flat=True)) == 999 * CENT


def test_a_refund_made_at_stripe_of_spent_credit_is_the_operators_loss(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 9 * DOLLAR)
    stand_in.control("refund", charge=order.charge_id)
    stand_in.deliver_all()

    assert posted(alices_team) == 0
    assert booked("goodwill") == [9 * DOLLAR]


def test_a_refund_of_an_order_of_which_nothing_is_left_is_for_staff(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    request_refund(order, 1000, clerk)
    found = StripeRefund(
        id="re_more",
        payment_intent_id=order.payment_intent_id or "",
        amount_cents=5,
        currency="usd",
        status="succeeded",
        failure="",
        local_id="",
        created_at=datetime.now(UTC),
    )

    assert refunds.record_refund(order, found) is None

    assert LedgerAlert.objects.get().kind == "refund_of_nothing"
    assert posted(alices_team) == 0


def test_a_refund_of_somebody_elses_payment_is_ignored(stand_in: StripeStandIn) -> None:
    intent = stand_in.web.post(
        f"{stand_in.url}/v1/payment_intents",
        headers={"authorization": "Bearer sk_test"},
        data={"amount": 500, "confirm": "true", "payment_method": "pm_card_visa"},
    ).json()
    stand_in.control("refund", payment_intent=intent["id"])

    handled = stand_in.deliver(*stand_in.events("refund.created", "charge.refunded"))

    assert [event.state for event in handled] == ["ignored", "ignored"]
    assert not Refund.objects.exists()

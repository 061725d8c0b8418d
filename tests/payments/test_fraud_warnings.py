"""Early warnings of fraud: the team's keys pause until staff have looked."""

from functools import partial

import pytest

from accounts.models import AuditEntry, Team, User
from billing.models import FraudWarning, Order
from billing.payments import disputes
from tests.payments.conftest import StripeStandIn, paid_order, run_concurrently
from tests.payments.refund_helpers import DOLLAR, customer_of, posted

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

KIND = "radar.early_fraud_warning.created"


def warn(stand_in: StripeStandIn, order: Order) -> FraudWarning:
    """Create an early fraud warning, and deliver the event."""
    created = stand_in.control("fraud_warning", charge=order.charge_id)
    stand_in.deliver_all()
    return FraudWarning.objects.get(pk=created["id"])


def paused(team: Team) -> str:
    """Return why the team's keys are refused."""
    team.refresh_from_db()
    return team.suspended_reason


def test_a_warning_pauses_the_keys_and_takes_nothing(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    key = customer_of(alices_team)

    warning = warn(stand_in, order)

    assert (warning.order, warning.fraud_type) == (order, "unauthorized_use_of_card")
    assert warning.handled_at is None
    assert paused(alices_team) == disputes.PAUSED_FOR_FRAUD_WARNING
    assert key.code() == "team_suspended"
    assert posted(alices_team) == 10 * DOLLAR


def test_a_warning_that_comes_before_the_payments_own_event_credits_it(
    stand_in: StripeStandIn, alices_team: Team, alice: User
) -> None:
    order = paid_order(stand_in, alices_team, alice)
    stand_in.control("fraud_warning", charge=order.charge_id)
    (handled,) = stand_in.deliver(*stand_in.events(KIND))
    assert handled.state == "handled"
    assert handled.outcome == f"Order {order.number} may be fraud."


def test_after_staff_resume_the_keys_a_repeated_warning_does_not_pause_them_again(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    warning = warn(stand_in, order)

    result = disputes.handle(warning, "They called us.", clerk, resumes_keys=True)

    assert (result.is_resumed, paused(alices_team)) == (True, "")
    assert AuditEntry.objects.get(action="fraudwarning.handled").actor == clerk
    event = stand_in.events(KIND)[0]
    stand_in.deliver(event | {"id": "evt_once_more"})
    assert paused(alices_team) == ""
    warning.refresh_from_db()
    assert warning.note == "They called us."


def test_a_dispute_that_is_won_leaves_the_warning_to_staff(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    warning = warn(stand_in, order)
    dispute = stand_in.control("dispute", charge=order.charge_id)
    stand_in.control("close_dispute", dispute=dispute["id"], won=True)
    stand_in.deliver_all()
    assert paused(alices_team) == disputes.PAUSED_FOR_FRAUD_WARNING

    assert disputes.handle(warning, "", clerk, resumes_keys=True).is_resumed
    assert paused(alices_team) == ""
    assert posted(alices_team) == 10 * DOLLAR


@pytest.mark.django_db(transaction=True)
def test_the_same_warning_ten_times_at_once_is_one(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    stand_in.control("fraud_warning", charge=order.charge_id)
    event = stand_in.events(KIND)[0]
    copies = [event | {"id": f"evt_copy{number}"} for number in range(10)]

    run_concurrently(*[partial(stand_in.deliver, copy) for copy in copies])

    assert FraudWarning.objects.count() == 1
    assert AuditEntry.objects.filter(action="team.paused").count() == 1

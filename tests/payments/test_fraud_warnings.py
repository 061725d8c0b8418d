"""Early warnings of fraud: the team's keys pause until staff have looked."""

from functools import partial

import pytest

from accounts.models import AuditEntry, Team, User
from billing.models import FraudWarning, Order
from billing.payments import disputes, pauses
from tests.payments.conftest import StripeStandIn, at_once, paid_order
from tests.payments.given_back import DOLLAR, customer_of, posted

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

KIND = "radar.early_fraud_warning.created"


def warn(stand_in: StripeStandIn, order: Order) -> FraudWarning:
    """Has the card's issuer warn, and tells of it."""
    told = stand_in.control("fraud_warning", charge=order.charge_id)
    stand_in.tell_everything()
    return FraudWarning.objects.get(pk=told["id"])


def paused(team: Team) -> str:
    """Returns why the team's keys are refused."""
    team.refresh_from_db()
    return team.suspended_reason


def test_a_warning_pauses_the_keys_and_takes_nothing(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    key = customer_of(alices_team)

    warning = warn(stand_in, order)

    assert (warning.order, warning.fraud_type) == (order, "unauthorized_use_of_card")
    assert warning.handled_at is None
    assert paused(alices_team) == pauses.SUSPECTED
    assert key.code() == "team_suspended"
    assert posted(alices_team) == 10 * DOLLAR


def test_a_warning_that_comes_before_the_payments_own_news_credits_it(
    stand_in: StripeStandIn, alices_team: Team, alice: User
) -> None:
    order = paid_order(stand_in, alices_team, alice)
    stand_in.control("fraud_warning", charge=order.charge_id)
    (told,) = stand_in.tell(*stand_in.events(KIND))
    assert told.state == "handled"
    assert told.outcome == f"Order {order.number} may be fraud."


def test_staff_let_the_team_go_on_and_a_repeat_does_not_pause_it_again(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    warning = warn(stand_in, order)

    result = disputes.handle(warning, "They called us.", clerk, resumes=True)

    assert (result.is_resumed, paused(alices_team)) == (True, "")
    assert AuditEntry.objects.get(action="fraudwarning.handled").actor == clerk
    event = stand_in.events(KIND)[0]
    stand_in.tell(event | {"id": "evt_once_more"})
    assert paused(alices_team) == ""
    warning.refresh_from_db()
    assert warning.note == "They called us."


def test_a_dispute_that_is_won_leaves_the_warning_to_staff(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    warning = warn(stand_in, order)
    dispute = stand_in.control("dispute", charge=order.charge_id)
    stand_in.control("close_dispute", dispute=dispute["id"], won=True)
    stand_in.tell_everything()
    assert paused(alices_team) == pauses.SUSPECTED

    assert disputes.handle(warning, "", clerk, resumes=True).is_resumed
    assert paused(alices_team) == ""
    assert posted(alices_team) == 10 * DOLLAR


@pytest.mark.django_db(transaction=True)
def test_the_same_warning_ten_times_at_once_is_one(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    stand_in.control("fraud_warning", charge=order.charge_id)
    event = stand_in.events(KIND)[0]
    copies = [event | {"id": f"evt_copy{number}"} for number in range(10)]

    at_once(*[partial(stand_in.tell, copy) for copy in copies])

    assert FraudWarning.objects.count() == 1
    assert AuditEntry.objects.filter(action="team.paused").count() == 1

"""Disputes: credits taken back once, keys paused, debts collected, restored once if won."""

from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Team, User
from billing.ledger import expiry, postings
from billing.models import Dispute, Order, StripeEvent
from billing.payments import disputes, tasks
from tests.cast import IssuedKey, signed_in
from tests.payments.conftest import StripeStandIn, paid_order, run_concurrently
from tests.payments.refund_helpers import (
    DOLLAR,
    booked,
    customer_of,
    moved,
    posted,
    spend,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def dispute(stand_in: StripeStandIn, order: Order, **more: Any) -> Dispute:
    """Dispute the order's payment, and deliver the events."""
    created = stand_in.control("dispute", charge=order.charge_id, **more)
    stand_in.deliver_all()
    return Dispute.objects.get(pk=created["id"])


def close(stand_in: StripeStandIn, dispute: Dispute, **how: Any) -> Dispute:
    """Close a dispute, and deliver the events."""
    stand_in.control("close_dispute", dispute=dispute.pk, **how)
    stand_in.deliver_all()
    dispute.refresh_from_db()
    return dispute


def paused(team: Team) -> str:
    """Return why the team's keys are refused."""
    team.refresh_from_db()
    assert (team.suspended_at is not None) == bool(team.suspended_reason)
    return team.suspended_reason


def test_a_dispute_takes_the_credits_and_pauses_the_keys(
    stand_in: StripeStandIn, order: Order, alices_team: Team, management_key: IssuedKey, client: Any
) -> None:
    key = customer_of(alices_team)
    assert key.code() == "admitted"
    expiry.sweep()

    found = dispute(stand_in, order)

    assert (found.order, found.amount_cents, found.status) == (order, 1000, "needs_response")
    assert found.evidence_due_at is not None
    assert (found.is_withdrawn, found.is_reinstated, found.handled_at) == (True, False, None)
    assert found.credit_nanos == 10 * DOLLAR
    assert paused(alices_team) == disputes.PAUSED_FOR_DISPUTE
    assert key.code() == "team_suspended"
    header = {"Authorization": f"Bearer {management_key.plaintext}"}
    answer = client.get("/api/manage/v1/keys", headers=header)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "team_suspended")
    assert AuditEntry.objects.get(action="team.paused").subject == f"Order {order.number}"


def test_the_pages_stay_open(stand_in: StripeStandIn, order: Order, alice: User) -> None:
    dispute(stand_in, order)
    page = signed_in(alice).get("/statement")
    assert page.status_code == 200
    assert "Disputed payment" in page.content.decode()


def test_what_is_spent_is_owed_and_the_balance_is_never_negative(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 7 * DOLLAR)

    found = dispute(stand_in, order)

    assert posted(alices_team) == 0
    assert found.owed_nanos == 7 * DOLLAR
    assert moved(alices_team, "clawback") == [("clawback", 3 * DOLLAR)]
    assert booked("receivable") == [7 * DOLLAR]


def test_what_requests_hold_is_owed_too(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    customer = customer_of(alices_team)
    customer.admitted(amount_nanos=4 * DOLLAR)

    found = dispute(stand_in, order)

    assert customer.balances == (4 * DOLLAR, 4 * DOLLAR)
    assert found.owed_nanos == 4 * DOLLAR


def test_a_dispute_that_is_won_restores_everything_once(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 7 * DOLLAR)
    key = customer_of(alices_team)
    found = dispute(stand_in, order)

    found = close(stand_in, found, won=True)
    stand_in.deliver(*stand_in.events("charge.dispute.created", "charge.dispute.closed"))

    assert (found.status, found.is_reinstated) == ("won", True)
    assert found.handled_at is not None
    assert posted(alices_team) == 3 * DOLLAR
    assert booked("receivable") == booked("receivable_reversal") == [7 * DOLLAR]
    assert paused(alices_team) == ""
    assert key.code(amount_nanos=1) == "admitted"
    assert AuditEntry.objects.filter(action="team.resumed").count() == 1


def test_a_dispute_that_is_lost_stays_for_staff(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = close(stand_in, dispute(stand_in, order), won=False)

    assert (found.status, found.is_reinstated, found.handled_at) == ("lost", False, None)
    assert posted(alices_team) == 0
    assert paused(alices_team) == disputes.PAUSED_FOR_DISPUTE


# What else pauses a team


def test_staffs_own_suspension_is_not_lifted(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    Team.objects.update(suspended_at=timezone.now(), suspended_reason="Spam")
    found = dispute(stand_in, order)
    assert paused(alices_team) == "Spam"
    close(stand_in, found, won=True)
    assert paused(alices_team) == "Spam"


def test_another_open_dispute_keeps_the_keys_paused(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    other = paid_order(stand_in, alices_team, alice, 500)
    first, second = dispute(stand_in, order), dispute(stand_in, other)

    close(stand_in, first, won=True)
    assert paused(alices_team) == disputes.PAUSED_FOR_DISPUTE
    close(stand_in, second, won=True)
    assert paused(alices_team) == ""
    assert posted(alices_team) == 15 * DOLLAR


def test_staff_resume_the_keys_and_the_dispute_is_handled(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    found = close(stand_in, dispute(stand_in, order), won=False)

    result = disputes.handle(found, "They will pay by card again.", clerk, resumes_keys=True)

    found.refresh_from_db()
    assert (result.is_resumed, result.open_cases) == (True, [])
    assert (found.handled_by, found.note) == (clerk, "They will pay by card again.")
    assert paused(alices_team) == ""
    assert posted(alices_team) == 0
    assert AuditEntry.objects.get(action="dispute.handled").actor == clerk
    stand_in.deliver_all()
    assert paused(alices_team) == ""


def test_staff_resume_nothing_while_another_dispute_is_open(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User, clerk: User
) -> None:
    first = dispute(stand_in, order)
    second = dispute(stand_in, paid_order(stand_in, alices_team, alice, 500))

    result = disputes.handle(first, "", clerk, resumes_keys=True)

    assert (result.is_resumed, result.open_cases) == (False, [second])
    assert paused(alices_team) == disputes.PAUSED_FOR_DISPUTE


def test_a_pause_that_staff_keep_is_theirs_to_lift(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    found = dispute(stand_in, order)
    disputes.handle(found, "A stolen card.", clerk, resumes_keys=False)
    assert paused(alices_team) == disputes.KEPT_PAUSED

    close(stand_in, found, won=True)

    assert paused(alices_team) == disputes.KEPT_PAUSED
    assert posted(alices_team) == 10 * DOLLAR


# Inquiries, parts


def test_an_inquiry_takes_and_pauses_nothing(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = dispute(stand_in, order, withdraw=False)
    assert (found.status, found.is_withdrawn) == ("warning_needs_response", False)
    assert (posted(alices_team), paused(alices_team)) == (10 * DOLLAR, "")

    found = close(stand_in, found, won=True)
    assert found.status == "warning_closed"
    assert found.handled_at is not None
    assert moved(alices_team, "clawback", "clawback_reversal") == []


def test_an_inquiry_that_becomes_a_dispute_takes_its_money_then(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = dispute(stand_in, order, withdraw=False)
    stand_in.control("withdraw", dispute=found.pk)
    stand_in.deliver_all()

    found.refresh_from_db()
    assert (found.status, found.credit_nanos) == ("needs_response", 10 * DOLLAR)
    assert (posted(alices_team), paused(alices_team)) == (0, disputes.PAUSED_FOR_DISPUTE)


def test_a_dispute_after_a_part_was_refunded_is_of_the_rest(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    stand_in.control("refund", charge=order.charge_id, amount=300)
    found = dispute(stand_in, order)
    assert (found.amount_cents, found.credit_nanos) == (700, 7 * DOLLAR)
    assert posted(alices_team) == 0


def test_a_dispute_of_a_part_takes_its_part(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = dispute(stand_in, order, amount=250)
    assert found.credit_nanos == 2.5 * DOLLAR
    assert posted(alices_team) == 7.5 * DOLLAR


# Debts


def test_the_next_top_up_pays_a_debt_that_fits_whole(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    spend(alices_team, 7 * DOLLAR)
    found = dispute(stand_in, order)

    paid_order(stand_in, alices_team, alice, 600)
    assert posted(alices_team) == 6 * DOLLAR  # less than the debt
    paid_order(stand_in, alices_team, alice, 600)

    assert posted(alices_team) == 5 * DOLLAR
    assert moved(alices_team, "collection") == [("collection", 7 * DOLLAR)]
    found.refresh_from_db()
    assert found.collected_at is not None
    assert disputes.collect_debts() == 0


def test_a_debt_is_collected_from_other_credits_by_the_periodic_task(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 7 * DOLLAR)
    dispute(stand_in, order)
    postings.grant(postings.open_account(alices_team), 8 * DOLLAR, reference="gift")

    assert [tasks.collect_debts() for _ in range(2)] == [1, 0]
    assert posted(alices_team) == 1 * DOLLAR


def test_a_debt_that_was_paid_comes_back_with_a_dispute_that_is_won(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    spend(alices_team, 7 * DOLLAR)
    found = dispute(stand_in, order)
    paid_order(stand_in, alices_team, alice, 800)
    assert posted(alices_team) == 1 * DOLLAR

    close(stand_in, found, won=True)

    assert posted(alices_team) == 11 * DOLLAR
    assert disputes.collect_debts() == 0


# Events


def test_a_lost_webhook_is_made_up_for_by_the_hourly_check_of_disputes(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = dispute(stand_in, order)
    stand_in.control("close_dispute", dispute=found.pk, won=True)

    assert [tasks.check_reversals() for _ in range(2)] == [1, 0]
    assert (posted(alices_team), paused(alices_team)) == (10 * DOLLAR, "")


def somebody_elses_payment(stand_in: StripeStandIn, **more: str) -> str:
    """Make a payment that we did not start, and return its charge."""
    intent = stand_in.web.post(
        f"{stand_in.url}/v1/payment_intents",
        headers={"authorization": "Bearer sk_test"},
        data={"amount": "500", "confirm": "true", "payment_method": "pm_card_visa", **more},
    ).json()
    return str(intent["latest_charge"])


def test_a_dispute_of_somebody_elses_payment_is_ignored(stand_in: StripeStandIn) -> None:
    stand_in.control("dispute", charge=somebody_elses_payment(stand_in))
    handled = stand_in.deliver(*stand_in.events("charge.dispute.created"))
    assert [event.state for event in handled] == ["ignored"]
    assert not Dispute.objects.exists()


def test_a_dispute_of_a_customers_payment_that_is_not_booked_yet_is_tried_again(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    customer = alices_team.payment_customer.stripe_id
    stand_in.control("dispute", charge=somebody_elses_payment(stand_in, customer=customer))
    (handled,) = stand_in.deliver(*stand_in.events("charge.dispute.created"))
    assert (handled.state, "not booked here yet" in handled.outcome) == ("failed", True)
    assert handled.next_attempt_at > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_the_same_event_ten_times_at_once_has_one_effect(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 7 * DOLLAR)
    stand_in.control("dispute", charge=order.charge_id)
    opened = stand_in.events("charge.dispute.created", "charge.dispute.funds_withdrawn")
    run_concurrently(*[partial(stand_in.deliver, *opened)] * 10)
    assert (posted(alices_team), paused(alices_team)) == (0, disputes.PAUSED_FOR_DISPUTE)

    stand_in.control("close_dispute", dispute=Dispute.objects.get().pk, won=True)
    closed = stand_in.events("charge.dispute.funds_reinstated", "charge.dispute.closed")
    run_concurrently(*[partial(stand_in.deliver, *closed)] * 10)

    assert (posted(alices_team), paused(alices_team)) == (3 * DOLLAR, "")
    assert [kind for kind, _ in moved(alices_team, "clawback", "clawback_reversal")] == [
        *("clawback", "clawback_reversal")
    ]
    for kind in ("team.paused", "team.resumed"):
        assert AuditEntry.objects.filter(action=kind).count() == 1
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"handled"}

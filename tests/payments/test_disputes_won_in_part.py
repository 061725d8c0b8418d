"""Disputes that are won in part: the part comes back, the rest is owed, and nothing comes twice."""

from functools import partial
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEntry, Team, User
from billing.models import Dispute, LedgerAlert, Order
from billing.payments import disputes, tasks
from billing.payments.refundable_part import refundable_part
from tests.cast import signed_in
from tests.payments.conftest import StripeStandIn, paid_order, run_concurrently
from tests.payments.refund_helpers import DOLLAR, booked, moved, posted, spend
from tests.payments.test_disputes import close, dispute, paused
from tests.payments.test_reconciliation import look

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def reinstate(stand_in: StripeStandIn, found: Dispute, cents: int) -> None:
    """Have Stripe reinstate more of a dispute, and deliver the events."""
    stand_in.control("reinstate", dispute=found.pk, amount=cents)
    stand_in.deliver_all()
    found.refresh_from_db()


def test_the_part_comes_back_and_the_keys_stay_paused(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    found = close(stand_in, dispute(stand_in, order), won=True, amount=400)

    assert (found.status, found.is_reinstated, found.handled_at) == ("won", False, None)
    assert found.reinstated_cents == 400
    assert LedgerAlert.objects.get().kind == "dispute_part_reinstated"
    assert (posted(alices_team), paused(alices_team)) == (4 * DOLLAR, disputes.PAUSED_FOR_DISPUTE)
    assert look().differences == []


def test_only_what_is_still_owed_is_collected(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    spend(alices_team, 7 * DOLLAR)
    found = close(stand_in, dispute(stand_in, order), won=True, amount=400)
    assert (posted(alices_team), found.owed_nanos) == (0, 3 * DOLLAR)

    paid_order(stand_in, alices_team, alice, 500)

    assert posted(alices_team) == 2 * DOLLAR
    assert moved(alices_team, "collection") == [("collection", 3 * DOLLAR)]
    assert booked("receivable_reversal") == [4 * DOLLAR]
    assert tasks.collect_debts() == 0
    assert look().differences == []


def test_parts_that_come_one_after_the_other_add_up_to_the_whole(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 7 * DOLLAR)
    found = close(stand_in, dispute(stand_in, order), won=True, amount=400)
    reinstate(stand_in, found, 450)
    assert (posted(alices_team), found.owed_nanos) == (1.5 * DOLLAR, 0)
    reinstate(stand_in, found, 150)

    assert (posted(alices_team), paused(alices_team)) == (3 * DOLLAR, "")
    assert found.is_reinstated
    assert look().differences == []


def test_what_staff_gave_ahead_of_stripe_is_not_given_twice(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    """Paid 10: staff give 6 for the part that they were told of, then the bank gives it all."""
    found = dispute(stand_in, order)
    disputes.correct(found, 6 * DOLLAR, "The bank called.", clerk)
    assert posted(alices_team) == 6 * DOLLAR

    found = close(stand_in, found, won=True, amount=400)
    assert (posted(alices_team), found.corrected_nanos) == (6 * DOLLAR, 2 * DOLLAR)
    reinstate(stand_in, found, 600)

    assert (posted(alices_team), found.corrected_nanos) == (10 * DOLLAR, 0)
    assert AuditEntry.objects.get(action="dispute.corrected").actor == clerk
    assert look().differences == []


def test_what_staff_gave_and_the_team_has_spent_is_taken_from_later_credits(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User, clerk: User
) -> None:
    """Paid 10 and spent 10: staff give 10, which are spent too, before the bank gives all of it."""
    spend(alices_team, 10 * DOLLAR)
    found = dispute(stand_in, order)
    disputes.correct(found, 10 * DOLLAR, "The bank called.", clerk)
    spend(alices_team, 10 * DOLLAR)
    found = close(stand_in, found, won=True)
    assert (posted(alices_team), found.corrected_nanos) == (0, 10 * DOLLAR)
    assert tasks.collect_debts() == 0

    paid_order(stand_in, alices_team, alice, 1500)
    assert tasks.collect_debts() == 1

    found.refresh_from_db()
    assert (posted(alices_team), found.corrected_nanos) == (5 * DOLLAR, 0)
    assert tasks.collect_debts() == 0
    assert look().differences == []


def test_staff_give_no_more_than_the_dispute_took(
    stand_in: StripeStandIn, order: Order, alices_team: Team, staff: Client
) -> None:
    found = close(stand_in, dispute(stand_in, order), won=True, amount=400)
    page = f"/admin/billing/dispute/{found.pk.replace('_', '_5F')}/correct/"

    refused = staff.post(page, {"amount": "6.01", "note": "x"})
    given = staff.post(page, {"amount": "6", "note": "x"})

    assert refused.context["form"].errors == {"amount": ["Enter an amount up to $6."]}
    assert given.status_code == 302
    assert posted(alices_team) == 10 * DOLLAR
    again = staff.post(page, {"amount": "0.01", "note": "x"})
    assert again.context["form"].errors == {"amount": ["Enter an amount up to $0."]}


def test_staff_give_credits_to_no_team_of_their_own(
    stand_in: StripeStandIn, order: Order, alices_team: Team, alice: User
) -> None:
    found = dispute(stand_in, order)
    page = f"/admin/billing/dispute/{found.pk.replace('_', '_5F')}/correct/"
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    allowed = Permission.objects.filter(codename__in=["add_refund", "view_dispute"])
    alice.user_permissions.set(allowed)

    assert signed_in(alice).get(page).status_code == 403
    assert signed_in(alice).post(page, {"amount": "6", "note": "x"}).status_code == 403
    assert posted(alices_team) == 0
    alices_team.memberships.filter(user=alice).delete()
    assert signed_in(alice).post(page, {"amount": "6", "note": "x"}).status_code == 302
    logged = LogEntry.objects.latest("pk")
    assert (logged.user, logged.get_change_message()) == (alice, "Credits granted.")


def test_a_part_of_a_dispute_may_be_refunded_no_more_than_it_came_back(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    close(stand_in, dispute(stand_in, order), won=True, amount=400)

    part = refundable_part(order)

    assert (part.amount_cents, part.credit_nanos) == (400, 4 * DOLLAR)


@pytest.mark.django_db(transaction=True)
def test_the_news_of_a_part_ten_times_at_once_with_staffs_correction_has_one_effect(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    found = dispute(stand_in, order)
    stand_in.control("close_dispute", dispute=found.pk, won=True, amount=400)
    events = stand_in.events("charge.dispute.funds_reinstated", "charge.dispute.closed")

    def correct() -> Any:
        return disputes.correct(found, 6 * DOLLAR, "The bank called.", clerk)

    run_concurrently(*[partial(stand_in.deliver, *events)] * 6, correct)

    found.refresh_from_db()
    # Before or after Stripe's part; in the end what staff gave is within what the dispute took.
    assert posted(alices_team) == 4 * DOLLAR + found.corrected_nanos
    assert found.corrected_nanos in {2 * DOLLAR, 6 * DOLLAR}
    stand_in.control("reinstate", dispute=found.pk, amount=600)
    stand_in.deliver_all()
    assert posted(alices_team) == 10 * DOLLAR

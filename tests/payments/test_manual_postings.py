"""Grants, adjustments, goodwill and large refunds: booked once and in the right accounts."""

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from accounts import teams
from accounts.audit import Staff
from accounts.models import AuditEntry, Team, User
from billing.models import CreditLot, ManualPosting, Order, Refund, Transfer
from billing.payments import manual_postings, refunds
from billing.payments.manual_postings import ManualPostingError, PostingRequest
from tests.payments.conftest import StripeStandIn, run_concurrently
from tests.payments.refund_helpers import CENT, DOLLAR, posted, refunds_at_stripe, spend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

Kind, State = ManualPosting.Kind, ManualPosting.State


@pytest.fixture
def clerk(db: None) -> User:
    """A member of staff."""
    return User.objects.create_superuser("clerk@example.com", "clerks secret")


@pytest.fixture
def boss(db: None) -> User:
    """Another member of staff."""
    return User.objects.create_superuser("boss@example.com", "boss secret")


@pytest.fixture
def staff(alices_team: Team, clerk: User) -> Staff:
    """The clerk, who acts on Alice's team."""
    return Staff(alices_team, clerk)


def wanted(kind: Kind, amount_nanos: int, **more: Any) -> PostingRequest:
    options = {"id": uuid.uuid4(), "reason": "Asked for by the customer"} | more
    return PostingRequest(kind=kind, amount_nanos=amount_nanos, **options)


def sides(team: Team) -> list[tuple[str, str, str, int]]:
    """Return kind, debited and credited account, and amount of the team's transfers."""
    found = Transfer.objects.filter(customer__team=team).order_by("sequence")
    found = found.select_related("debit_account", "credit_account")
    return [
        (each.kind, each.debit_account.kind, each.credit_account.kind, each.amount_nanos)
        for each in found
    ]


def test_each_kind_is_a_double_entry_between_the_right_accounts(
    staff: Staff, alices_team: Team
) -> None:
    for kind, nanos in (
        (Kind.GRANT, 3 * DOLLAR),
        (Kind.GOODWILL, 2 * DOLLAR),
        (Kind.ADJUSTMENT, -1 * DOLLAR),
        (Kind.ADJUSTMENT, CENT),
    ):
        assert manual_postings.request(staff, wanted(kind, nanos)).state == State.POSTED
    assert sides(alices_team) == [
        ("grant", "promotional_grants", "customer", 3 * DOLLAR),
        ("adjustment", "adjustments", "customer", 2 * DOLLAR),
        ("adjustment", "customer", "adjustments", DOLLAR),
        ("adjustment", "adjustments", "customer", CENT),
    ]
    assert posted(alices_team) == 4 * DOLLAR + CENT
    assert not CreditLot.objects.filter(account__team=alices_team, is_paid=True).exists()


def test_the_reason_stays_in_the_row_and_in_both_logs(staff: Staff, clerk: User) -> None:
    posting = manual_postings.request(staff, wanted(Kind.GOODWILL, 2 * DOLLAR))
    assert (posting.reason, posting.requested_by) == ("Asked for by the customer", clerk)
    entry = AuditEntry.objects.get(team=staff.team)
    assert entry.action == "goodwill.given"
    assert entry.detail == {"amount": "$2.00", "reason": "Asked for by the customer"}
    assert entry.actor_label == "staff"
    logged = LogEntry.objects.get(user=clerk)
    assert logged.object_id == str(posting.pk)
    assert "Asked for by the customer" in logged.change_message


def test_a_form_that_is_sent_twice_is_one_posting(staff: Staff, alices_team: Team) -> None:
    form = wanted(Kind.GRANT, 3 * DOLLAR)
    first = manual_postings.request(staff, form)
    assert manual_postings.request(staff, form) == first
    with pytest.raises(ManualPostingError, match="already submitted"):
        manual_postings.request(staff, wanted(Kind.GRANT, 4 * DOLLAR, id=form.id))
    assert posted(alices_team) == 3 * DOLLAR
    assert AuditEntry.objects.filter(team=alices_team).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twice_at_once_is_one_posting(staff: Staff, alices_team: Team) -> None:
    form = wanted(Kind.GRANT, 3 * DOLLAR)
    made = run_concurrently(*[lambda: manual_postings.request(staff, form)] * 6)
    assert {posting.pk for posting in made} == {form.id}
    assert sides(alices_team) == [("grant", "promotional_grants", "customer", 3 * DOLLAR)]


@pytest.mark.parametrize(
    ("kind", "amount_nanos", "reason", "words"),
    [
        (Kind.ADJUSTMENT, -6 * DOLLAR, "why", r"Only \$5.00 is available"),
        (Kind.GRANT, 0, "why", "above zero"),
        (Kind.GRANT, -DOLLAR, "why", "above zero"),
        (Kind.GOODWILL, -DOLLAR, "why", "above zero"),
        (Kind.GRANT, DOLLAR, "  ", "Enter a reason"),
    ],
)
def test_what_is_refused_changes_nothing(
    staff: Staff, alices_team: Team, kind: Kind, amount_nanos: int, reason: str, words: str
) -> None:
    spend(alices_team, -5 * DOLLAR)
    with pytest.raises(ManualPostingError, match=words):
        manual_postings.request(staff, wanted(kind, amount_nanos, reason=reason))
    assert posted(alices_team) == 5 * DOLLAR
    assert not ManualPosting.objects.exists()
    assert not AuditEntry.objects.filter(team=alices_team).exists()


# Above STAFF_APPROVAL_DOLLARS


@pytest.fixture
def pending(staff: Staff, settings: Any) -> ManualPosting:
    """A grant of $11 that waits for a second person, where more than $10 needs one."""
    settings.STAFF_APPROVAL_DOLLARS = "10"
    assert manual_postings.request(staff, wanted(Kind.GRANT, 10 * DOLLAR)).state == State.POSTED
    return manual_postings.request(staff, wanted(Kind.GRANT, 11 * DOLLAR))


def test_a_large_posting_waits_for_another_person(
    pending: ManualPosting, alices_team: Team, clerk: User, boss: User
) -> None:
    assert pending.state == State.PENDING
    assert posted(alices_team) == 10 * DOLLAR
    with pytest.raises(ManualPostingError, match="Another member of staff"):
        manual_postings.approve(pending, clerk)
    assert posted(alices_team) == 10 * DOLLAR

    done = manual_postings.approve(pending, boss)

    assert (done.state, done.requested_by, done.decided_by) == (State.POSTED, clerk, boss)
    assert manual_postings.approve(pending, boss) == done
    assert posted(alices_team) == 21 * DOLLAR
    actions = AuditEntry.objects.filter(team=alices_team).order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        *("credits.granted", "credits.requested", "credits.granted")
    ]


def test_a_large_amount_that_is_taken_waits_too(
    pending: ManualPosting, staff: Staff, boss: User, alices_team: Team
) -> None:
    taken = manual_postings.request(staff, wanted(Kind.ADJUSTMENT, -11 * DOLLAR))
    assert taken.state == State.PENDING
    with pytest.raises(ManualPostingError, match=r"Only \$10.00"):
        manual_postings.approve(taken, boss)
    taken.refresh_from_db()
    assert taken.state == State.PENDING
    assert posted(alices_team) == 10 * DOLLAR


def test_what_is_rejected_is_never_posted(
    pending: ManualPosting, boss: User, alices_team: Team
) -> None:
    manual_postings.reject(pending, boss, "Too much")
    with pytest.raises(ManualPostingError, match="rejected"):
        manual_postings.approve(pending, boss)
    assert posted(alices_team) == 10 * DOLLAR
    entry = AuditEntry.objects.filter(team=alices_team).latest("pk")
    assert (entry.action, entry.detail) == ("credits.rejected", {"reason": "Too much"})


def test_what_was_posted_is_not_rejected(pending: ManualPosting, boss: User) -> None:
    manual_postings.approve(pending, boss)
    with pytest.raises(ManualPostingError, match="already been confirmed"):
        manual_postings.reject(pending, boss, "Too late")
    pending.refresh_from_db()
    assert pending.state == State.POSTED


@pytest.mark.django_db(transaction=True)
def test_two_who_confirm_and_one_who_rejects_at_once_decide_it_once(
    pending: ManualPosting, boss: User, alices_team: Team
) -> None:
    other = User.objects.create_superuser("other@example.com", "others secret")

    def attempt(decide: Any) -> bool:
        try:
            decide()
        except ManualPostingError:
            return False
        return True

    run_concurrently(
        lambda: attempt(lambda: manual_postings.approve(pending, boss)),
        lambda: attempt(lambda: manual_postings.approve(pending, other)),
        lambda: attempt(lambda: manual_postings.reject(pending, other, "No")),
    )
    pending.refresh_from_db()
    is_posted = pending.state == State.POSTED
    assert posted(alices_team) == (21 if is_posted else 10) * DOLLAR


class _KilledError(Exception):
    """Stands for the end of the process."""


def killed_at(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(name: str) -> None:
        if name == point:
            raise _KilledError

    monkeypatch.setattr(manual_postings, "failpoint", die)


def test_a_process_that_dies_while_it_posts_has_posted_nothing(
    pending: ManualPosting, boss: User, alices_team: Team
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        killed_at("after_manual_posting", patch)
        with pytest.raises(_KilledError):
            manual_postings.approve(pending, boss)
    pending.refresh_from_db()
    assert (pending.state, posted(alices_team)) == (State.PENDING, 10 * DOLLAR)
    manual_postings.approve(pending, boss)
    assert posted(alices_team) == 21 * DOLLAR


# Refunds


def ask_refund(order: Order, cents: int, clerk: User) -> Any:
    return manual_postings.request_refund(
        order, cents, reason="Asked for", is_forced=False, staff=clerk, refund_id=uuid.uuid4()
    )


def test_a_large_refund_waits_for_another_person(
    order: Order, stand_in: StripeStandIn, clerk: User, boss: User, alices_team: Team, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "5"
    waiting = ask_refund(order, 501, clerk)
    assert isinstance(waiting, ManualPosting)
    assert refunds_at_stripe(stand_in) == []
    assert posted(alices_team) == 10 * DOLLAR

    manual_postings.approve(waiting, boss)

    refund = Refund.objects.get()
    assert (refund.pk, refund.amount_cents, refund.requested_by) == (waiting.pk, 501, clerk)
    assert refunds_at_stripe(stand_in) == [501]
    assert posted(alices_team) == 10 * DOLLAR - 501 * CENT
    assert isinstance(ask_refund(order, 100, clerk), Refund)


def test_a_refund_that_cannot_be_made_is_refused_before_it_waits(
    order: Order, clerk: User, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "5"
    with pytest.raises(refunds.RefundError, match="up to"):
        ask_refund(order, 1001, clerk)
    assert not ManualPosting.objects.exists()


def test_a_process_that_dies_after_a_confirmed_refund_makes_it_once(
    order: Order, stand_in: StripeStandIn, clerk: User, boss: User, alices_team: Team, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "5"
    waiting = ask_refund(order, 600, clerk)
    with pytest.MonkeyPatch.context() as patch:
        killed_at("after_refund_confirmed", patch)
        with pytest.raises(_KilledError):
            manual_postings.approve(waiting, boss)
    waiting.refresh_from_db()
    assert waiting.state == State.PENDING
    assert manual_postings.approve(waiting, boss).state == State.POSTED
    assert refunds_at_stripe(stand_in) == [600]
    assert posted(alices_team) == 4 * DOLLAR


def test_a_refund_that_became_impossible_stays_pending(
    order: Order, clerk: User, boss: User, settings: Any, alices_team: Team
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "5"
    waiting = ask_refund(order, 600, clerk)
    spend(alices_team, 9 * DOLLAR)
    with pytest.raises(ManualPostingError, match="unspent"):
        manual_postings.approve(waiting, boss)
    waiting.refresh_from_db()
    assert waiting.state == State.PENDING


def test_a_form_of_one_team_is_not_one_of_another(clerk: User) -> None:
    one, other = (teams.create_team(name, owner=clerk) for name in ("One", "Other"))
    form = wanted(Kind.GRANT, DOLLAR)
    manual_postings.request(Staff(one, clerk), form)
    with pytest.raises(ManualPostingError, match="already submitted"):
        manual_postings.request(Staff(other, clerk), form)
    assert not Transfer.objects.filter(customer__team=other).exists()

"""Notices by email: to whom it matters, once for each crossing."""

import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts import api_keys
from accounts.models import (
    ApiKey,
    Membership,
    NotificationSettings,
    Role,
    SentNotice,
    Team,
    User,
)
from billing.ledger import postings
from billing.models import CreditAccount, KeySpend
from portal.emails.sending import send_email
from portal.emails.tasks import send_notices
from tests.cast import IssuedKey, issue, member, signed_in
from tests.portal.chat_pages import send

pytestmark = pytest.mark.django_db

DOLLAR = 10**9


def send_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have emails sent where Celery would be asked to."""

    def send(arguments: Any, **_options: Any) -> None:
        send_email(*arguments)

    monkeypatch.setattr(send_email, "apply_async", send)


@pytest.fixture
def send_round(
    mailoutbox: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> Callable[[], list[Any]]:
    """Do a round and return its emails."""
    send_at_once(monkeypatch)

    def do() -> list[Any]:
        mailoutbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            send_notices()
        return list(mailoutbox)

    return do


Round = Callable[[], list[Any]]


def recipients(emails: list[Any]) -> list[str]:
    return sorted(email.to[0] for email in emails)


def move(account: CreditAccount, dollars: int) -> None:
    """Add to or takes from a balance."""
    count = account.transfers.count()
    postings.adjust(account, dollars * DOLLAR, reference=f"{account.pk} {count}", memo="test")


def join(team: Team, role: str, name: str) -> User:
    user, _ = member(f"{name}@example.com", None, name)
    Membership.objects.create(user=user, team=team, role=role)
    return user


def forget_new_keys() -> None:
    """Make the keys so far old news."""
    ApiKey.objects.update(created_at=timezone.now() - timedelta(days=2))


# Low balance


def test_a_balance_that_falls_below_the_threshold_is_told_once(
    alices_account: CreditAccount, send_round: Round
) -> None:
    move(alices_account, 20)
    assert send_round() == []
    move(alices_account, -16)
    (email,) = send_round()
    assert email.to == ["alice@example.com"]
    assert email.subject == "Alice has $4.00 left on Tollgate"
    assert "below $5.00" in email.body
    assert "/settings/notifications" in email.body
    move(alices_account, -1)
    assert send_round() == []


def test_after_it_rose_the_next_fall_is_told_again(
    alices_account: CreditAccount, send_round: Round
) -> None:
    move(alices_account, 6)
    move(alices_account, -2)
    assert len(send_round()) == 1
    move(alices_account, 10)
    assert send_round() == []
    move(alices_account, -10)
    assert len(send_round()) == 1


def test_more_credit_that_is_still_low_says_nothing(
    alices_account: CreditAccount, send_round: Round
) -> None:
    move(alices_account, 2)
    assert send_round() == []  # nothing was taken yet: a fresh account is not low
    move(alices_account, -1)
    assert len(send_round()) == 1
    move(alices_account, 2)
    assert send_round() == []


def test_who_may_pay_is_told_at_their_own_threshold(
    alices_team: Team, alices_account: CreditAccount, send_round: Round
) -> None:
    join(alices_team, Role.DEVELOPER, "developer")
    join(alices_team, Role.BILLING, "billing")
    early = join(alices_team, Role.BILLING, "early")
    silent = join(alices_team, Role.ADMIN, "silent")
    gone = join(alices_team, Role.BILLING, "gone")
    NotificationSettings.objects.create(user=early, low_balance_nanos=15 * DOLLAR)
    NotificationSettings.objects.create(user=silent, low_balance=False)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    move(alices_account, 20)
    move(alices_account, -10)
    assert recipients(send_round()) == ["early@example.com"]
    move(alices_account, -6)
    assert recipients(send_round()) == ["alice@example.com", "billing@example.com"]


# Budgets


def spend(key: IssuedKey, nanos: int, **fields: Any) -> None:
    today = timezone.now().date()
    sums = {"day_nanos": nanos, "month_nanos": nanos, "total_nanos": nanos}
    dates = {"day": today, "month": today.replace(day=1)}
    KeySpend.objects.update_or_create(key=key.key, defaults={**dates, **sums, **fields})


def with_budget(team: Team, maker: User, **budgets: int) -> IssuedKey:
    key = issue(team, maker, "Robot", **budgets)
    forget_new_keys()
    return key


def test_a_budget_is_told_at_ninety_and_at_a_hundred_percent(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    key = with_budget(alices_team, alice, budget_day_nanos=10 * DOLLAR)
    spend(key, 9 * DOLLAR - 1)
    assert send_round() == []
    spend(key, 9 * DOLLAR)
    (email,) = send_round()
    assert email.subject == "Robot has used 90% of its daily budget"
    assert "$9.00 of its daily budget of $10.00" in email.body
    assert send_round() == []
    spend(key, 10 * DOLLAR)
    (email,) = send_round()
    assert email.subject == "Robot has used up its daily budget"
    assert "until midnight UTC" in email.body
    assert send_round() == []


def test_a_leap_over_ninety_says_the_end_alone(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    spend(with_budget(alices_team, alice, budget_total_nanos=DOLLAR), DOLLAR)
    (email,) = send_round()
    assert "used up its total budget" in email.subject
    assert send_round() == []


def test_each_budget_speaks_for_itself_and_yesterday_not_at_all(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    key = with_budget(alices_team, alice, budget_day_nanos=DOLLAR, budget_month_nanos=DOLLAR)
    spend(key, DOLLAR, day=timezone.now().date() - timedelta(days=1))
    assert [email.subject for email in send_round()] == ["Robot has used up its monthly budget"]
    spend(key, DOLLAR)
    assert [email.subject for email in send_round()] == ["Robot has used up its daily budget"]


def test_a_raised_budget_is_told_anew(alice: User, alices_team: Team, send_round: Round) -> None:
    key = with_budget(alices_team, alice, budget_total_nanos=DOLLAR)
    spend(key, DOLLAR)
    assert len(send_round()) == 1
    ApiKey.objects.update(budget_total_nanos=4 * DOLLAR)
    assert send_round() == []
    spend(key, 4 * DOLLAR)
    assert len(send_round()) == 1


def test_the_largest_budget_and_the_smallest_break_no_round(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    for nanos in (2**63 - 1, 0, 1):
        spend(with_budget(alices_team, alice, budget_total_nanos=nanos), 0)
    assert send_round() == []


def test_makers_and_who_administers_hear_of_a_key(
    bob: User, alices_team: Team, send_round: Round
) -> None:
    join(alices_team, Role.ADMIN, "admin")
    join(alices_team, Role.DEVELOPER, "other")
    join(alices_team, Role.BILLING, "billing")
    silent = join(alices_team, Role.ADMIN, "silent")
    NotificationSettings.objects.create(user=silent, budget_reached=False)
    spend(with_budget(alices_team, bob, budget_total_nanos=DOLLAR), DOLLAR)
    assert recipients(send_round()) == [
        *("admin@example.com", "alice@example.com", "bob@example.com"),
    ]


def test_a_revoked_key_is_no_news(alice: User, alices_team: Team, send_round: Round) -> None:
    key = with_budget(alices_team, alice, budget_total_nanos=DOLLAR)
    spend(key, DOLLAR)
    api_keys.revoke_key(key.key)
    assert send_round() == []


# New keys


def test_a_new_key_is_told_once_without_its_secret(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    key = issue(alices_team, alice, "<b>Robot</b>\nBcc: x@example.com", scope="management")
    (email,) = send_round()
    assert email.to == ["alice@example.com"]
    assert email.message()["Bcc"] is None
    assert "New key in Alice: <b>Robot</b>" in email.subject
    assert f"sk-tg-…{key.plaintext[-4:]}" in email.body
    assert "Type: management" in email.body
    html = email.alternatives[0][0]
    assert "&lt;b&gt;Robot&lt;/b&gt;" in html
    assert key.plaintext not in email.body + html
    assert send_round() == []


def test_who_joins_later_and_old_keys_are_no_news(
    alices_team: Team, alice: User, send_round: Round
) -> None:
    issue(alices_team, alice, "Old")
    forget_new_keys()
    issue(alices_team, alice, "New")
    join(alices_team, Role.ADMIN, "late")
    emails = send_round()
    assert recipients(emails) == ["alice@example.com"]
    assert "New" in emails[0].subject


def test_a_chats_keys_are_no_news(
    alice: User, alices_account: CreditAccount, send_round: Round
) -> None:
    forget_new_keys()
    assert send(signed_in(alice), "POST", "/chat/key").status_code == 200
    assert send_round() == []


def test_a_rotation_is_told_as_one(alices_key: IssuedKey, send_round: Round) -> None:
    forget_new_keys()
    api_keys.rotate_key(alices_key.key, 0)
    (email,) = send_round()
    assert email.subject == "Key rotated in Alice: Alice's key"


def test_the_rounds_queries_do_not_grow_with_what_was_told(
    alices_team: Team, alice: User, send_round: Round, django_assert_max_num_queries: Any
) -> None:
    for number in range(150):
        issue(alices_team, alice, f"key {number}")
    assert len(send_round()) == 150
    with django_assert_max_num_queries(17):
        assert send_notices() == 0


@pytest.mark.django_db(transaction=True)
def test_rounds_at_the_same_time_send_each_notice_once(
    alice: User, alices_team: Team, mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    send_at_once(monkeypatch)
    for number in range(5):
        issue(alices_team, alice, f"key {number}")
    start = threading.Barrier(4)
    sent: list[int] = []

    def do() -> None:
        start.wait()
        try:
            sent.append(send_notices())
        finally:
            connection.close()

    threads = [threading.Thread(target=do) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 5
    assert len(mailoutbox) == 5
    assert SentNotice.objects.count() == 5


def test_a_notice_writes_days_as_its_reader_does(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    User.objects.filter(pk=alice.pk).update(language="cs")
    made = issue(alices_team, alice, "Robot").key.created_at.astimezone(UTC)
    (email,) = send_round()
    assert f"{made.day}. {made.month}. {made.year} {made:%H:%M:%S} UTC" in email.body

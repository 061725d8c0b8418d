"""Emails about refunds and paused keys: to who pays, once each."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import NotificationSettings, Role, SentNotice, Team, User
from billing.models import Order, Refund
from billing.payments import disputes
from tests.portal.test_notices import Round, join, recipients, send_round

__all__ = ["send_round"]  # the fixture

pytestmark = pytest.mark.django_db

CENT = 10**7


@pytest.fixture
def refund(alices_team: Team, alice: User) -> Refund:
    """A refund of $5.50, tax and all, that Stripe has taken on."""
    order = Order.objects.create(
        team=alices_team,
        user=alice,
        amount_cents=1000,
        credit_nanos=1000 * CENT,
        is_live=False,
        state="paid",
        payment_intent_id="pi_1",
    )
    return Refund.objects.create(
        order=order,
        amount_cents=500,
        tax_cents=50,
        credit_nanos=500 * CENT,
        reason="Asked for",
        state="succeeded",
    )


def test_a_refund_is_told_to_owners_and_billing_members_once(
    refund: Refund, alices_team: Team, alice: User, send_round: Round
) -> None:
    for role in (Role.ADMIN, Role.DEVELOPER, Role.BILLING):
        join(alices_team, role, str(role))
    NotificationSettings.objects.create(user=alice, low_balance=False, key_created=False)

    emails = send_round()

    assert recipients(emails) == ["alice@example.com", "billing@example.com"]
    email: Any = emails[0]
    assert email.subject == "Tollgate refunded $5.50 to Alice"
    for text in (email.body, email.alternatives[0][0]):
        assert f"order {refund.order.number}" in text
        assert "including $0.50 of tax" in text
        assert "/statement" in text
    assert send_round() == []
    assert set(SentNotice.objects.values_list("reference", flat=True)) == {f"refund {refund.pk}"}


@pytest.mark.parametrize("state", ["requested", "failed", "canceled"])
def test_a_refund_that_is_not_made_is_not_told(
    refund: Refund, send_round: Round, state: str
) -> None:
    Refund.objects.update(state=state)
    assert send_round() == []


def test_old_refunds_and_pauses_are_no_news(
    refund: Refund, alices_team: Team, send_round: Round
) -> None:
    long_ago = timezone.now() - timedelta(days=4)
    Refund.objects.update(created_at=long_ago)
    Team.objects.update(suspended_at=long_ago, suspended_reason=disputes.PAUSED_FOR_DISPUTE)
    assert send_round() == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (disputes.PAUSED_FOR_DISPUTE, "was disputed"),
        (disputes.PAUSED_FOR_FRAUD_WARNING, "as possible fraud"),
    ],
)
def test_paused_keys_are_told_once_for_each_pause(
    alices_team: Team, send_round: Round, reason: str, words: str
) -> None:
    join(alices_team, Role.DEVELOPER, "developer")
    own = Team.objects.filter(pk=alices_team.pk)
    own.update(suspended_at=timezone.now(), suspended_reason=reason)

    (email,) = send_round()

    assert email.to == ["alice@example.com"]
    assert email.subject == "The API keys of Alice are paused"
    for text in (email.body, email.alternatives[0][0]):
        assert words in text
        assert "/statement" in text
    assert send_round() == []
    own.update(suspended_at=timezone.now())
    assert len(send_round()) == 1


def test_staffs_own_suspension_is_not_told(alices_team: Team, send_round: Round) -> None:
    Team.objects.update(suspended_at=timezone.now(), suspended_reason="Spam")
    assert send_round() == []

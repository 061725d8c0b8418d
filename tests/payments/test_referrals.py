"""Referrals: both teams get their credit once, after a payment that counts."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Membership, Team
from billing.ledger import postings
from billing.models import (
    CreditAccount,
    Dispute,
    FraudWarning,
    Order,
    Referral,
    Refund,
)
from billing.payments import promotions, tasks
from billing.usage.balances import balance_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9


@pytest.fixture(autouse=True)
def _ten_dollars(settings: Any) -> None:
    settings.REFERRAL_CREDIT_DOLLARS = "10"
    settings.REFERRAL_WAIT_DAYS = 7


@pytest.fixture
def referral(alices_team: Team, charlies_team: Team) -> Referral:
    """Charlie's team, which Alice's brought."""
    found = promotions.record_referral(
        charlies_team, promotions.get_or_create_referral_link(alices_team).code
    )
    assert found is not None
    return found


def paid_order(team: Team, cents: int = 1000, days: float = 8, **changes: Any) -> Order:
    """Make an order that was paid some days ago."""
    fields = {
        "team": team,
        "amount_cents": cents,
        "credit_nanos": cents * DOLLAR // 100,
        "is_live": False,
        "state": "paid",
        "payment_intent_id": f"pi_{uuid.uuid4().hex}",
        "ended_at": timezone.now() - timedelta(days=days),
    }
    order = Order.objects.create(**(fields | changes))
    if order.state == "paid":
        account = postings.open_account(team)
        postings.top_up(account, order.credit_nanos, reference=order.payment_intent_id or "")
    return order


def gifts(team: Team) -> list[tuple[str, int]]:
    """Return the references and amounts of what the team was given."""
    account = CreditAccount.objects.filter(team=team)
    found = account.filter(transfers__kind="grant").order_by("transfers__sequence")
    return list(found.values_list("transfers__reference", "transfers__amount_nanos"))


def test_a_team_has_one_link_by_which_it_is_found(alices_team: Team) -> None:
    link = promotions.get_or_create_referral_link(alices_team)
    assert promotions.get_or_create_referral_link(alices_team) == link
    assert promotions.find_referral_link(link.code.upper()) == link


@pytest.mark.parametrize("code", ["", "unknown", "a" * 21, "a\0b", "é", "../x"])
def test_malformed_referral_codes_have_no_link(
    code: str, alices_team: Team, charlies_team: Team
) -> None:
    promotions.get_or_create_referral_link(alices_team)
    assert promotions.find_referral_link(code) is None
    assert promotions.record_referral(charlies_team, code) is None


def test_nobody_refers_themselves_or_a_team_that_they_are_in(
    alices_team: Team, charlies_team: Team
) -> None:
    code = promotions.get_or_create_referral_link(alices_team).code
    assert promotions.record_referral(alices_team, code) is None
    charlie = Membership.objects.get(team=charlies_team).user
    Membership.objects.create(team=alices_team, user=charlie, role="billing")
    assert promotions.record_referral(charlies_team, code) is None
    assert not Referral.objects.exists()


def test_both_get_the_credit_once_after_the_first_payment(
    referral: Referral, alices_team: Team, charlies_team: Team
) -> None:
    assert tasks.reward_referrals() == 0
    paid_order(charlies_team)
    assert tasks.reward_referrals() == 1
    assert gifts(charlies_team) == [(f"referral:{charlies_team.pk}:referred", 10 * DOLLAR)]
    assert gifts(alices_team) == [(f"referral:{charlies_team.pk}:referrer", 10 * DOLLAR)]
    referral.refresh_from_db()
    assert referral.rewarded_at is not None
    assert promotions.rewarded_referral_count(alices_team) == 1
    paid_order(charlies_team)
    assert tasks.reward_referrals() == 0
    assert not promotions.reward_referral(charlies_team.pk)
    assert balance_of(alices_team).posted_nanos == 10 * DOLLAR


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "open", "payment_intent_id": None},
        {"state": "failed", "payment_intent_id": None},
        {"days": 6.9},
        {"cents": 999},
    ],
)
def test_a_payment_that_does_not_count_earns_nothing(
    changes: dict[str, Any], referral: Referral, charlies_team: Team
) -> None:
    paid_order(charlies_team, **changes)
    assert promotions.due_referrals() == []
    paid_order(charlies_team)
    assert promotions.due_referrals() == [charlies_team.pk]


@pytest.mark.parametrize(
    ("case", "is_due"),
    [
        ("refunded", False),
        ("refund asked for", False),
        ("refund failed", True),
        ("disputed", False),
        ("dispute won", True),
        ("warned of", False),
    ],
)
def test_a_refunded_or_disputed_payment_earns_nothing(
    case: str, is_due: bool, referral: Referral, charlies_team: Team
) -> None:
    order = paid_order(charlies_team)
    refunds = {"refunded": "succeeded", "refund asked for": "requested", "refund failed": "failed"}
    if case in refunds:
        fields = {"amount_cents": 1, "credit_nanos": 1, "reason": "test"}
        Refund.objects.create(order=order, state=refunds[case], **fields)
    elif case == "warned of":
        FraudWarning.objects.create(stripe_id="issfr_1", order=order, fraud_type="misc")
    else:
        Dispute.objects.create(
            stripe_id="du_1",
            order=order,
            amount_cents=1,
            credit_nanos=1,
            reason="fraudulent",
            status="needs_response",
            is_withdrawn=True,
            is_reinstated=case == "dispute won",
        )
    assert promotions.due_referrals() == ([charlies_team.pk] if is_due else [])


def test_while_a_team_is_suspended_nobody_is_rewarded(
    referral: Referral, alices_team: Team, charlies_team: Team
) -> None:
    paid_order(charlies_team)
    for team in (alices_team, charlies_team):
        Team.objects.filter(pk=team.pk).update(suspended_at=timezone.now())
        assert promotions.due_referrals() == []
        Team.objects.filter(pk=team.pk).update(suspended_at=None)
    assert promotions.due_referrals() == [charlies_team.pk]


def test_teams_that_now_share_a_member_earn_nothing(
    referral: Referral, alices_team: Team, charlies_team: Team
) -> None:
    paid_order(charlies_team)
    charlie = Membership.objects.get(team=charlies_team).user
    Membership.objects.create(team=alices_team, user=charlie, role="admin")
    assert tasks.reward_referrals() == 0
    assert gifts(alices_team) == gifts(charlies_team) == []
    assert promotions.due_referrals() == []


def test_no_rewards_while_referrals_are_off(
    referral: Referral, alices_team: Team, charlies_team: Team, settings: Any
) -> None:
    paid_order(charlies_team)
    settings.REFERRAL_CREDIT_DOLLARS = "0"
    assert (
        promotions.find_referral_link(promotions.get_or_create_referral_link(alices_team).code)
        is None
    )
    assert promotions.due_referrals() == []
    assert not promotions.reward_referral(charlies_team.pk)
    assert gifts(alices_team) == []


def test_a_crash_between_the_two_credits_gives_neither_and_then_both(
    referral: Referral, alices_team: Team, charlies_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid_order(charlies_team)
    grant = postings.grant
    granted: list[str] = []

    def die_at_the_second(*arguments: Any, **named: Any) -> Any:
        if granted:
            raise KeyboardInterrupt
        granted.append(named["reference"])
        return grant(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(postings, "grant", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            tasks.reward_referrals()
    assert gifts(alices_team) == gifts(charlies_team) == []
    assert tasks.reward_referrals() == 1
    assert len(gifts(alices_team)) == len(gifts(charlies_team)) == 1


@pytest.mark.django_db(transaction=True)
def test_ten_rounds_at_once_reward_once(
    referral: Referral, alices_team: Team, charlies_team: Team
) -> None:
    paid_order(charlies_team)

    def reward(_: int) -> bool:
        try:
            return promotions.reward_referral(charlies_team.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(reward, range(10))) == 1
    assert len(gifts(alices_team)) == len(gifts(charlies_team)) == 1


# What becomes of the credit when the payment goes back.


def disputed(order: Order, **changes: Any) -> Dispute:
    """Have the order's payment withdrawn by a dispute."""
    fields = {"stripe_id": "du_1", "status": "needs_response", "is_withdrawn": True}
    fields |= {"amount_cents": order.amount_cents, "credit_nanos": order.credit_nanos}
    return Dispute.objects.create(order=order, **(fields | changes))


def available(team: Team) -> int:
    return balance_of(team).available_nanos


def test_the_credit_is_taken_back_with_the_payment_and_returns_with_it(referral: Referral) -> None:
    order = paid_order(referral.team)
    assert tasks.reward_referrals() == 1
    assert (available(referral.team), available(referral.referrer)) == (20 * DOLLAR, 10 * DOLLAR)

    dispute = disputed(order)
    tasks.reward_referrals()
    assert (available(referral.team), available(referral.referrer)) == (10 * DOLLAR, 0)
    tasks.reward_referrals()
    assert (available(referral.team), available(referral.referrer)) == (10 * DOLLAR, 0)

    for step in range(2):
        Dispute.objects.filter(pk=dispute.pk).update(is_reinstated=True)
        tasks.reward_referrals()
        assert available(referral.referrer) == 10 * DOLLAR, step
        Dispute.objects.filter(pk=dispute.pk).update(is_reinstated=False)
        tasks.reward_referrals()
        assert available(referral.referrer) == 0, step


def test_what_was_spent_of_the_credit_is_owed(referral: Referral) -> None:
    order = paid_order(referral.team)
    tasks.reward_referrals()
    referrer = postings.open_account(referral.referrer)
    postings.adjust(referrer, -7 * DOLLAR, reference="spent", memo="")

    Refund.objects.create(
        order=order, amount_cents=500, credit_nanos=5 * DOLLAR, state="succeeded", reason="x"
    )
    tasks.reward_referrals()
    assert available(referral.referrer) == 0

    postings.top_up(referrer, 10 * DOLLAR, reference="pi_more")
    tasks.reward_referrals()
    assert available(referral.referrer) == 3 * DOLLAR


def test_a_refund_that_leaves_enough_of_the_payment_leaves_the_credit(referral: Referral) -> None:
    order = paid_order(referral.team, 2000)
    tasks.reward_referrals()
    Refund.objects.create(
        order=order, amount_cents=1000, credit_nanos=10 * DOLLAR, state="succeeded", reason="x"
    )
    tasks.reward_referrals()
    assert available(referral.referrer) == 10 * DOLLAR


@pytest.mark.django_db(transaction=True)
def test_the_credit_is_taken_back_once_by_ten_processes(referral: Referral) -> None:
    order = paid_order(referral.team)
    tasks.reward_referrals()
    disputed(order)

    def follow(_: int) -> int:
        try:
            return promotions.follow_payments()
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(follow, range(10))) == 1
    assert (available(referral.team), available(referral.referrer)) == (10 * DOLLAR, 0)

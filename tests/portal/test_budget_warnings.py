"""Thresholds of budgets are told by email and to webhooks, once each."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import NotificationSettings, Team, User, WebhookEvent
from api.webhooks import endpoints
from billing.ledger.budgets import set_budget
from billing.models import BudgetRule, BudgetSpend, BudgetWarning
from portal.emails import due
from portal.emails.tasks import send_notices
from tests.api.webhooks.receiver import endpoint_of
from tests.cast import issue
from tests.portal.test_notices import Round, send_round, spend, with_budget

__all__ = ["send_round"]  # the fixture

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
Scope, Period = BudgetRule.Scope, BudgetRule.Period


def reach(team: Team, percent: int, subject: str = "", **rule: Any) -> BudgetWarning:
    """Make a rule of $10, and note that so much of it is spent."""
    rule_id = set_budget(team, rule.pop("scope"), rule.pop("period"), 10 * DOLLAR, **rule)
    spend, _ = BudgetSpend.objects.get_or_create(
        series_id=BudgetRule.objects.get(pk=rule_id).series_id,
        subject=subject,
        defaults={"account": team.credit_account, "starts_on": "2026-12-01"},
    )
    return BudgetWarning.objects.create(
        spend=spend, percent=percent, spent_nanos=percent * DOLLAR // 10, limit_nanos=10 * DOLLAR
    )


def test_each_threshold_of_a_team_is_told_once(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    reach(alices_team, 75, scope=Scope.TEAM, period=Period.WEEK)
    (email,) = send_round()
    assert email.to == [alice.email]
    assert email.subject == f"75% of a budget used: {alices_team.name}"
    assert "$7.50 of $10.00" in email.body
    assert send_round() == []

    reach(alices_team, 100, scope=Scope.TEAM, period=Period.WEEK)
    (email,) = send_round()
    assert email.subject == f"Budget used up: {alices_team.name}"


def test_a_sessions_budget_names_key_and_session(
    bob: User, alice: User, alices_team: Team, send_round: Round
) -> None:
    key = issue(alices_team, bob, "Agent").key
    send_round()  # the key's own
    reach(alices_team, 50, "run 7", scope=Scope.SESSION, period=Period.TOTAL, key=key)
    emails = send_round()
    assert {each.to[0] for each in emails} == {alice.email, bob.email}
    assert all("Agent (" in each.subject and "run 7" in each.subject for each in emails)


def test_who_wants_no_budgets_and_what_is_long_past_is_left_out(
    alice: User, alices_team: Team, send_round: Round
) -> None:
    warning = reach(alices_team, 95, scope=Scope.MEMBER, period=Period.DAY, member=alice)
    BudgetWarning.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert send_round() == []
    BudgetWarning.objects.filter(pk=warning.pk).update(created_at=timezone.now())
    NotificationSettings.objects.create(user=alice, budget_reached=False)
    assert send_round() == []


def test_webhooks_get_it_once(alice: User, alices_team: Team) -> None:
    endpoints.WebhookEndpoint.objects.create(team=alices_team, url="https://example.com/hook")
    reach(alices_team, 95, scope=Scope.MEMBER, period=Period.MONTH, member=alice)
    send_notices()
    send_notices()
    (event,) = WebhookEvent.objects.filter(type="budget.reached")
    assert event.data == {
        "scope": "member",
        "subject": alice.email,
        "period": "monthly",
        "percent": 95,
        "budget_usd": "10.000000000",
        "spent_usd": "9.500000000",
    }


def test_a_keys_budget_is_published_once_and_costs_two_queries_from_then_on(
    alice: User, alices_team: Team, django_assert_num_queries: Any
) -> None:
    key = with_budget(alices_team, alice, budget_total_nanos=DOLLAR)
    spend(key, DOLLAR)
    found = due.near_budgets(timezone.now().date())
    endpoint = endpoint_of(alices_team, "https://example.com/hook", "job.failed")[0]
    with django_assert_num_queries(1):
        assert due.publish_reached_budgets(found) == 0
    endpoint.events = []
    endpoint.save()
    assert due.publish_reached_budgets(found) == 1
    with django_assert_num_queries(2):
        assert due.publish_reached_budgets(found) == 0
    (event,) = WebhookEvent.objects.all()
    assert (event.data["scope"], event.data["percent"]) == ("api_key", 100)
    assert event.data["spent_usd"] == "1.000000000"

"""The page of a team's budgets."""

from datetime import UTC, date, datetime

import pytest

from accounts.models import AuditEntry, Team, User
from billing.ledger.budgets import set_budget
from billing.models import BudgetRule, BudgetSpend
from billing.usage.budgets import budgets_of
from tests.cast import issue, signed_in

pytestmark = pytest.mark.django_db
PAGE = "/team/budgets"


def test_a_budget_is_set_shown_changed_and_removed(alice: User, alices_team: Team) -> None:
    client = signed_in(alice)
    key = issue(alices_team, alice, "Agent").key
    sent = {"applies_to": f"session {key.pk}", "period": "total", "amount": "$5", "is_hard": "yes"}

    assert client.post(PAGE, sent).status_code == 302
    rule = BudgetRule.objects.get(team=alices_team)
    assert (rule.scope, rule.key, rule.limit_nanos, rule.is_hard) == (
        "session",
        key,
        5 * 10**9,
        True,
    )
    page = client.get(PAGE).content.decode()
    assert "$5.00" in page
    assert "Agent" in page

    client.post(PAGE, sent | {"amount": "7.5", "is_hard": "no"})
    rule = BudgetRule.objects.get(team=alices_team)
    assert (rule.limit_nanos, rule.is_hard) == (7_500_000_000, False)
    assert client.post(f"{PAGE}/{rule.pk}/remove").status_code == 302
    assert not BudgetRule.objects.exists()
    actions = AuditEntry.objects.filter(team=alices_team, action__startswith="budget.")
    assert list(actions.order_by("pk").values_list("action", flat=True)) == [
        *("budget.set", "budget.set", "budget.removed"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"amount": "0"}, {"amount": "much"}, {"applies_to": "key 1"}, {"period": "year"}],
    ids=["nothing", "no amount", "another team's key", "no period"],
)
def test_what_is_no_budget_is_refused(
    alice: User, alices_team: Team, wrong: dict[str, str]
) -> None:
    sent = {"applies_to": "team", "period": "month", "amount": "5", "is_hard": "yes"}
    assert signed_in(alice).post(PAGE, sent | wrong).status_code == 422
    assert not BudgetRule.objects.exists()


def test_a_budget_shows_what_its_current_period_has_spent(alice: User, alices_team: Team) -> None:
    key = issue(alices_team, alice, "Agent").key
    for scope, period, owner in (
        ("team", "day", None),
        ("team", "month", None),
        ("key", "day", key),
    ):
        set_budget(alices_team, scope, period, 100, key=owner)
    set_budget(alices_team, "session", "week", 100, key=key)
    series = BudgetRule.objects.filter(team=alices_team).order_by("pk").values_list("series_id")
    first = date(2026, 6, 1)  # a Monday: a day, a week and a month begin
    rows = [(0, "", first, 30), (1, "", first, 40), (2, "", date(2026, 5, 31), 50)]
    rows += [(3, "a", first, 10), (3, "b", first, 20)]
    BudgetSpend.objects.all().delete()
    account = alices_team.credit_account
    for place, subject, starts_on, spent in rows:
        BudgetSpend.objects.create(
            account=account,
            series_id=series[place][0],
            subject=subject,
            starts_on=starts_on,
            spent_nanos=spent,
        )
    lines = budgets_of(alices_team, datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert [line.spent_nanos for line in lines] == [30, 40, 0, 20]

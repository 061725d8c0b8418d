"""The page of a team's budgets."""

import pytest

from accounts.models import AuditEntry, Team, User
from billing.models import BudgetRule
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

"""Rules of budgets: made, changed and removed. `sql/budgets_v1.sql` says how they are counted."""

from django.db import connection

from accounts.models import ApiKey, Team, User
from billing.models import BudgetRule


def set_budget(
    team: Team,
    scope: BudgetRule.Scope,
    period: BudgetRule.Period,
    limit_nanos: int,
    *,
    is_hard: bool = True,
    key: ApiKey | None = None,
    member: User | None = None,
) -> int:
    """Make or change the rule of a scope, its key or member, and its period. Return its id.

    A new rule of a team, a member or a key counts what its period has spent so far. Sessions and
    end users start at nothing.

    Raise IntegrityError where key and member don't fit the scope.
    """
    owner: list[int | str | None] = [
        team.pk,
        str(scope),
        key.pk if key else None,
        member.pk if member else None,
    ]
    values: list[int | str | None] = [*owner, str(period), limit_nanos, is_hard]
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_set_budget(%s, %s, %s, %s, %s, %s, %s)", values)
        (rule_id,) = cursor.fetchone()
    return int(rule_id)


def remove_budget(team: Team, rule_id: int) -> bool:
    """Remove a team's rule, from its next request on. Return whether there was one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_remove_budget(%s, %s)", [team.pk, rule_id])
        (is_removed,) = cursor.fetchone()
    return bool(is_removed)

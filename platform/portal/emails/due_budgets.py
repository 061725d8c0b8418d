"""The notices of budgets that have reached a threshold, which the ledger notes."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from accounts.models import Membership, SentNotice
from accounts.webhooks.events import EventType, Occasion, key_data, publish_new
from billing.models import BudgetRule, BudgetWarning
from billing.pricing.money import dollars_text
from portal.emails.due import KEY_ROLES, Notice, wanting

# No notice of a threshold that was reached before, whatever delayed the notice.
WARNING_AGE = timedelta(days=1)
# As for the budgets of keys.
PERIODS = {"day": "daily", "week": "weekly", "month": "monthly", "total": "total"}

Reached = list[tuple[BudgetWarning, BudgetRule]]


def reached_thresholds(now: datetime) -> Reached:
    """Return the thresholds that budgets reached in the day before `now`, each with its rule.

    A rule that was deleted is left out. A key's rule is continued by the key that replaces it: the
    newest of them is returned. Two queries.
    """
    rows = BudgetWarning.objects.filter(created_at__gt=now - WARNING_AGE)
    warnings = list(rows.select_related("spend").order_by("pk"))
    rules = BudgetRule.objects.filter(series_id__in={each.spend.series_id for each in warnings})
    found = rules.select_related("team", "key", "member").order_by("pk")
    newest = {rule.series_id: rule for rule in found}
    return [
        (each, newest[each.spend.series_id]) for each in warnings if each.spend.series_id in newest
    ]


def budget_warnings(found: Reached) -> Iterator[Notice]:
    """Yield who should hear of these thresholds: the team's owners and admins, and the member whose
    keys the budget is for.
    """
    members: dict[int, list[Membership]] = {}
    for member in wanting("budget_reached").filter(team__in={rule.team_id for _, rule in found}):
        members.setdefault(member.team_id, []).append(member)
    for warning, rule in found:
        owner_id = rule.key.created_by_id if rule.key else rule.member_id
        for member in members.get(rule.team_id, []):
            if member.role in KEY_ROLES or member.user_id == owner_id:
                kind, reference = SentNotice.Kind.BUDGET_WARNING, f"budget warning {warning.pk}"
                yield Notice(member.user, rule.team, kind, reference, _facts(warning, rule))


def publish_budget_warnings(found: Reached) -> int:
    """Publish these thresholds to webhooks, once each. Return how many events that made."""
    occasions = [
        Occasion(
            rule.team_id,
            f"budget warning {warning.pk}",
            {
                **(key_data(rule.key) if rule.key else {}),
                "scope": "api_key" if rule.scope == BudgetRule.Scope.KEY else str(rule.scope),
                "subject": warning.spend.subject or (rule.member.email if rule.member else ""),
                "period": PERIODS[rule.period],
                "percent": warning.percent,
                "budget_usd": dollars_text(warning.limit_nanos),
                "spent_usd": dollars_text(warning.spent_nanos),
            },
        )
        for warning, rule in found
    ]
    return publish_new(EventType.BUDGET_REACHED, occasions)


def _facts(warning: BudgetWarning, rule: BudgetRule) -> dict[str, str | int]:
    owner = str(rule.key or rule.member or rule.team.name)
    subject = warning.spend.subject
    return {
        "owner": f"{owner} · {subject}" if subject else owner,
        "scope": str(rule.scope),
        "period": str(rule.period),
        "percent": warning.percent,
        "spent_nanos": warning.spent_nanos,
        "budget_nanos": warning.limit_nanos,
        "is_hard": int(rule.is_hard),
    }

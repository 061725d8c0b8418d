"""Budgets of a team as people see and change them, with the audit log's entries."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import Max

from accounts import audit
from accounts.access import Actor
from accounts.models import ApiKey, Team, User
from billing.ledger import budgets
from billing.models import BudgetRule, BudgetSpend
from billing.pricing.money import dollars_short_text

EVER = date(1970, 1, 1)


@dataclass(frozen=True)
class BudgetLine:
    """A rule and what was spent in its current period.

    Of a rule for each session or end user, it is what the one that spent the most did.
    """

    rule: BudgetRule
    spent_nanos: int

    @property
    def is_reached(self) -> bool:
        """Whether it is used up."""
        return self.spent_nanos >= self.rule.limit_nanos

    @property
    def percent(self) -> int:
        """The spent percentage, 0 to 100 and rounded down."""
        return 100 if self.is_reached else self.spent_nanos * 100 // self.rule.limit_nanos


def budgets_of(team: Team, now: datetime) -> list[BudgetLine]:
    """Return the team's budgets, in the order in which they were made. Two queries."""
    today = now.astimezone(UTC).date()
    rules = list(team.budget_rules.select_related("key", "member").order_by("pk"))
    rows = [(rule.series_id, _start(rule.period, today)) for rule in rules]
    spent = _spent({series_id for series_id, _ in rows}, {starts_on for _, starts_on in rows})
    return [BudgetLine(rule, spent.get(row, 0)) for rule, row in zip(rules, rows, strict=True)]


def change_budget(
    actor: Actor,
    scope: BudgetRule.Scope,
    period: BudgetRule.Period,
    limit_nanos: int,
    *,
    is_hard: bool,
    key: ApiKey | None = None,
    member: User | None = None,
    ip_address: str | None = None,
) -> None:
    """Make or change one of the team's budgets."""
    with transaction.atomic():
        detail = {"period": period, "amount_dollars": dollars_short_text(limit_nanos)}
        audit.record(
            actor, "budget.set", _subject(scope, key, member), detail=detail, ip_address=ip_address
        )
        budgets.set_budget(
            actor.team, scope, period, limit_nanos, is_hard=is_hard, key=key, member=member
        )


def remove_budget(actor: Actor, rule: BudgetRule, *, ip_address: str | None = None) -> None:
    """Remove one of the team's budgets."""
    with transaction.atomic():
        detail = {"period": rule.period}
        subject = _subject(rule.scope, rule.key, rule.member)
        audit.record(actor, "budget.removed", subject, detail=detail, ip_address=ip_address)
        budgets.remove_budget(actor.team, rule.pk)


def _subject(scope: str, key: ApiKey | None, member: User | None) -> str:
    return f"{scope} {key or member or ''}".strip()


def _spent(series: Iterable[int], starts: Iterable[date]) -> dict[tuple[int, date], int]:
    """Return the most that a subject has spent, by series and the first day of the period."""
    rows = BudgetSpend.objects.filter(series_id__in=series, starts_on__in=starts)
    most = rows.values_list("series_id", "starts_on").annotate(most=Max("spent_nanos"))
    return {(series_id, starts_on): spent for series_id, starts_on, spent in most}


def _start(period: str, today: date) -> date:
    """Return the day on which a period began, as `billing_period_start` does."""
    match period:
        case BudgetRule.Period.DAY:
            return today
        case BudgetRule.Period.WEEK:
            return today - timedelta(days=today.weekday())
        case BudgetRule.Period.MONTH:
            return today.replace(day=1)
    return EVER

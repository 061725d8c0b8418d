"""Spending of API keys, for display. The gate counts for itself at admission.

Days and months are in UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import Sum
from django.db.models.functions import TruncDate

from accounts.models import ApiKey
from billing.models import KeySpend, UsageHour
from billing.usage.records import Selection, sums, total


@dataclass(frozen=True)
class Budget:
    """The spending of a period and its limit, in nano-dollars. A limit of None is no budget."""

    period: str
    spent_nanos: int
    limit_nanos: int | None

    @property
    def is_reached(self) -> bool:
        """Whether the budget is used up, so that every request with a cost is refused."""
        return self.limit_nanos is not None and self.spent_nanos >= self.limit_nanos

    @property
    def percent(self) -> int | None:
        """The spent percentage, 0 to 100 and rounded down, or None without a budget."""
        if self.limit_nanos is None:
            return None
        return 100 if self.is_reached else self.spent_nanos * 100 // self.limit_nanos


@dataclass(frozen=True)
class KeySpending:
    """A key's daily, monthly and total budgets, and what its open requests hold."""

    day: Budget
    month: Budget
    total: Budget
    held_nanos: int
    last_used_at: datetime | None

    @property
    def budgets(self) -> list[Budget]:
        """The three budgets, shortest period first."""
        return [self.day, self.month, self.total]

    @property
    def is_budget_reached(self) -> bool:
        """Whether one of the budgets is used up."""
        return any(budget.is_reached for budget in self.budgets)


@dataclass(frozen=True)
class DayOfUse:
    """One day of a key's usage."""

    day: date
    requests: int = 0
    errors: int = 0
    charged_nanos: int = 0


def spending_of(key: ApiKey, now: datetime) -> KeySpending:
    """Return the key's spending up to `now`, without a query if `spend` was selected with it."""
    # A key that was never used has no row.
    spend: KeySpend = getattr(key, "spend", None) or KeySpend()
    today = now.astimezone(UTC).date()
    this_month = today.replace(day=1)
    return KeySpending(
        day=Budget("day", spend.day_nanos if spend.day == today else 0, key.budget_day_nanos),
        month=Budget(
            "month", spend.month_nanos if spend.month == this_month else 0, key.budget_month_nanos
        ),
        total=Budget("total", spend.total_nanos, key.budget_total_nanos),
        held_nanos=spend.held_nanos,
        last_used_at=spend.last_used_at,
    )


def week_nanos(account_id: int, key_id: int, now: datetime) -> int:
    """Return what a key has spent since Monday, 00:00 UTC."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=today.weekday())
    selection = Selection(account_id, since, since + timedelta(days=7), key_id)
    return total(sums(selection).values()).charged_nanos


def use_by_day(key: ApiKey, now: datetime, days: int = 30) -> list[DayOfUse]:
    """Return the key's usage of each of the last `days` days up to today, oldest first.

    One query of the hourly roll-up, which may lack the last minute.
    """
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    hours = UsageHour.objects.filter(account__team_id=key.team_id, key=key, hour__gte=since)
    rows = hours.values(day=TruncDate("hour", tzinfo=UTC)).annotate(
        requests=Sum("requests"), errors=Sum("errors"), charged_nanos=Sum("charged_nanos")
    )
    used = {row["day"]: DayOfUse(**row) for row in rows.order_by()}
    every = [first + timedelta(days=count) for count in range(days)]
    return [used.get(day, DayOfUse(day)) for day in every]

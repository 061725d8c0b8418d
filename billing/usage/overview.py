"""The whole service's figures for staff, from roll-ups only: fast at any number of requests.

Hours and days are in UTC. The roll-up runs every minute, so figures are as old as its last run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    F,
    Max,
    Min,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast
from django.utils import timezone

from billing.models import CreditAccount, MarginDay, ServiceHour, TaskRun, TeamDay, UsageHour
from billing.usage.records import roll_up_recent, start_of

# How many days of an older database each run fills in, so that no run takes long.
BACKFILL_DAYS = 7
ROLL_UP_TASK = "roll up usage"
# Margins are summed from the records of whole days, so less often than the hours are.
MARGINS_EVERY = timedelta(minutes=10)
MARGINS_TASK = "roll up margins"


@dataclass(frozen=True)
class Figures:
    """Sums of requests. Amounts are in nano-dollars."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    charged_nanos: int = 0
    upstream_cost_nanos: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, n) + getattr(other, n) for n in _NAMES))

    def part(self, numerator: int, denominator: int) -> "Figures":
        """Return the share of the sums, rounded down."""
        return Figures(*(getattr(self, name) * numerator // denominator for name in _NAMES))

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def margin_nanos(self) -> int:
        """Revenue less the upstreams' cost; negative for a loss."""
        return self.charged_nanos - self.upstream_cost_nanos


_NAMES = tuple(field.name for field in fields(Figures))
SUMS = {f"sum_{name}": Sum(name) for name in _NAMES}

_DAY = Cast("day", DateTimeField())

# Sums by the start of a day or an hour, and by the name of a model, upstream, team or plan.
Parts = dict[tuple[datetime, str], Figures]


def roll_up(hours: int) -> int:
    """Roll up the last `hours` hours for teams and for the service. Return the rows written.

    Also fill in days of a database that had no service roll-up, the newest first.
    """
    now = timezone.now()
    newest = ServiceHour.objects.aggregate(newest=Max("hour"))["newest"]
    written = roll_up_recent(hours)
    since = now - timedelta(hours=hours)
    # After a downtime of Celery, from the last hour on.
    since = min(since, newest - timedelta(hours=1)) if newest else since
    roll_up_service(since, now + timedelta(hours=1))
    for _ in range(BACKFILL_DAYS):
        if not _fill_one_day():
            break
    roll_up_margins(now)
    return written


def roll_up_margins(now: datetime) -> None:
    """Sum the days since the last run, if that is long enough ago, and fill in older days."""
    last = TaskRun.objects.filter(pk=MARGINS_TASK).values_list("finished_at", flat=True).first()
    if last is None or now - last >= MARGINS_EVERY:
        # A settlement may have committed later than the time that it bears.
        _sum_margins((last or now) - timedelta(hours=1), now)
        note_run(MARGINS_TASK)
    for _ in range(BACKFILL_DAYS):
        first = MarginDay.objects.aggregate(first=Min("day"))["first"] or now.astimezone(UTC).date()
        midnight = datetime.combine(first, datetime.min.time(), UTC)
        older = ServiceHour.objects.filter(hour__lt=midnight).aggregate(hour=Max("hour"))["hour"]
        if older is None or not _sum_margins(older, older):
            break


def _sum_margins(since: datetime, until: datetime) -> int:
    """Sum the margins of the days from `since` to `until`, both included. Return the rows."""
    days = [moment.astimezone(UTC).date() for moment in (since, until)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_roll_up_margins(%s, %s)", days)
        return int(cursor.fetchone()[0])


def roll_up_service(since: datetime, until: datetime) -> int:
    """Rebuild the service's hours and the teams' days from `since` to before `until`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_roll_up_service(%s, %s)", [since, until])
        (written,) = cursor.fetchone()
    return int(written)


def note_run(name: str, result: str = "") -> None:
    """Record that a periodic task has finished."""
    TaskRun.objects.update_or_create(
        name=name, defaults={"finished_at": timezone.now(), "result": result[:200]}
    )


def by_hour(spans: Iterable[tuple[datetime, datetime]]) -> dict[datetime, Figures]:
    """Return the service's sums by hour, within any of the spans, in one query."""
    wanted = ServiceHour.objects.none()
    for since, until in spans:
        wanted = wanted | ServiceHour.objects.filter(hour__gte=since, hour__lt=until)
    return {row["hour"]: figures_of(row) for row in wanted.values("hour").annotate(**SUMS)}


def hours_of_service(
    dimension: str, since: datetime, until: datetime, *, is_by_hour: bool, name: str = ""
) -> Parts:
    """Return sums by day or hour and by `model` or `upstream`; `name` narrows them to one."""
    found = ServiceHour.objects.filter(hour__gte=since, hour__lt=until)
    found = found.filter(**{dimension: name}) if name else found
    width = timedelta(hours=1) if is_by_hour else timedelta(days=1)
    rows = found.values(label=F(dimension), place=start_of("hour", width)).annotate(**SUMS)
    return {(row["place"], row["label"]): figures_of(row) for row in rows}


def days_by_team(since: datetime, until: datetime, most: int) -> Parts:
    """Return sums by day and by the team's id: of the `most` that paid most, the rest as ""."""
    return _by_team(_days(since, until), _DAY, most)


def days_by_plan(since: datetime, until: datetime) -> Parts:
    """Return sums by day and by the id of the plan that each team is on now."""
    return _by_plan(_days(since, until), _DAY)


def hours_by_team(day: date, most: int) -> Parts:
    """Return the sums of one day as `days_by_team` does, by hour."""
    return _by_team(_hours(day), F("hour"), most)


def hours_by_plan(day: date) -> Parts:
    """Return the sums of one day as `days_by_plan` does, by hour."""
    return _by_plan(_hours(day), F("hour"))


def active_teams(since: datetime, until: datetime) -> int:
    """Return the number of teams with a request in the hours from `since` to before `until`."""
    hours = UsageHour.objects.filter(hour__gte=since, hour__lt=until)
    return int(hours.aggregate(found=Count("account", distinct=True))["found"])


def rolled_up_at() -> datetime | None:
    """Return when the roll-up last ran; None before its first run."""
    return TaskRun.objects.filter(pk=ROLL_UP_TASK).values_list("finished_at", flat=True).first()


def _days(since: datetime, until: datetime) -> "QuerySet[Any]":
    return TeamDay.objects.filter(day__gte=since.date(), day__lt=until.date())


def _hours(day: date) -> "QuerySet[Any]":
    since = datetime.combine(day, datetime.min.time(), UTC)
    return UsageHour.objects.filter(hour__gte=since, hour__lt=since + timedelta(days=1))


def _by_team(found: "QuerySet[Any]", place: Any, most: int) -> Parts:
    """Read the rows twice: to find the largest teams, and to sum theirs and all others' rows."""
    sizes = found.order_by().values("account_id").annotate(size=Sum("charged_nanos"))
    accounts = [row["account_id"] for row in sizes.order_by("-size", "account_id")[:most]]
    teams = dict(CreditAccount.objects.filter(pk__in=accounts).values_list("pk", "team_id"))
    label = Case(When(account_id__in=accounts, then=F("account_id")), default=Value(0))
    rows = found.order_by().values(label=label, place=place).annotate(**SUMS)
    return {
        (row["place"], str(teams[row["label"]]) if row["label"] else ""): figures_of(row)
        for row in rows
    }


def _by_plan(found: "QuerySet[Any]", place: Any) -> Parts:
    plan = F("account__team__plan_id")
    rows = found.order_by().values(label=plan, place=place).annotate(**SUMS)
    return {(row["place"], str(row["label"])): figures_of(row) for row in rows}


def _fill_one_day() -> bool:
    """Roll up the newest day with usage before the service's first hour. Return False if none."""
    first = ServiceHour.objects.aggregate(first=Min("hour"))["first"]
    if first is None:
        first = timezone.now()
    missing = UsageHour.objects.filter(hour__lt=first).aggregate(hour=Max("hour"))["hour"]
    if missing is None:
        return False
    day = missing.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return roll_up_service(day, min(first, day + timedelta(days=1))) > 0


def figures_of(row: dict[str, Any]) -> Figures:
    """Return the figures of a row with SUMS."""
    return Figures(*(int(row[f"sum_{name}"] or 0) for name in _NAMES))

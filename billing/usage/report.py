"""Usage reports: sums by time and by up to three dimensions, for the API.

Hours and days are those of the report's time zone. Sums come from the hourly roll-up where it knows
what is asked for, and else from the records, for a shorter period.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Count, F, Func, QuerySet, Sum, Value
from django.db.models.functions import TruncDate

from billing.models import UsageHour, UsageRecord
from billing.usage.records import OF_STATUS, Status, UsageSum, rolled_up_until, total

MOST_DIMENSIONS = 3
# What a report from the roll-up and one from the records may cover.
MOST_DAYS = {"day": 366, "hour": 31, "": 366}
MOST_DAYS_OF_RECORDS = 31
MOST_ROWS = 20_000
_HOUR = timedelta(hours=1)


class ReportError(ValueError):
    """A report that can't be made. `param` names the parameter at fault."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class Dimension(models.TextChoices):
    """What a report can be grouped by, besides time."""

    MODEL = "model"
    KEY = "key"
    MEMBER = "member"
    SESSION = "session"
    USER = "user"
    ENDPOINT = "endpoint"


class Interval(models.TextChoices):
    """The length of a report's periods."""

    HOUR = "hour"
    DAY = "day"


_ROLLED_UP = {Dimension.MODEL, Dimension.KEY, Dimension.MEMBER}
_FIELDS = {
    Dimension.MODEL: "model",
    Dimension.KEY: "key_id",
    Dimension.MEMBER: "key__created_by__email",
    Dimension.SESSION: "session_id",
    Dimension.USER: "end_user",
    Dimension.ENDPOINT: "endpoint",
}


@dataclass(frozen=True, kw_only=True)
class ReportQuery:
    """A report: the period's first and last day in a zone, what it is grouped by, and filters.

    Without an interval, each group has one row. Only the requests of `key_ids` are reported.
    """

    account_id: int
    first: date
    last: date
    zone: ZoneInfo
    interval: Interval | None = Interval.DAY
    dimensions: tuple[Dimension, ...] = ()
    key_ids: tuple[int, ...] | None = None
    model: str = ""
    status: str = ""
    end_user: str = ""
    session_id: str = ""
    endpoint: str = ""

    @property
    def since(self) -> datetime:
        """The period's beginning."""
        return datetime.combine(self.first, time(), self.zone).astimezone(UTC)

    @property
    def until(self) -> datetime:
        """The period's end, exclusive."""
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone).astimezone(UTC)

    @property
    def needs_records(self) -> bool:
        """Whether the hourly roll-up can't answer it."""
        filtered = self.status or self.end_user or self.session_id or self.endpoint
        return bool(filtered or set(self.dimensions) - _ROLLED_UP or not _has_whole_hours(self))

    def check(self) -> None:
        """Raise ReportError if the period is not one, or longer than a report may cover."""
        days = (self.last - self.first).days + 1
        if days < 1:
            raise ReportError("'end' is before 'start'.", "end")
        try:
            _ = self.since, self.until
        except OverflowError:
            raise ReportError("Invalid period.", "end") from None
        most = MOST_DAYS[self.interval or ""]
        if self.needs_records:
            most = min(most, MOST_DAYS_OF_RECORDS)
        if days > most:
            raise ReportError(
                f"This report covers at most {most} days, but {days} were requested. "
                "Choose a shorter period.",
                "start",
            )


@dataclass(frozen=True)
class ReportRow:
    """The sums of one period and group. `starts_at` is None without an interval."""

    starts_at: datetime | None
    group: dict[str, Any]
    used: UsageSum


@dataclass(frozen=True)
class Report:
    """A page of a report's rows, and the total of all of them."""

    rows: list[ReportRow]
    total: UsageSum
    has_more: bool


def report_of(query: ReportQuery, *, offset: int = 0, limit: int = 100) -> Report:
    """Return a page of the report, by time and then by group. Raise ReportError."""
    query.check()
    if query.needs_records:
        found = _summed([_of_records(query, query.since)])
    else:
        rolled_up = rolled_up_until()
        since = max(query.since, rolled_up)
        found = _summed([_of_hours(query, rolled_up), _of_records(query, since)])
    places = sorted(found, key=lambda place: [(value is None, value) for value in place])
    return Report(
        rows=[_row(query, place, found[place]) for place in places[offset : offset + limit]],
        total=total(found.values()),
        has_more=len(places) > offset + limit,
    )


def _row(query: ReportQuery, place: tuple[Any, ...], used: UsageSum) -> ReportRow:
    names = [dimension.value for dimension in query.dimensions]
    if query.interval is None:
        return ReportRow(None, dict(zip(names, place, strict=True)), used)
    start, *group = place
    if query.interval == Interval.DAY:
        start = datetime.combine(start, time(), query.zone)
    else:
        start = start.astimezone(query.zone)
    return ReportRow(start, dict(zip(names, group, strict=True)), used)


def _has_whole_hours(query: ReportQuery) -> bool:
    """Return whether the zone's hours begin with UTC's throughout the period."""
    days = (query.last - query.first).days + 2
    moments = (query.first + timedelta(days=count) for count in range(min(days, 400)))
    offsets = (datetime.combine(day, time(), query.zone).utcoffset() for day in moments)
    return all(offset is not None and not offset % _HOUR for offset in offsets)


def _of_records(query: ReportQuery, since: datetime) -> Iterable[dict[str, Any]]:
    found: QuerySet[Any] = UsageRecord.objects.filter(created_at__gte=since)
    if query.status:
        found = found.filter(OF_STATUS[Status(query.status)])
    if query.end_user:
        found = found.filter(end_user=query.end_user)
    if query.session_id:
        found = found.filter(session_id=query.session_id)
    if query.endpoint:
        found = found.filter(endpoint=query.endpoint)
    return _grouped(
        found.filter(created_at__lt=query.until),
        query,
        "created_at",
        sum_requests=Count("*"),
        sum_errors=Count("outcome", filter=OF_STATUS[Status.ERROR]),
    )


def _of_hours(query: ReportQuery, rolled_up: datetime) -> Iterable[dict[str, Any]]:
    found: QuerySet[Any] = UsageHour.objects.filter(
        hour__gte=query.since, hour__lt=min(query.until, rolled_up)
    )
    return _grouped(found, query, "hour", sum_requests=Sum("requests"), sum_errors=Sum("errors"))


def _grouped(
    found: QuerySet[Any], query: ReportQuery, moment: str, **counts: Any
) -> Iterable[dict[str, Any]]:
    """Return the sums of what is found by period and group."""
    found = found.filter(account_id=query.account_id)
    if query.key_ids is not None:
        found = found.filter(key_id__in=query.key_ids)
    if query.model:
        found = found.filter(model=query.model)
    groups: dict[str, Any] = {}
    if query.interval == Interval.DAY:
        groups["place"] = TruncDate(moment, tzinfo=query.zone)
    elif query.interval == Interval.HOUR:
        groups["place"] = Func(
            Value(_HOUR),
            moment,
            Value(query.since),
            function="date_bin",
            output_field=models.DateTimeField(),
        )
    for dimension in query.dimensions:
        groups[f"by_{dimension.value}"] = F(_FIELDS[dimension])
    names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "images")
    sums = counts | {f"sum_{name}": Sum(name) for name in (*names, "charged_nanos")}
    if not groups:
        return [dict(found.aggregate(**sums))]
    grouped: QuerySet[Any, dict[str, Any]] = found.order_by().values(**groups).annotate(**sums)
    return grouped[: MOST_ROWS + 1]


def _summed(parts: Iterable[Iterable[dict[str, Any]]]) -> dict[tuple[Any, ...], UsageSum]:
    """Return the sums by place. Raise ReportError if there are too many."""
    found: dict[tuple[Any, ...], UsageSum] = {}
    for part in parts:
        for row in part:
            place = tuple(value for name, value in row.items() if not name.startswith("sum_"))
            used = UsageSum(
                **{
                    name.removeprefix("sum_"): int(figure or 0)
                    for name, figure in row.items()
                    if name.startswith("sum_")
                }
            )
            found[place] = found.get(place, UsageSum()) + used
    if len(found) > MOST_ROWS:
        raise ReportError(
            f"This report has more than {MOST_ROWS:,} rows. Choose a shorter period, a longer "
            "interval or fewer groups.",
            "group_by",
        )
    return {place: used for place, used in found.items() if used.requests}

"""Usage for pages and charts: read from the hourly roll-up, and exact up to the last request.

Days and hours are in UTC. What is not rolled up yet, of the last hour or two, is read from the
records themselves.
"""

import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, models
from django.db.models import Count, DateTimeField, F, Func, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models import UsageHour, UsageRecord

_NEVER = datetime.min.replace(tzinfo=UTC)
_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)


class Status(models.TextChoices):
    """The status of a finished request, for display. Every request has exactly one."""

    OK = "ok", _("Completed")
    CANCELLED = "cancelled", _("Canceled")
    ERROR = "error", _("Failed")


_COMPLETED = Q(outcome="completed")
OF_STATUS = {
    Status.OK: _COMPLETED,
    Status.CANCELLED: Q(outcome="client_closed"),
    # The roll-up's definition of errors. The first condition alone matches the partial index.
    Status.ERROR: ~_COMPLETED & ~Q(outcome="client_closed"),
}


@dataclass(frozen=True)
class Selection:
    """A filter of an account's requests, from `since` to before `until`, both full hours."""

    account_id: int
    since: datetime
    until: datetime
    key_id: int | None = None
    model: str = ""
    status: str = ""
    end_user: str = ""
    session_id: str = ""

    @property
    def is_of_few(self) -> bool:
        """Whether it selects by what the roll-up doesn't know, and indexes find."""
        return bool(self.end_user or self.session_id)

    @cached_property
    def rolled_up_until(self) -> datetime:
        """The moment up to which the roll-up counts all requests, asked for once."""
        return rolled_up_until()


@dataclass(frozen=True)
class UsageSum:
    """The totals of some requests. The fields are those of the roll-up."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    charged_nanos: int = 0
    latency_ms_total: int = 0
    first_token_ms_total: int = 0
    first_token_count: int = 0

    def __add__(self, other: "UsageSum") -> "UsageSum":
        return UsageSum(*map(operator.add, _figures(self), _figures(other)))

    def __sub__(self, other: "UsageSum") -> "UsageSum":
        return UsageSum(*map(operator.sub, _figures(self), _figures(other)))

    @property
    def error_share(self) -> float | None:
        """The percentage of requests that failed, or None without requests."""
        return 100 * self.errors / self.requests if self.requests else None

    @property
    def latency_ms(self) -> float | None:
        """The mean latency in milliseconds, or None without requests."""
        return self.latency_ms_total / self.requests if self.requests else None

    @property
    def first_token_ms(self) -> float | None:
        """The mean time to the first token in milliseconds, of the requests that have one."""
        count = self.first_token_count
        return self.first_token_ms_total / count if count else None


# In place of dataclasses.astuple, whose deep copies took half of a page's time.
_figures = operator.attrgetter(*(field.name for field in fields(UsageSum)))


class Group(models.TextChoices):
    """What totals are grouped by, besides time."""

    MODEL = "model", _("Model")
    KEY = "key", _("Key")
    TAG = "tag", _("User tag")
    SESSION = "session", _("Session")
    ENDPOINT = "endpoint", _("Endpoint")
    STATUS = "status", _("Status")


# The roll-up has these groups; totals by the others are read from the records.
_ROLLED_UP = {Group.MODEL: F("model"), Group.KEY: Cast("key_id", models.TextField())}
_GROUPS = {
    **_ROLLED_UP,
    Group.TAG: F("end_user"),
    Group.SESSION: F("session_id"),
    Group.ENDPOINT: F("endpoint"),
    Group.STATUS: models.Case(
        *(
            models.When(condition, then=Value(status.value))
            for status, condition in OF_STATUS.items()
        )
    ),
}

# Totals by the start of a day or an hour, and by what they are grouped by.
Sums = dict[tuple[datetime, str], UsageSum]


def retries_of(record: UsageRecord) -> list[UUID]:
    """Return the client's retries of this request, the first ten."""
    if record.outcome == "completed":
        return []
    found = UsageRecord.objects.filter(retry_of=record.request_id, account=record.account_id)
    return list(found.order_by("created_at").values_list("request_id", flat=True)[:10])


def roll_up(since: datetime) -> int:
    """Rebuild the roll-up of every hour from `since` on. Return the number of rows written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_roll_up(%s)", [since])
        (written,) = cursor.fetchone()
    return int(written)


def roll_up_recent(hours: int) -> int:
    """Rebuild the roll-up of the last `hours` hours, and of all that is not rolled up yet.

    So no hour is missing after a downtime of Celery. Return the number of rows written.
    """
    return roll_up(min(timezone.now() - timedelta(hours=hours), rolled_up_until()))


class RejectedUsage(NamedTuple):
    """Impossible usage figures that an upstream reported for a model in an hour.

    `request_id` and `figures` are those of the first of `requests`.
    """

    hour: datetime
    model: str
    upstream: str
    requests: int
    request_id: str
    figures: list[str]


def rejected_usage(since: datetime) -> list[RejectedUsage]:
    """Return the usage figures rejected since then, by hour, model and upstream."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT date_trunc('hour', u.created_at, 'UTC'), u.model, made.attempt->>'upstream',
                   count(*), (array_agg(
                       jsonb_build_array(u.request_id, made.attempt->'rejected_usage')
                       ORDER BY u.created_at))[1]
            FROM billing_usagerecord u
            CROSS JOIN LATERAL jsonb_array_elements(u.attempts) AS made(attempt)
            WHERE u.created_at >= %s AND made.attempt ? 'rejected_usage'
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            """,
            [since],
        )
        return [RejectedUsage(*row[:4], *json.loads(row[4])) for row in cursor.fetchall()]


def rolled_up_until() -> datetime:
    """Return the moment before which the roll-up is complete.

    It is an hour before the roll-up's last hour, since settlements on the hour may not have been
    committed when that was rolled up.
    """
    last = UsageHour.objects.aggregate(last=models.Max("hour"))["last"]
    return last - timedelta(hours=1) if last is not None else _NEVER


def records(selection: Selection) -> QuerySet[UsageRecord]:
    """Return the selection's records, unordered."""
    found = UsageRecord.objects.filter(
        account_id=selection.account_id,
        created_at__gte=selection.since,
        created_at__lt=selection.until,
    )
    if selection.key_id is not None:
        found = found.filter(key_id=selection.key_id)
    if selection.model:
        found = found.filter(model=selection.model)
    if selection.status:
        found = found.filter(OF_STATUS[Status(selection.status)])
    if selection.end_user:
        found = found.filter(end_user=selection.end_user)
    if selection.session_id:
        found = found.filter(session_id=selection.session_id)
    return found


def sums(
    selection: Selection,
    *,
    since: datetime | None = None,
    by_hour: bool = False,
    group: Group = Group.MODEL,
) -> Sums:
    """Return the selection's totals by day (or hour) and group, exact up to now.

    `since` begins earlier than the selection does. The roll-up knows models and keys, but neither
    tags, endpoints nor statuses.
    """
    chosen, selection = selection, replace(selection, since=since or selection.since)
    is_rolled_up = group in _ROLLED_UP and not selection.is_of_few
    if not is_rolled_up or selection.status in {Status.CANCELLED, Status.ERROR}:
        return _of_records(records(selection), by_hour, group)
    everything = replace(selection, status="", end_user="", session_id="")
    rolled_up = chosen.rolled_up_until
    recent = max(selection.since, rolled_up)
    found = _added(
        _of_hours(everything, rolled_up, by_hour, group),
        _of_records(records(everything).filter(created_at__gte=recent), by_hour, group),
    )
    if selection.status == Status.OK:
        # Nearly all requests complete, so the others are fewer to count.
        others = _of_records(records(everything).exclude(outcome="completed"), by_hour, group)
        found = {place: found[place] - others.get(place, UsageSum()) for place in found}
    return {place: part for place, part in found.items() if part.requests}


def narrowed(
    selection: Selection,
    rows: int,
    *,
    before: datetime | None = None,
    after: datetime | None = None,
) -> QuerySet[UsageRecord]:
    """Return the selection's records, limited to the hours that contain the `rows` wanted.

    Those are the newest ones, the newest before `before`, or the oldest after `after`. For a rarely
    used key or model, the roll-up says in which hours to look, where an index would have to be
    written with every request. Selections by status or end user are not limited, as the roll-up
    does not count these.
    """
    found = records(selection)
    is_rare = selection.key_id is not None or selection.model
    if not is_rare or selection.is_of_few or selection.status:
        return found
    rolled_up = selection.rolled_up_until
    hours = _hours(selection, rolled_up)
    if before is not None:
        hours = hours.filter(hour__lte=before)
    if after is not None:
        hours = hours.filter(hour__gt=after - timedelta(hours=1))
    counted = hours.values("hour").annotate(sum_requests=Sum("requests"))
    ordered = counted.order_by("hour" if after is not None else "-hour")
    # The hour of the moment itself is not counted: none of its requests may be on the wanted side.
    wanted = Q(created_at__gte=rolled_up)
    missing = rows
    for row in ordered[: rows + 1]:
        if missing <= 0:
            break
        start = row["hour"]
        wanted |= Q(created_at__gte=start, created_at__lt=start + timedelta(hours=1))
        is_partial = any(
            moment and start <= moment < start + timedelta(hours=1) for moment in (before, after)
        )
        missing -= 0 if is_partial else row["sum_requests"]
    return found.filter(wanted)


def start_of(field: str, width: timedelta) -> Func:
    """Return an expression for the start of a timestamp's hour or day (`width`), in UTC.

    It takes a third of the time of `date_trunc`.
    """
    return Func(
        Value(width), field, Value(_MIDNIGHT), function="date_bin", output_field=DateTimeField()
    )


def total(parts: Iterable[UsageSum]) -> UsageSum:
    """Return the sum of totals."""
    return sum(parts, UsageSum())


def models_used(selection: Selection) -> list[str]:
    """Return the names of the models in the roll-up of the selection's period."""
    hours = UsageHour.objects.filter(
        account_id=selection.account_id, hour__gte=selection.since, hour__lt=selection.until
    )
    return sorted(hours.values_list("model", flat=True).distinct())


def _of_hours(selection: Selection, rolled_up: datetime, by_hour: bool, group: Group) -> Sums:
    place = _place("hour", by_hour)
    return _read(
        _hours(selection, rolled_up)
        .values(group=_GROUPS[group], place=place)
        .annotate(
            sum_requests=Sum("requests"),
            sum_errors=Sum("errors"),
            sum_latency_ms_total=Sum("latency_ms_total"),
            sum_first_token_ms_total=Sum("first_token_ms_total"),
            sum_first_token_count=Sum("first_token_count"),
            **_COMMON_SUMS,
        )
    )


def _hours(selection: Selection, rolled_up: datetime) -> QuerySet[UsageHour]:
    """Return the roll-up's rows of the selection's account, period, key and model."""
    hours = UsageHour.objects.filter(
        account_id=selection.account_id,
        hour__gte=selection.since,
        hour__lt=min(selection.until, rolled_up),
    )
    if selection.key_id is not None:
        hours = hours.filter(key_id=selection.key_id)
    return hours.filter(model=selection.model) if selection.model else hours


def _of_records(found: QuerySet[UsageRecord], by_hour: bool, group: Group) -> Sums:
    place = _place("created_at", by_hour)
    return _read(
        found.values(group=_GROUPS[group], place=place).annotate(
            sum_requests=Count("*"),
            sum_errors=Count("outcome", filter=OF_STATUS[Status.ERROR]),
            sum_latency_ms_total=Sum("latency_ms"),
            sum_first_token_ms_total=Coalesce(Sum("first_token_ms"), 0),
            sum_first_token_count=Count("first_token_ms"),
            **_COMMON_SUMS,
        )
    )


_COMMON_SUMS = {
    f"sum_{name}": Sum(name)
    for name in (
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "reasoning_tokens",
        "images",
        "charged_nanos",
    )
}


def _place(field: str, by_hour: bool) -> Func:
    return start_of(field, timedelta(hours=1) if by_hour else timedelta(days=1))


def _read(rows: Iterable[dict[str, Any]]) -> Sums:
    return {
        (row["place"], row["group"]): UsageSum(
            **{
                name.removeprefix("sum_"): int(figure)
                for name, figure in row.items()
                if name.startswith("sum_")
            }
        )
        for row in rows
    }


def _added(one: Sums, other: Sums) -> Sums:
    return {
        place: one.get(place, UsageSum()) + other.get(place, UsageSum()) for place in one | other
    }

"""Revenue, upstream cost and margin by day, model, upstream and team, from roll-ups.

Each question is answered from the smallest roll-up that can: the service's hours (by model and
upstream), the teams' days, or the days by all four. A request, with all that its attempts cost, is
counted at the upstream that was tried last; `billing.usage.margins` splits it by attempt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.functions import TruncDate

from billing.models import CreditAccount, MarginDay, ServiceHour, TeamDay, UsageRecord
from billing.usage.overview import SUMS, Figures, figures_of

DIMENSIONS = ("day", "model", "upstream", "team")


@dataclass(frozen=True)
class MarginFilter:
    """What to sum: the days from `first` to `last` in UTC, of one model, upstream or team.

    An empty text, and a `team` of None, select all. The upstream of requests that reached none is
    `NO_UPSTREAM`.
    """

    first: date
    last: date
    model: str = ""
    upstream: str = ""
    team: int | None = None


NO_UPSTREAM = "-"

Group = tuple[Any, Figures]


def margins_by(dimension: str, chosen: MarginFilter, most: int) -> list[Group]:
    """Return the sums by one of DIMENSIONS: of days all, the newest first, else the `most` largest.

    A day is a date, a team its account's team id.
    """
    rows, place = _smallest(dimension, chosen)
    sums = rows.order_by().values(place=place).annotate(**SUMS)
    ordered = (
        sums.order_by("-place")
        if dimension == "day"
        else sums.order_by("-sum_charged_nanos", "-sum_upstream_cost_nanos", "place")[:most]
    )
    found = [(row["place"], figures_of(row)) for row in ordered]
    if dimension != "team":
        return found
    # Teams are looked up last: joining each row of the roll-up takes half as long again.
    accounts = CreditAccount.objects.filter(pk__in=[account for account, _ in found])
    teams = dict(accounts.values_list("pk", "team_id"))
    return [(teams[account], sums) for account, sums in found]


def total_of(chosen: MarginFilter) -> Figures:
    """Return the sums of the selection."""
    rows, _ = _smallest("day", chosen)
    return figures_of(rows.aggregate(**SUMS))


def margin_rows(chosen: MarginFilter) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows by day, team, model and upstream, a day at a time, the newest first."""
    day = chosen.last
    while day >= chosen.first:
        rows = _all_four(MarginFilter(day, day, chosen.model, chosen.upstream, chosen.team))
        found = rows.select_related("account__team").order_by("account_id", "model", "upstream")
        batch: list[Any] = list(
            found.values(
                "day",
                "model",
                "upstream",
                "requests",
                "errors",
                "input_tokens",
                "output_tokens",
                "charged_nanos",
                "upstream_cost_nanos",
                team=F("account__team__slug"),
            )
        )
        if batch:
            yield batch
        day -= timedelta(days=1)


def losing_requests(
    chosen: MarginFilter, most: int, before: tuple[datetime, UUID] | None = None
) -> "QuerySet[UsageRecord]":
    """Return the newest requests that cost more than they were charged.

    `before` is the time and the id of a request: only older ones are returned.
    """
    since, until = _moments(chosen)
    rows = UsageRecord.objects.filter(
        created_at__gte=since, created_at__lt=until, upstream_cost_nanos__gt=F("charged_nanos")
    )
    if before is not None:
        moment, request_id = before
        rows = rows.filter(created_at__lte=moment)
        rows = rows.exclude(created_at=moment, request_id__gte=request_id)
    if chosen.model:
        rows = rows.filter(model=chosen.model)
    if chosen.upstream:
        rows = rows.filter(upstream=_name_of(chosen.upstream))
    if chosen.team is not None:
        rows = rows.filter(account__team=chosen.team)
    return rows.select_related("account__team").order_by("-created_at", "-request_id")[:most]


def _smallest(dimension: str, chosen: MarginFilter) -> "tuple[QuerySet[Any], Any]":
    """Return the rows of the smallest roll-up that answers, and the expression to group by."""
    is_by_team = dimension == "team" or chosen.team is not None
    is_by_route = bool(dimension in {"model", "upstream"} or chosen.model or chosen.upstream)
    if is_by_team and is_by_route:
        rows: QuerySet[Any] = _all_four(chosen)
    elif is_by_team:
        rows = TeamDay.objects.filter(day__range=(chosen.first, chosen.last))
        rows = rows if chosen.team is None else rows.filter(account__team=chosen.team)
    else:
        since, until = _moments(chosen)
        rows = _of_route(ServiceHour.objects.filter(hour__gte=since, hour__lt=until), chosen)
        if dimension == "day":
            return rows, TruncDate("hour", tzinfo=UTC)
    return rows, F("account_id" if dimension == "team" else dimension)


def _all_four(chosen: MarginFilter) -> "QuerySet[MarginDay]":
    rows = _of_route(MarginDay.objects.filter(day__range=(chosen.first, chosen.last)), chosen)
    return rows if chosen.team is None else rows.filter(account__team=chosen.team)


def _of_route(rows: "QuerySet[Any]", chosen: MarginFilter) -> "QuerySet[Any]":
    rows = rows.filter(model=chosen.model) if chosen.model else rows
    return rows.filter(upstream=_name_of(chosen.upstream)) if chosen.upstream else rows


def _name_of(upstream: str) -> str:
    return "" if upstream == NO_UPSTREAM else upstream


def _moments(chosen: MarginFilter) -> tuple[datetime, datetime]:
    midnight = datetime.min.time()
    since = datetime.combine(chosen.first, midnight, UTC)
    return since, datetime.combine(chosen.last, midnight, UTC) + timedelta(days=1)

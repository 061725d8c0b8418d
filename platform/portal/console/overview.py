"""The overview: today so far, a chart of thirty days, and what needs attention."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone

from accounts.models import Plan, Team, User
from billing.models import Order
from billing.pricing.money import NANOS_PER_CENT
from billing.usage import overview
from billing.usage.overview import Figures, Parts
from portal.console.attention import concerns_for
from portal.ui.charts import MOST_SERIES, drawn_texts, places_of
from portal.ui.periods import last_days

DAYS = 30
DIMENSIONS = {"model": "Model", "upstream": "Upstream", "team": "Team", "plan": "Plan"}
MEASURES = {
    "revenue": "Revenue",
    "cost": "Upstream cost",
    "margin": "Margin",
    "tokens": "Tokens",
    "calls": "Requests",
    "errors": "Errors",
}
_IN_DOLLARS = {"revenue", "cost", "margin"}
_OTHERS = "All others"


@dataclass(frozen=True)
class Compared:
    """A figure for today so far, and for the same hours a week ago."""

    title: str
    today: int
    week_ago: int
    is_money: bool = False

    @property
    def change_percent(self) -> float | None:
        """The change in percent; None if there was nothing a week ago."""
        return 100 * (self.today - self.week_ago) / abs(self.week_ago) if self.week_ago else None


@dataclass(frozen=True)
class Choice:
    """What the chart shows: dimension, measure, and one day by the hour or all thirty days."""

    dimension: str = "model"
    measure: str = "revenue"
    day: date | None = None


@dataclass(frozen=True)
class Line:
    """A series of the chart: a model, upstream, team or plan, with its total and its page."""

    number: int
    name: str
    total: Figures
    values: list[int]
    url: str = ""


@dataclass(frozen=True)
class Chart:
    """Bars by day or hour, stacked by the lines."""

    choice: Choice
    places: list[datetime]
    lines: list[Line]
    by_place: list[Figures]

    @property
    def labels(self) -> list[str]:
        """The days or hours as text."""
        style = "%H:00" if self.choice.day else "%Y-%m-%d"
        return [f"{place:{style}}" for place in self.places]

    def as_json(self) -> dict[str, Any]:
        """Return what `js/charts.js` draws; a click on a day leads to its hours."""
        query = f"?by={self.choice.dimension}&show={self.choice.measure}&day="
        return {
            "labels": self.labels,
            "ticks": [label[-5:] for label in self.labels],
            "texts": drawn_texts([each.requests for each in self.by_place]),
            "metric": "cost" if self.choice.measure in _IN_DOLLARS else "requests",
            "links": [] if self.choice.day else [f"{query}{label}" for label in self.labels],
            "series": [
                {"number": line.number, "name": line.name, "values": line.values}
                for line in self.lines
            ],
        }

    @property
    def rows(self) -> list[tuple[str, Figures]]:
        """The bars as a table's rows, the newest first."""
        return list(zip(self.labels, self.by_place, strict=True))[::-1]


def figures_of_today() -> list[Compared]:
    """Return today's figures so far beside those of the same hours a week ago."""
    now = timezone.now().astimezone(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    midnight, week = hour.replace(hour=0), timedelta(days=7)
    until = hour + timedelta(hours=1)
    found = overview.by_hour([(midnight, until), (midnight - week, until - week)])
    today = sum((part for at, part in found.items() if at >= midnight), Figures())
    before = sum((part for at, part in found.items() if at < hour - week), Figures())
    # Of the hour a week before the current one, the part that has passed of the current one.
    before += found.get(hour - week, Figures()).part(now.minute * 60 + now.second, 3600)
    return [
        Compared("Revenue", today.charged_nanos, before.charged_nanos, is_money=True),
        Compared(
            "Upstream cost", today.upstream_cost_nanos, before.upstream_cost_nanos, is_money=True
        ),
        Compared("Margin", today.margin_nanos, before.margin_nanos, is_money=True),
        Compared("Tokens", today.tokens, before.tokens),
        Compared("Requests", today.requests, before.requests),
        Compared("Errors", today.errors, before.errors),
        Compared(
            "Active teams",
            overview.active_teams(midnight, until),
            overview.active_teams(midnight - week, until - week),
        ),
        *_people_and_money(midnight, now, week),
    ]


def chart_of(choice: Choice) -> Chart | None:
    """Return the chart of a choice; None if there was no usage."""
    parts = _parts_of(choice)
    if not parts:
        return None
    totals: defaultdict[str, Figures] = defaultdict(Figures)
    by_place: defaultdict[datetime, Figures] = defaultdict(Figures)
    for (place, key), part in parts.items():
        totals[key] += part
        by_place[place] += part
    places = places_of(*_span(choice), by_hour=choice.day is not None)
    measure = choice.measure
    ordered = sorted((key for key in totals if key), key=lambda key: -_value(totals[key], measure))
    alone = ordered if len(totals) <= MOST_SERIES else ordered[: MOST_SERIES - 1]
    names = _names_of(choice.dimension, alone)
    lines = [
        Line(
            number,
            names.get(key, key) or "None",
            totals[key],
            [_value(parts.get((place, key), Figures()), measure) for place in places],
            _url_of(choice.dimension, key),
        )
        for number, key in enumerate(alone, 1)
    ]
    rest = [key for key in totals if key not in alone]
    if rest:
        lines.append(_rest(choice, parts, places, rest, totals))
    return Chart(choice, places, lines, [by_place[place] for place in places])


def _rest(
    choice: Choice,
    parts: Parts,
    places: list[datetime],
    keys: list[str],
    totals: dict[str, Figures],
) -> Line:
    """Return the line of all groups without a line of their own."""
    sums = [
        sum((parts.get((place, key), Figures()) for key in keys), Figures()) for place in places
    ]
    total = sum((totals[key] for key in keys), Figures())
    is_unnamed = keys == [""] and choice.dimension in {"model", "upstream"}
    name = "None" if is_unnamed else _OTHERS
    return Line(MOST_SERIES, name, total, [_value(each, choice.measure) for each in sums])


def _parts_of(choice: Choice) -> Parts:
    day, most = choice.day, MOST_SERIES - 1
    since, until = _span(choice)
    if choice.dimension == "team":
        return (
            overview.hours_by_team(day, most) if day else overview.days_by_team(since, until, most)
        )
    if choice.dimension == "plan":
        return overview.hours_by_plan(day) if day else overview.days_by_plan(since, until)
    is_by_hour = day is not None
    return overview.hours_of_service(choice.dimension, since, until, is_by_hour=is_by_hour)


def _span(choice: Choice) -> tuple[datetime, datetime]:
    if choice.day is None:
        days = last_days(DAYS)
        return days.since, days.until
    since = datetime.combine(choice.day, datetime.min.time(), UTC)
    return since, since + timedelta(days=1)


def _value(figures: Figures, measure: str) -> int:
    return {
        "revenue": figures.charged_nanos,
        "cost": figures.upstream_cost_nanos,
        "margin": figures.margin_nanos,
        "tokens": figures.tokens,
        "calls": figures.requests,
        "errors": figures.errors,
    }[measure]


def _url_of(dimension: str, key: str) -> str:
    """Return where a line leads: to the team, or to the list of what it names."""
    if dimension == "team":
        return reverse("console:customer", args=[key])
    if dimension == "plan":
        return f"{reverse('admin:accounts_team_changelist')}?{urlencode({'plan__id__exact': key})}"
    return f"{reverse(f'admin:api_{dimension}_changelist')}?{urlencode({'q': key})}"


def _names_of(dimension: str, keys: list[str]) -> dict[str, str]:
    """Return the names of teams and plans by their ids; models and upstreams have their own."""
    if dimension == "team":
        return {
            str(pk): name for pk, name in Team.objects.filter(pk__in=keys).values_list("pk", "name")
        }
    if dimension == "plan":
        plans = Plan.objects.filter(pk__in=keys).values_list("pk", "title")
        return {str(pk): title for pk, title in plans}
    return {}


def _people_and_money(midnight: datetime, now: datetime, week: timedelta) -> list[Compared]:
    today = {"gte": midnight, "lte": now}
    before = {"gte": midnight - week, "lte": now - week}

    def within(field: str, span: dict[str, datetime]) -> Q:
        return Q(**{f"{field}__{name}": at for name, at in span.items()})

    users = User.objects.filter(created_at__gte=midnight - week).aggregate(
        today=Count("pk", filter=within("created_at", today)),
        before=Count("pk", filter=within("created_at", before)),
    )
    paid = Order.objects.filter(state=Order.State.PAID, ended_at__gte=midnight - week).aggregate(
        today=Sum("amount_cents", filter=within("ended_at", today), default=0),
        before=Sum("amount_cents", filter=within("ended_at", before), default=0),
    )
    return [
        Compared("Sign-ups", users["today"], users["before"]),
        Compared(
            "Top-ups",
            paid["today"] * NANOS_PER_CENT,
            paid["before"] * NANOS_PER_CENT,
            is_money=True,
        ),
    ]


def index(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the admin's index (unfold's DASHBOARD_CALLBACK).

    Figures are shown to staff who may view them; all staff see the concerns they may view.
    """
    staff = cast(User, request.user)
    context |= {"title": "Overview", "concerns": concerns_for(staff)}
    if not staff.has_perm("billing.view_servicehour"):
        return context
    choice = read_choice(request.GET)
    return context | {
        "figures": figures_of_today(),
        "chart": chart_of(choice),
        "choice": choice,
        "measures": MEASURES,
        "dimensions": DIMENSIONS,
        "measure_title": MEASURES[choice.measure],
        "dimension_title": DIMENSIONS[choice.dimension],
        "rolled_up_at": overview.rolled_up_at(),
    }


def read_choice(query: QueryDict) -> Choice:
    """Return what the query asks for; invalid values are ignored."""
    dimension, measure = query.get("by", ""), query.get("show", "")
    try:
        day = date.fromisoformat(query.get("day", ""))
    except ValueError:
        day = None
    return Choice(
        dimension if dimension in DIMENSIONS else "model",
        measure if measure in MEASURES else "revenue",
        day if day and date(2000, 1, 1) <= day <= date(2200, 1, 1) else None,
    )

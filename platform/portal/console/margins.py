"""The margins page: what is asked, the sums as lines with links further down, and the CSV file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict

from accounts.models import Team
from billing.models import UsageRecord
from billing.pricing.money import dollars_text
from billing.usage import margin_sums
from billing.usage.margin_sums import DIMENSIONS, NO_UPSTREAM, MarginFilter
from billing.usage.overview import Figures
from portal.ui.csv import Row
from portal.ui.periods import MOST_DAYS, last_days

DAYS = 30
MOST_LINES = 200
MOST_REQUESTS = 50
TITLES = {"day": "Day", "model": "Model", "upstream": "Upstream", "team": "Team"}
CSV_HEADER: Row = [
    "day_utc",
    "team",
    "model",
    "upstream",
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "revenue_usd",
    "upstream_cost_usd",
    "margin_usd",
]


@dataclass(frozen=True)
class Question:
    """What the page shows: sums by a dimension, of a selection."""

    by: str
    chosen: MarginFilter

    def query(self, **changes: Any) -> str:
        """Return the query string of the same question with changes."""
        chosen = self.chosen
        asked = {
            "by": self.by,
            "first": chosen.first,
            "last": chosen.last,
            "model": chosen.model,
            "upstream": chosen.upstream,
            "team": "" if chosen.team is None else chosen.team,
            **changes,
        }
        return urlencode({name: value for name, value in asked.items() if value != ""})


@dataclass(frozen=True)
class MarginLine:
    """Sums of a day, model, upstream or team; `narrower` leads to what it consists of."""

    name: str
    sums: Figures
    narrower: str
    losing: str

    @property
    def percent(self) -> float | None:
        """The margin in percent of the revenue; None without revenue."""
        return percent_of(self.sums)


def percent_of(sums: Figures) -> float | None:
    """Return the margin in percent of the revenue; None without revenue."""
    return 100 * sums.margin_nanos / sums.charged_nanos if sums.charged_nanos else None


def read_question(query: QueryDict) -> Question:
    """Return what the query asks for; invalid values are ignored, long periods cut."""
    days = last_days(DAYS)
    first, last = _day(query.get("first"), days.first), _day(query.get("last"), days.last)
    if first > last or (last - first).days >= MOST_DAYS:
        first, last = days.first, days.last
    by, team = query.get("by", ""), query.get("team", "")
    model, upstream = (query.get(name, "").replace("\0", "") for name in ("model", "upstream"))
    is_team = team.isascii() and team.isdigit() and len(team) <= 18
    chosen = MarginFilter(first, last, model, upstream, int(team) if is_team else None)
    return Question(by if by in DIMENSIONS else "model", chosen)


def page_context(asked: Question) -> dict[str, Any]:
    """Return the page's lines, their total, and what can be chosen."""
    chosen = asked.chosen
    groups = margin_sums.margins_by(asked.by, chosen, MOST_LINES)
    total = margin_sums.total_of(chosen)
    names = _names([key for key, _ in groups]) if asked.by == "team" else {}
    team = Team.objects.filter(pk=chosen.team).first() if chosen.team is not None else None
    return {
        "asked": asked,
        "lines": [_line(asked, key, sums, names) for key, sums in groups],
        "is_cut": len(groups) == MOST_LINES,
        "total": total,
        "total_percent": percent_of(total),
        "dimensions": [(name, TITLES[name], asked.query(by=name)) for name in DIMENSIONS],
        "dimension_title": TITLES[asked.by],
        "filters": _filters(asked, team),
        "csv_query": asked.query(by=""),
        "losing_query": asked.query(by=""),
    }


def losing_context(asked: Question, before: str) -> dict[str, Any]:
    """Return the newest requests of the selection that cost more than they were charged.

    `before` names the last request of the page before, or is empty.
    """
    found: list[UsageRecord] = list(
        margin_sums.losing_requests(asked.chosen, MOST_REQUESTS + 1, _place(before))
    )
    shown = found[:MOST_REQUESTS]
    team = asked.chosen.team
    rows = [(row, row.charged_nanos - row.upstream_cost_nanos) for row in shown]
    older = f"{shown[-1].created_at.isoformat()}_{shown[-1].pk}" if shown else ""
    return {
        "asked": asked,
        "rows": rows,
        "older_query": asked.query(by="", before=older) if len(found) > MOST_REQUESTS else "",
        "back_query": asked.query(),
        "filters": _filters(asked, Team.objects.filter(pk=team).first() if team else None),
    }


def csv_rows(asked: Question) -> Iterator[list[Row]]:
    """Yield the rows by day, team, model and upstream, a day at a time."""
    for batch in margin_sums.margin_rows(asked.chosen):
        yield [
            [
                row["day"].isoformat(),
                row["team"] or "",
                row["model"],
                row["upstream"],
                row["requests"],
                row["errors"],
                row["input_tokens"],
                row["output_tokens"],
                dollars_text(row["charged_nanos"]),
                dollars_text(row["upstream_cost_nanos"]),
                _signed(row["charged_nanos"] - row["upstream_cost_nanos"]),
            ]
            for row in batch
        ]


def _signed(nanos: int) -> str:
    return f"-{dollars_text(-nanos)}" if nanos < 0 else dollars_text(nanos)


def _line(asked: Question, key: Any, sums: Figures, names: dict[int, str]) -> MarginLine:
    chosen, by = asked.chosen, asked.by
    if by == "day":
        name, narrowed = key.isoformat(), replace(chosen, first=key, last=key)
    elif by == "team":
        name, narrowed = names.get(key, "No team"), replace(chosen, team=key)
    elif by == "upstream":
        name = key or "No upstream was called"
        narrowed = replace(chosen, upstream=key or NO_UPSTREAM)
    else:
        name, narrowed = key, replace(chosen, model=key)
    further = Question(_next(by, narrowed), narrowed)
    return MarginLine(name, sums, further.query(), further.query(by=""))


def _next(by: str, chosen: MarginFilter) -> str:
    """Return the dimension to go on with: the first that is not chosen yet."""
    taken = {
        "model": chosen.model,
        "upstream": chosen.upstream,
        "team": chosen.team is not None,
        "day": chosen.first == chosen.last,
    }
    return next((name for name, is_taken in taken.items() if not is_taken), by)


def _filters(asked: Question, team: Team | None) -> list[tuple[str, str, str]]:
    """Return what the selection is narrowed to: title, value, and the query without it."""
    chosen, found = asked.chosen, []
    if chosen.model:
        found.append(("Model", chosen.model, asked.query(model="")))
    if chosen.upstream:
        name = "none" if chosen.upstream == NO_UPSTREAM else chosen.upstream
        found.append(("Upstream", name, asked.query(upstream="")))
    if chosen.team is not None:
        name = team.name if team is not None else str(chosen.team)
        found.append(("Team", name, asked.query(team="")))
    return found


def _place(text: str) -> tuple[datetime, UUID] | None:
    """Return the time and the id that a link to older requests names; None for anything else."""
    moment, _, request_id = text.partition("_")
    try:
        found = datetime.fromisoformat(moment), UUID(request_id)
    except ValueError:
        return None
    return found if found[0].tzinfo is not None else None


def _names(teams: list[int]) -> dict[int, str]:
    return dict(Team.objects.filter(pk__in=teams).values_list("pk", "name"))


def _day(text: str | None, default: date) -> date:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return default
    return day if date(2000, 1, 1) <= day <= date(2200, 1, 1) else default

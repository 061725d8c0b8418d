"""What the pages of upstreams' statements read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet

from api.models import UsageSource
from api.usage_reports import Compared, compare
from billing.models import StatementLine, UpstreamStatement

PAGE_LINES = 50
_BATCH_LINES = 2000
_SHOWN_STATEMENTS = 100
_SUMS = (
    *("their_requests", "our_requests", "their_cost_nanos", "our_cost_nanos"),
    *("their_input_tokens", "our_input_tokens", "their_output_tokens", "our_output_tokens"),
    *("different", "missing_here", "missing_there", "estimated"),
)


@dataclass(frozen=True)
class LineFilter:
    """Which of a statement's lines are shown: by state, day (UTC) and model."""

    SHOWN: ClassVar[dict[str, str]] = {
        "": "All",
        "different": "Different",
        "missing_here": "Not in our records",
        "missing_there": "Not in the export",
        "estimated": "Estimated by us",
        "open": "To be corrected",
        "uncovered": "Balance too low",
        "posted": "Corrected",
    }

    state: str = ""
    day: date | None = None
    model: str | None = None

    @classmethod
    def read(cls, query: Mapping[str, Any]) -> "LineFilter":
        """Return the filter that a query string names; what it can't be is left out."""
        state, model = query.get("state", ""), query.get("model")
        try:
            day = date.fromisoformat(query.get("day", ""))
        except ValueError:
            day = None
        if model is not None:
            model = str(model).replace("\0", "")
        return cls(state if state in cls.SHOWN else "", day, model)

    @property
    def query(self) -> dict[str, str]:
        """The filter as a query string's fields."""
        named = {"state": self.state, "day": self.day.isoformat() if self.day else ""}
        found = {name: value for name, value in named.items() if value}
        return found if self.model is None else {**found, "model": self.model}

    @property
    def rest(self) -> dict[str, str]:
        """The fields besides the state."""
        return {name: value for name, value in self.query.items() if name != "state"}

    def apply(self, statement: UpstreamStatement) -> QuerySet[StatementLine]:
        """Return the statement's lines that the filter chooses."""
        found = StatementLine.objects.filter(statement=statement)
        if self.state == "estimated":
            found = found.filter(is_estimated=True)
        elif self.state in ("open", "uncovered", "posted"):
            found = found.filter(correction=self.state)
        elif self.state:
            found = found.filter(state=self.state)
        if self.day is not None:
            start = datetime.combine(self.day, datetime.min.time(), UTC)
            found = found.filter(at__gte=start, at__lt=start + timedelta(days=1))
        if self.model is not None:
            found = found.filter(model=self.model)
        return found.order_by("pk")


def line_page(
    statement: UpstreamStatement, chosen: LineFilter, after: str
) -> tuple[list[StatementLine], int | None]:
    """Return a page of lines, and the id after which the next one begins; None for the last."""
    place = int(after) if after.isdecimal() and after.isascii() and len(after) < 19 else 0
    lines = list(chosen.apply(statement).filter(pk__gt=place)[: PAGE_LINES + 1])
    shown = lines[:PAGE_LINES]
    return shown, shown[-1].pk if len(lines) > PAGE_LINES else None


def line_batches(statement: UpstreamStatement, chosen: LineFilter) -> Iterator[list[StatementLine]]:
    """Yield the lines batch by batch, each a query of its own."""
    place = 0
    while lines := list(chosen.apply(statement).filter(pk__gt=place)[:_BATCH_LINES]):
        yield lines
        place = lines[-1].pk


def recent_statements() -> list[UpstreamStatement]:
    """Return the newest statements."""
    found = UpstreamStatement.objects.select_related("uploaded_by").order_by("-created_at")
    return list(found[:_SHOWN_STATEMENTS])


def upstream_sums() -> list[dict[str, Any]]:
    """Return the sums of all compared statements by upstream."""
    sums: dict[str, dict[str, Any]] = {}
    compared = UpstreamStatement.objects.filter(compared_at__isnull=False).order_by("upstream")
    for upstream, total in compared.values_list("upstream", "drift__total").iterator():
        row = sums.setdefault(upstream, {"name": upstream, **dict.fromkeys(_SUMS, 0)})
        for name in _SUMS:
            row[name] += (total or {}).get(name) or 0
    return drift_rows(list(sums.values()))


def usage_sources() -> list[UsageSource]:
    """Return the APIs that upstreams' usage is read from."""
    return list(UsageSource.objects.select_related("upstream").order_by("upstream__name"))


def usage_rows(
    source: UsageSource, day: str | None, model: str | None
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of drift by day and by model, of all that was read, or of one of either."""
    compared = [
        each
        for each in compare(source)
        if day in (None, each.day.isoformat()) and model in (None, each.model)
    ]
    by_day = _grouped(compared, lambda each: each.day.isoformat())
    by_model = _grouped(compared, lambda each: each.model)
    by_model.sort(key=lambda row: (-row["their_cost_nanos"], row["name"]))
    return {"days": drift_rows(by_day), "models": drift_rows(by_model)}


def _grouped(compared: list[Compared], name_of: Callable[[Compared], str]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for each in compared:
        name = name_of(each)
        row = rows.setdefault(name, {"name": name, **dict.fromkeys(_SUMS[:8], 0)})
        for side, sums in (("their", each.theirs), ("our", each.ours)):
            for field, value in vars(sums).items():
                row[f"{side}_{field}"] += value
    return list(rows.values())


def drift_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the difference in cost: theirs less ours, None where it is unknown."""
    return [{**row, "drift_nanos": _drift(row)} for row in rows]


def _drift(row: dict[str, Any]) -> int | None:
    theirs, ours = row["their_cost_nanos"], row["our_cost_nanos"]
    return None if theirs is None else theirs - ours

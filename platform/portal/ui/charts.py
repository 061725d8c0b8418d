"""Charts of spending: bars for each day or hour, stacked by model, with the table they are of."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.usage.records import Sums, UsageSum

MOST_SERIES = 6  # as many as there are --series-N tokens; the last is for all others
OTHERS = "Other models"


@dataclass(frozen=True)
class Series:
    """A model's part of the chart; `number` is its colour's."""

    number: int
    name: str
    amounts_nanos: list[int]

    @property
    def total_nanos(self) -> int:
        """The total, in nano-dollars."""
        return sum(self.amounts_nanos)


@dataclass(frozen=True)
class Bar:
    """A day or an hour in the table beside the chart."""

    label: str
    sum: UsageSum


@dataclass(frozen=True)
class Chart:
    """Bars from the first moment to the last, and the series they are stacked of."""

    bars: list[Bar]
    series: list[Series]

    def as_json(self) -> dict[str, Any]:
        """Return what `js/charts.js` draws. A million dollars is well within its numbers."""
        return {
            "labels": [bar.label for bar in self.bars],
            "requests": [bar.sum.requests for bar in self.bars],
            "series": [
                {"number": each.number, "name": each.name, "nanos": each.amounts_nanos}
                for each in self.series
            ],
        }


def chart_of(
    sums: Sums, since: datetime, until: datetime, *, by_hour: bool = False
) -> Chart | None:
    """Return the chart of the sums, which are by day or by hour; None where nothing was used."""
    if not sums:
        return None
    places = list(_places(since, until, timedelta(hours=1) if by_hour else timedelta(days=1)))
    by_place: defaultdict[datetime, UsageSum] = defaultdict(UsageSum)
    spent: defaultdict[str, int] = defaultdict(int)
    for (place, model), part in sums.items():
        by_place[place] += part
        spent[model] += part.charged_nanos
    style = "%m-%d %H:00" if by_hour else "%Y-%m-%d"
    return Chart(
        bars=[Bar(f"{place:{style}}", by_place[place]) for place in places],
        series=_series(sums, places, sorted(spent, key=lambda model: (-spent[model], model))),
    )


def _places(since: datetime, until: datetime, step: timedelta) -> Iterator[datetime]:
    while since < until:
        yield since
        since += step


def _series(sums: Sums, places: list[datetime], models: list[str]) -> list[Series]:
    """Return the models' series, most expensive first, the many cheap ones as one."""
    alone = models if len(models) <= MOST_SERIES else models[: MOST_SERIES - 1]
    series = [
        Series(number, model, [_nanos(sums, place, [model]) for place in places])
        for number, model in enumerate(alone, 1)
    ]
    if len(alone) < len(models):
        rest = models[len(alone) :]
        amounts = [_nanos(sums, place, rest) for place in places]
        series.append(Series(MOST_SERIES, OTHERS, amounts))
    return series


def _nanos(sums: Sums, place: datetime, models: list[str]) -> int:
    return sum(sums[place, model].charged_nanos for model in models if (place, model) in sums)

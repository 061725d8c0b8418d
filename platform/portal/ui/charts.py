"""Charts of usage: bars or lines by day or hour and group, with the table they are of."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.formats import day_format, day_of_year_format, number_text, whole_text
from billing.usage.records import Sums, UsageSum, total
from portal.ui.money import dollars, parts_in_cents

MOST_SERIES = 6  # as many as there are --series-N tokens; the last is for all others


class Metric(StrEnum):
    """What a chart shows."""

    COST = "cost"
    TOKENS = "tokens"
    REQUESTS = "requests"
    LATENCY = "latency"
    CACHE = "cache"

    @property
    def label(self) -> str:
        """The metric's name for people."""
        return str(METRIC_LABELS[self])

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean or a share, which is drawn as lines: parts of it don't add up."""
        return self in {Metric.LATENCY, Metric.CACHE}

    def of(self, part: UsageSum) -> float | None:
        """Return the figure: nano-dollars, tokens, requests, milliseconds or percent."""
        match self:
            case Metric.COST:
                return part.charged_nanos
            case Metric.TOKENS:
                return part.input_tokens + part.output_tokens
            case Metric.REQUESTS:
                return part.requests
            case Metric.LATENCY:
                return part.latency_ms
        return 100 * part.cached_tokens / part.input_tokens if part.input_tokens else None

    def text(self, part: UsageSum) -> str:
        """Return the figure as text."""
        value = self.of(part)
        if value is None:
            return _("none")
        match self:
            case Metric.COST:
                return dollars(int(value))
            case Metric.LATENCY:
                return _("{number} s").format(number=number_text(f"{value / 1000:,.2f}"))
            case Metric.CACHE:
                return _("{number}%").format(number=number_text(f"{value:.1f}"))
        return whole_text(round(value))


METRIC_LABELS = {
    Metric.COST: gettext_lazy("Cost"),
    Metric.TOKENS: gettext_lazy("Tokens"),
    Metric.REQUESTS: gettext_lazy("Requests"),
    Metric.LATENCY: gettext_lazy("Latency"),
    Metric.CACHE: gettext_lazy("Cache hits"),
}


@dataclass(frozen=True)
class Series:
    """A group's part of the chart; `number` is its color's, and `url` narrows to the group."""

    number: int
    name: str
    parts: list[UsageSum]
    metric: Metric = Metric.COST
    url: str = ""

    @property
    def values(self) -> list[float | None]:
        """The figures, by day or hour."""
        return [self.metric.of(part) for part in self.parts]

    @property
    def total_nanos(self) -> int:
        """The total cost, in nano-dollars."""
        return sum(part.charged_nanos for part in self.parts)


@dataclass(frozen=True)
class Bar:
    """A day or an hour in the table beside the chart; `tick` is its label below the chart."""

    label: str
    tick: str
    sum: UsageSum
    figure: str


@dataclass(frozen=True)
class Chart:
    """Bars from the first moment to the last, and the series they are stacked of.

    `others` are what the last series sums up: each group's name, total and URL.
    """

    bars: list[Bar]
    series: list[Series]
    metric: Metric = Metric.COST
    others: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def legend(self) -> list[tuple[Series, str]]:
        """Each series with its total; costs are rounded to cents that add up as shown."""
        if self.metric is Metric.COST:
            texts = parts_in_cents([each.total_nanos for each in self.series])
        else:
            texts = [self.metric.text(total(each.parts)) for each in self.series]
        return list(zip(self.series, texts, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Return what `js/charts.js` draws. A million dollars is well within its numbers."""
        return {
            "metric": self.metric,
            "labels": [bar.label for bar in self.bars],
            "ticks": [bar.tick for bar in self.bars],
            "texts": drawn_texts([bar.sum.requests for bar in self.bars]),
            "series": [
                {"number": each.number, "name": each.name, "values": each.values, "url": each.url}
                for each in self.series
            ],
        }


def drawn_texts(requests: list[int]) -> dict[str, Any]:
    """Return the words of a drawn chart; `requests` are the numbers of its days or hours."""
    return {
        "total": _("Total"),
        "seconds": _("{number} s"),
        "percent": _("{number}%"),
        "requests": [
            ngettext("{number} request", "{number} requests", number).format(
                number=whole_text(number)
            )
            for number in requests
        ],
    }


def chart_of(
    sums: Sums,
    since: datetime,
    until: datetime,
    *,
    by_hour: bool = False,
    metric: Metric = Metric.COST,
    name_of: Callable[[str], str] = str,
    url_of: Callable[[str], str] = lambda group: "",
) -> Chart | None:
    """Return the chart of sums by day or hour and group; None where nothing was used.

    `name_of` and `url_of` return a group's name and the URL of the page that is narrowed to it.
    Groups with the same name are one series, with the URL of the first.
    """
    if not sums:
        return None
    places = places_of(since, until, by_hour=by_hour)
    by_place: defaultdict[datetime, UsageSum] = defaultdict(UsageSum)
    named: dict[tuple[datetime, str], UsageSum] = defaultdict(UsageSum)
    urls: dict[str, str] = {}
    weights: defaultdict[str, int] = defaultdict(int)
    for (place, group), part in sums.items():
        name = name_of(group)
        by_place[place] += part
        named[place, name] += part
        if name not in urls:
            urls[name] = url_of(group)
        # Means have no largest part: the groups with most requests come first.
        weights[name] += part.requests if metric.is_mean else int(metric.of(part) or 0)
    bars = [_bar(place, by_place[place], metric, by_hour=by_hour) for place in places]
    names = sorted(weights, key=lambda name: (-weights[name], name))
    series = _series(named, places, names, urls, metric)
    summed_up = names[MOST_SERIES - 1 :] if len(names) > MOST_SERIES else []
    others = [
        (name, metric.text(total(named[at, name] for at in places)), urls[name])
        for name in summed_up
    ]
    return Chart(bars, series, metric, others)


def _bar(place: datetime, part: UsageSum, metric: Metric, *, by_hour: bool) -> Bar:
    day, hour = place.strftime(day_of_year_format()), f"{place:%H:00}"
    label = f"{day} {hour}" if by_hour else place.strftime(day_format())
    return Bar(label, hour if by_hour else day, part, metric.text(part))


def places_of(since: datetime, until: datetime, *, by_hour: bool) -> list[datetime]:
    """Return the days, or the hours, that a chart has from `since` to before `until`."""
    step = timedelta(hours=1) if by_hour else timedelta(days=1)
    return [since + number * step for number in range(ceil((until - since) / step))]


def _series(
    sums: Sums, places: list[datetime], names: list[str], urls: dict[str, str], metric: Metric
) -> list[Series]:
    """Return the series, the largest first, the many small ones as one."""
    alone = names if len(names) <= MOST_SERIES else names[: MOST_SERIES - 1]
    none = UsageSum()
    series = [
        Series(number, name, [sums.get((at, name), none) for at in places], metric, urls[name])
        for number, name in enumerate(alone, 1)
    ]
    if len(alone) < len(names):
        rest = names[len(alone) :]
        parts = [total(sums.get((at, name), none) for name in rest) for at in places]
        series.append(
            Series(MOST_SERIES, _("Other ({number})").format(number=len(rest)), parts, metric)
        )
    return series

"""What a key has cost by day, as bars that need no script."""

from dataclasses import dataclass

from billing.usage.key_spending import DayOfUse

WIDTH, HEIGHT = 300, 80
_LOWEST = 2  # a day that cost anything can be seen


@dataclass(frozen=True)
class DayBar:
    """A day's bar in the drawing's units, whose origin is the upper left."""

    use: DayOfUse
    x: float
    y: int
    width: float
    height: int


@dataclass(frozen=True)
class DailyCost:
    """The bars of some days, oldest first, and the sums over them."""

    bars: list[DayBar]
    charged_nanos: int
    requests: int
    most_nanos: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def requests_text(self) -> str:
        """How many requests there were, in words."""
        return "1 request" if self.requests == 1 else f"{self.requests:,} requests"


def daily_cost_of(days: list[DayOfUse]) -> DailyCost:
    """Returns the bars: the dearest day's is as high as the drawing."""
    most = max((day.charged_nanos for day in days), default=0)
    step = WIDTH / max(len(days), 1)
    bars = []
    for index, day in enumerate(days):
        height = max(_LOWEST, day.charged_nanos * HEIGHT // most) if day.charged_nanos else 0
        bars.append(
            DayBar(day, round(index * step, 2), HEIGHT - height, round(step * 0.7, 2), height)
        )
    return DailyCost(
        bars=bars,
        charged_nanos=sum(day.charged_nanos for day in days),
        requests=sum(day.requests for day in days),
        most_nanos=most,
    )

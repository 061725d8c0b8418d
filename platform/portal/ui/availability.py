"""The models' availability: now, and day by day.

All of it is computed from the relay's counts of real requests.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDay
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.formats import day_format, number_text
from api.catalogue.snapshot import ModelEntry
from api.gateway.health import LEAST_FAILURES, state_of
from api.models import ModelHealth, ModelHealthHour

DAYS = 30
NOW_MINUTES = 5
# A day's bar is good from this success rate up, and bad where the day counts as degraded.
GOOD_SHARE = 0.99
BAR_STEP = 10
BARS_WIDTH = BAR_STEP * DAYS - 3
_SUMS = ("succeeded", "failed", "latency_ms_total", "first_token_ms_total", "first_token_count")


@dataclass(frozen=True)
class Day:
    """A model's day (UTC). `tone` is good, warn, bad or none; `x` is the place of its bar."""

    date: date
    tone: str
    share: str
    x: int

    @property
    def text(self) -> str:
        """The date as the reader writes it."""
        return self.date.strftime(day_format())


@dataclass(frozen=True)
class ModelStatus:
    """One model's availability. `share` and the times are over all days, empty without requests."""

    name: str
    title: str
    kind: str
    state: str
    days: list[Day]
    share: str
    first_token_seconds: str
    answer_seconds: str

    @property
    def summary(self) -> str:
        """The bars in words, for those who can't see them."""
        counts = {tone: sum(day.tone == tone for day in self.days) for tone in TONES}
        parts = [_tone_text(tone, number) for tone, number in counts.items() if number]
        return _("Last {days} days: {parts}.").format(days=DAYS, parts=", ".join(parts))


TONES = ("good", "warn", "bad", "none")


def _tone_text(tone: str, number: int) -> str:
    """Return how many days have the tone."""
    match tone:
        case "good":
            text = ngettext(
                "{number} with 99% or more successful",
                "{number} with 99% or more successful",
                number,
            )
        case "warn":
            text = ngettext("{number} with more than 90%", "{number} with more than 90%", number)
        case "bad":
            text = ngettext("{number} with 90% or less", "{number} with 90% or less", number)
        case _:
            text = ngettext("{number} without requests", "{number} without requests", number)
    return text.format(number=number)


def current_states(models: Iterable[ModelEntry], now: datetime) -> dict[str, str]:
    """Return each model's measured state, as in `/health`."""
    recent = ModelHealth.objects.filter(minute__gt=now - timedelta(minutes=NOW_MINUTES))
    seen = {
        row["model"]: (row["ok"], row["bad"])
        for row in recent.values("model").annotate(ok=Sum("succeeded"), bad=Sum("failed"))
    }
    return {
        model.name: state_of(*seen.get(model.name, (0, 0))) if model.routes else "offline"
        for model in models
    }


def histories(
    models: Iterable[ModelEntry], states: dict[str, str], now: datetime
) -> list[ModelStatus]:
    """Return the models' statuses, with their last 30 days, in the catalogue's order."""
    today = now.astimezone(UTC).date()
    by_model: dict[str, dict[date, dict[str, Any]]] = defaultdict(dict)
    models = list(models)
    hours = hours_since(now).filter(model__in=[model.name for model in models])
    for row in (
        hours.annotate(day=TruncDay("hour", tzinfo=UTC))
        .values("model", "day")
        .annotate(**{f"{name}_sum": Sum(name) for name in _SUMS})
    ):
        by_model[row["model"]][row["day"].date()] = row
    days = [today - timedelta(days=DAYS - 1 - place) for place in range(DAYS)]
    return [_status(model, states[model.name], days, by_model[model.name]) for model in models]


def hours_since(now: datetime) -> QuerySet[ModelHealthHour]:
    """Return the hours of the days that are shown."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return ModelHealthHour.objects.filter(hour__gte=today - timedelta(days=DAYS - 1))


def _status(
    model: ModelEntry, state: str, days: list[date], rows: dict[date, dict[str, Any]]
) -> ModelStatus:
    totals = {name: sum(row[f"{name}_sum"] for row in rows.values()) for name in _SUMS}
    shown = []
    for place, day in enumerate(days):
        row = rows.get(day, {})
        succeeded, failed = row.get("succeeded_sum", 0), row.get("failed_sum", 0)
        share = percent(succeeded, succeeded + failed)
        shown.append(Day(day, _tone(succeeded, failed), share, place * BAR_STEP))
    return ModelStatus(
        name=model.name,
        title=model.title or model.name,
        kind=model.kind,
        state=state,
        days=shown,
        share=percent(totals["succeeded"], totals["succeeded"] + totals["failed"]),
        first_token_seconds=seconds_text(
            totals["first_token_ms_total"], totals["first_token_count"]
        ),
        answer_seconds=seconds_text(totals["latency_ms_total"], totals["succeeded"]),
    )


def _tone(succeeded: int, failed: int) -> str:
    total = succeeded + failed
    if not total:
        return "none"
    # As for the current state, one or two failed requests are not significant.
    if failed < LEAST_FAILURES or succeeded >= GOOD_SHARE * total:
        return "good"
    # The colour of a bar and the name of a state follow one rule.
    return "warn" if state_of(succeeded, failed) == "operational" else "bad"


def percent(part: int, whole: int) -> str:
    """Return a share rounded down, so that 100% means every one; empty where there is none."""
    if not whole:
        return ""
    hundredths = part * 10_000 // whole
    if hundredths == 10_000:
        return _("{number}%").format(number=100)
    number = number_text(f"{hundredths // 100}.{hundredths % 100:02d}")
    return _("{number}%").format(number=number)


def seconds_text(total_ms: int, count: int) -> str:
    """Return the mean in seconds; empty where there is none."""
    if not count or not total_ms:
        return ""
    return _("{number} s").format(number=number_text(f"{total_ms / count / 1000:.2f}"))

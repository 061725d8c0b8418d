"""The hours in which models had problems, computed from the relay's counts of real requests.

`portal.ui.availability` has the models' states and days; `events` has what staff post.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F

from api.catalogue.snapshot import ModelEntry
from api.gateway.health import DEGRADED_SHARE, LEAST_FAILURES, state_of
from api.models import ModelHealthHour
from portal.ui.availability import hours_since, percent

MOST_INCIDENTS = 20
_HOUR = timedelta(hours=1)


@dataclass
class Incident:
    """Hours in a row in which models had problems. `ended_at` is None while it lasts."""

    models: list[str]
    state: str
    began_at: datetime
    ended_at: datetime | None
    failed_share: str


def incidents(
    models: Iterable[ModelEntry], states: dict[str, str], now: datetime
) -> list[Incident]:
    """Return the latest times in which models had problems, the newest first.

    An hour counts as a problem by the same rule as `/health`'s minutes. Models whose problem began
    and ended together share an incident.
    """
    names = [model.name for model in models]
    affected = (
        hours_since(now)
        .filter(model__in=names, failed__gte=LEAST_FAILURES)
        .filter(failed__gte=(F("succeeded") + F("failed")) * DEGRADED_SHARE)
        .order_by("model", "hour")
    )
    together: dict[tuple[datetime, datetime | None, str], list[_Problem]] = defaultdict(list)
    for problem in _runs(affected):
        is_ongoing = problem.last + _HOUR > now and states[problem.model] != "operational"
        ended_at = None if is_ongoing else min(problem.last + _HOUR, now)
        together[problem.first, ended_at, problem.state].append(problem)
    found = [
        Incident(
            models=[problem.model for problem in problems],
            state=state,
            began_at=began_at,
            ended_at=ended_at,
            failed_share=percent(
                sum(each.failed for each in problems), sum(each.total for each in problems)
            ),
        )
        for (began_at, ended_at, state), problems in together.items()
    ]
    return sorted(found, key=lambda each: each.began_at, reverse=True)[:MOST_INCIDENTS]


@dataclass
class _Problem:
    """One model's consecutive hours with a problem."""

    model: str
    first: datetime
    last: datetime
    state: str
    failed: int
    total: int


def _runs(hours: Iterable[ModelHealthHour]) -> list[_Problem]:
    """Return the hours, ordered by model and time, with those in a row put together."""
    runs: list[_Problem] = []
    for hour in hours:
        total = hour.succeeded + hour.failed
        state = state_of(hour.succeeded, hour.failed)
        last = runs[-1] if runs else None
        if last is not None and last.model == hour.model and hour.hour - last.last == _HOUR:
            last.last = hour.hour
            last.failed += hour.failed
            last.total += total
            last.state = "offline" if "offline" in {state, last.state} else last.state
        else:
            runs.append(_Problem(hour.model, hour.hour, hour.hour, state, hour.failed, total))
    return runs

"""The figures of models' pages: sums over the whole service, from roll-ups."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Count, F, Q, Sum

from api.models import ModelFigures, ModelHealthHour
from billing.models import UsageHour

DAYS = 30
_UPDATED = ("succeeded", "failed", "first_token_ms_total", "first_token_count")


def roll_up(now: datetime) -> int:
    """Replace the figures by those of the last DAYS days (UTC). Return the number of models.

    Speed is taken from the hours in which all of a key's requests to a model were streams that
    ended well: only these tell how long the tokens after the first took.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=DAYS - 1)
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    sums = {f"sum_{name}": Sum(name) for name in _UPDATED}
    for row in ModelHealthHour.objects.filter(hour__gte=since).values("model").annotate(**sums):
        found[row["model"]] |= {name: row[f"sum_{name}"] for name in _UPDATED}
    streams = Q(errors=0, first_token_count=F("requests"))
    for row in (
        UsageHour.objects.filter(hour__gte=since)
        .values("model")
        .annotate(
            teams=Count("account", distinct=True),
            tokens=Sum("output_tokens", filter=streams, default=0),
            ms=Sum(F("latency_ms_total") - F("first_token_ms_total"), filter=streams, default=0),
        )
    ):
        found[row["model"]] |= {
            "teams": row["teams"],
            "streamed_tokens": row["tokens"],
            "streamed_ms": max(row["ms"], 0),
        }
    rows = [
        ModelFigures(model=model, updated_at=now, **figures)
        for model, figures in sorted(found.items())
    ]
    names = [field.name for field in ModelFigures._meta.fields if not field.primary_key]
    with transaction.atomic():
        ModelFigures.objects.exclude(model__in=found).delete()
        ModelFigures.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["model"], update_fields=names
        )
    return len(rows)

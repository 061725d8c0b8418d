"""What staff tell customers on their dashboards: incidents, maintenance, announcements."""

from datetime import datetime, timedelta

from django.db.models import Q

from api.models import StatusEvent

PLANNED_AHEAD = timedelta(days=3)
# An announcement without an end is shown this long.
ANNOUNCED_FOR = timedelta(days=14)
MOST_SHOWN = 3

Kind = StatusEvent.Kind


def current_notices(now: datetime) -> list[StatusEvent]:
    """Return what customers should know now, in one query and one more for the texts."""
    is_open = Q(ends_at__isnull=True) | Q(ends_at__gt=now)
    begun = Q(starts_at__lte=now)
    relevant = (
        Q(kind=Kind.INCIDENT) & begun
        | Q(kind=Kind.MAINTENANCE, starts_at__lte=now + PLANNED_AHEAD)
        | Q(kind=Kind.ANNOUNCEMENT)
        & begun
        & (Q(ends_at__isnull=False) | Q(starts_at__gt=now - ANNOUNCED_FOR))
    )
    rows = StatusEvent.objects.filter(is_open & relevant, is_published=True)
    return list(rows.prefetch_related("updates").order_by("-starts_at")[:MOST_SHOWN])

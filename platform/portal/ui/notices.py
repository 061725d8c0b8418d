"""Staff's notices on customers' dashboards: incidents, maintenance, announcements."""

from datetime import datetime, timedelta

from django.db.models import Case, Q, When

from api.models import StatusEvent

PLANNED_AHEAD = timedelta(days=3)
# An announcement without an end is shown this long.
ANNOUNCED_FOR = timedelta(days=14)
MOST_SHOWN = 3

Kind = StatusEvent.Kind


def current_notices(now: datetime) -> list[StatusEvent]:
    """Return what customers should know now, incidents first, in at most two queries."""
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
    rows = rows.order_by(Case(When(kind=Kind.INCIDENT, then=0), default=1), "-starts_at")
    return list(rows.prefetch_related("updates")[:MOST_SHOWN])

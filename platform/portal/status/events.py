"""Staff's status posts, and each model's state from posts and measurements together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.catalogue.snapshot import ModelEntry
from api.models import StatusEvent, StatusUpdate

# How long past events, and announcements without an end, are shown.
SHOWN_FOR = timedelta(days=30)
FEED_UPDATES = 50

Kind = StatusEvent.Kind
Impact = StatusEvent.Impact


@dataclass
class Events:
    """The published events, the newest first in each list."""

    incidents: list[StatusEvent] = field(default_factory=list)
    maintenance: list[StatusEvent] = field(default_factory=list)
    planned: list[StatusEvent] = field(default_factory=list)
    announcements: list[StatusEvent] = field(default_factory=list)
    past: list[StatusEvent] = field(default_factory=list)


def published_events(now: datetime) -> Events:
    """Return the events that are current, planned, or ended within SHOWN_FOR."""
    since = now - SHOWN_FOR
    is_shown = Q(ends_at__gt=since) | Q(ends_at__isnull=True) & (
        ~Q(kind=Kind.ANNOUNCEMENT) | Q(starts_at__gt=since)
    )
    rows = StatusEvent.objects.filter(is_shown, is_published=True)
    found = Events()
    current = {
        Kind.INCIDENT: found.incidents,
        Kind.MAINTENANCE: found.maintenance,
        Kind.ANNOUNCEMENT: found.announcements,
    }
    for event in rows.prefetch_related("updates").order_by("-starts_at"):
        if event.starts_at > now:
            if event.kind != Kind.ANNOUNCEMENT:
                found.planned.append(event)
        elif event.is_current(now):
            current[Kind(event.kind)].append(event)
        else:
            found.past.append(event)
    return found


def latest_updates(now: datetime) -> QuerySet[StatusUpdate]:
    """Return the latest updates of published events, the newest first."""
    return StatusUpdate.objects.filter(
        event__is_published=True, created_at__lte=now
    ).select_related("event")[:FEED_UPDATES]


def shown_states(
    models: Iterable[ModelEntry], measured: dict[str, str], events: Events, *, is_closed: bool
) -> dict[str, str]:
    """Return each model's state: the measured one, unless staff posted a worse one.

    A model that staff took offline is under maintenance, as all are while the API is closed.
    """
    return {model.name: _state(model, measured[model.name], events, is_closed) for model in models}


def _state(model: ModelEntry, measured: str, events: Events, is_closed: bool) -> str:
    if is_closed or not model.routes:
        return "maintenance"
    if any(event.concerns(model.name) for event in events.maintenance):
        return "maintenance"
    impacts = {event.impact for event in events.incidents if event.concerns(model.name)}
    if measured == "offline" or Impact.OUTAGE in impacts:
        return "offline"
    if measured == "degraded" or Impact.DEGRADED in impacts:
        return "degraded"
    return "operational"


@dataclass(frozen=True)
class Headline:
    """The page's first line; `tone` is an alert's class."""

    tone: str
    text: str
    models: list[str] = field(default_factory=list)


def headline(states: dict[str, str], events: Events, *, has_requests: bool) -> Headline:
    """Return the line that sums up states and incidents; its tone is good only if all are."""
    troubled = [name for name, state in states.items() if state in {"degraded", "offline"}]
    paused = [name for name, state in states.items() if state == "maintenance"]
    if troubled:
        text = ngettext(
            "{number} of {all} models has problems",
            "{number} of {all} models have problems",
            len(troubled),
        ).format(number=len(troubled), all=len(states))
        tone = "bad" if len(troubled) == len(states) else "warn"
        return Headline(tone, text, troubled)
    if paused:
        text = ngettext(
            "{number} of {all} models is under maintenance",
            "{number} of {all} models are under maintenance",
            len(paused),
        ).format(number=len(paused), all=len(states))
        return Headline("warn", text, paused)
    if events.incidents:
        return Headline("warn", _("We are investigating an incident"))
    if not states:
        return Headline("", _("There are no models yet"))
    if not has_requests:
        return Headline("", _("No requests have been made yet"))
    return Headline("good", _("All systems operational"))

"""Pages of usage records by key, not by number: the hundredth costs what the first one does."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from billing.models import UsageRecord
from billing.usage import Selection, narrowed, records

PAGE_ROWS = 50
FIRST_BATCH_ROWS = 100
BATCH_ROWS = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSHOWN = ("attempts", "error")  # the long ones


@dataclass(frozen=True)
class Place:
    """Where in the order of records, the newest first, a page begins or ends."""

    created_at: datetime
    request_id: UUID

    def __str__(self) -> str:
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}-{self.request_id.hex}"


@dataclass(frozen=True)
class RecordPage:
    """A page of records, the newest first, and the places beside which its neighbours are."""

    records: list[UsageRecord]
    newer: Place | None
    older: Place | None


def read_place(text: str) -> Place | None:
    """Returns the place that a text names; None for one that names none."""
    microseconds, _, request_id = text.partition("-")
    try:
        return Place(_EPOCH + timedelta(microseconds=int(microseconds)), UUID(request_id))
    except (ValueError, OverflowError):
        return None


def page_of(
    selection: Selection, *, before: Place | None = None, after: Place | None = None
) -> RecordPage:
    """Returns the newest page, the one before (older than) a place, or the one after it."""
    if after is not None:
        found = narrowed(selection, PAGE_ROWS + 1, after=after.created_at)
        rows = list(_newer_than(found, after)[: PAGE_ROWS + 1])
        if len(rows) > PAGE_ROWS:
            rows = rows[PAGE_ROWS - 1 :: -1]
            return RecordPage(rows, _place_of(rows[0]), _place_of(rows[-1]))
        before = None  # the newest page, which may have grown since
    found = narrowed(selection, PAGE_ROWS + 1, before=before.created_at if before else None)
    rows = list(_older_than(found, before)[: PAGE_ROWS + 1])
    shown = rows[:PAGE_ROWS]
    return RecordPage(
        shown,
        newer=_place_of(shown[0]) if before is not None and shown else None,
        older=_place_of(shown[-1]) if len(rows) > PAGE_ROWS else None,
    )


def batches_of(selection: Selection) -> Iterator[list[UsageRecord]]:
    """Yields all records, the newest first; the first of them soon.

    Each batch is a query of its own, so that a reader who takes an hour, or leaves, holds no
    transaction and no cursor open.
    """
    place, count = None, FIRST_BATCH_ROWS
    while rows := list(_older_than(records(selection), place)[:count]):
        yield rows
        place, count = _place_of(rows[-1]), BATCH_ROWS


def _older_than(found: QuerySet[UsageRecord], place: Place | None) -> QuerySet[UsageRecord]:
    if place is not None:
        # The first condition is the index's; the second sorts out those of the same moment.
        found = found.filter(created_at__lte=place.created_at).filter(
            Q(created_at__lt=place.created_at) | Q(request_id__lt=place.request_id)
        )
    return found.order_by("-created_at", "-request_id").defer(*_UNSHOWN)


def _newer_than(found: QuerySet[UsageRecord], place: Place) -> QuerySet[UsageRecord]:
    newer = found.filter(created_at__gte=place.created_at).filter(
        Q(created_at__gt=place.created_at) | Q(request_id__gt=place.request_id)
    )
    return newer.order_by("created_at", "request_id").defer(*_UNSHOWN)


def _place_of(record: UsageRecord) -> Place:
    return Place(record.created_at, record.request_id)

"""Pages of a list by key, not by number: the hundredth costs what the first one does.

For rows with a `created_at` and a UUID as their primary key, the newest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

PAGE_ROWS = 50
FIRST_BATCH_ROWS = 100
BATCH_ROWS = 2000
LARGEST_ID = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = TypeVar("Row", bound=Model)
Row_co = TypeVar("Row_co", bound=Model, covariant=True)


@dataclass(frozen=True)
class Place:
    """A position in the list at which a page begins or ends."""

    created_at: datetime
    pk: UUID

    def __str__(self) -> str:
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        return f"{microseconds}-{self.pk.hex}"


@dataclass(frozen=True)
class RowPage(Generic[Row]):
    """A page of rows, the newest first, and the places beside which its neighbours are."""

    rows: list[Row]
    newer: Place | None
    older: Place | None


@dataclass(frozen=True)
class Pager:
    """The URLs of a page's neighbours, empty where there is none; for `components/pager.html`."""

    newer_url: str = ""
    older_url: str = ""


class Find(Protocol[Row_co]):
    """Finds a list's rows: all, or as many of those next to a moment as a page has and one more."""

    def __call__(
        self, *, before: datetime | None = None, after: datetime | None = None
    ) -> QuerySet[Row_co]:
        """Return the rows, in any order."""


def read_place(text: str) -> Place | None:
    """Return the place that a text names; None for one that names none."""
    microseconds, _, pk = text.partition("-")
    try:
        return Place(_EPOCH + timedelta(microseconds=int(microseconds)), UUID(pk))
    except (ValueError, OverflowError):
        return None


def read_id(text: str) -> int | None:
    """Return the id that a text names; None for one that names none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 19
    return min(int(text), LARGEST_ID) if is_number else None


def page_of(
    find: Find[Row], *, before: Place | None = None, after: Place | None = None
) -> RowPage[Row]:
    """Return the newest page, the one before (older than) a place, or the one after it."""
    if after is not None:
        found = find(after=after.created_at)
        rows = list(_newer_than(found, after)[: PAGE_ROWS + 1])
        if len(rows) > PAGE_ROWS:
            rows = rows[PAGE_ROWS - 1 :: -1]
            return RowPage(rows, _place_of(rows[0]), _place_of(rows[-1]))
        before = None  # the newest page, which may have grown since
    found = find(before=before.created_at if before else None)
    rows = list(_older_than(found, before)[: PAGE_ROWS + 1])
    shown = rows[:PAGE_ROWS]
    return RowPage(
        shown,
        newer=_place_of(shown[0]) if before is not None and shown else None,
        older=_place_of(shown[-1]) if len(rows) > PAGE_ROWS else None,
    )


def batches_of(found: QuerySet[Row]) -> Iterator[list[Row]]:
    """Yield all rows, the newest first; the first of them soon.

    Each batch is a query of its own, so that a reader who takes an hour, or leaves, holds no
    transaction and no cursor open.
    """
    place, count = None, FIRST_BATCH_ROWS
    while rows := list(_older_than(found, place)[:count]):
        yield rows
        place, count = _place_of(rows[-1]), BATCH_ROWS


def _older_than(found: QuerySet[Row], place: Place | None) -> QuerySet[Row]:
    if place is not None:
        # The first condition is the index's; the second sorts out those of the same moment.
        found = found.filter(created_at__lte=place.created_at).filter(
            Q(created_at__lt=place.created_at) | Q(pk__lt=place.pk)
        )
    return found.order_by("-created_at", "-pk")


def _newer_than(found: QuerySet[Row], place: Place) -> QuerySet[Row]:
    newer = found.filter(created_at__gte=place.created_at).filter(
        Q(created_at__gt=place.created_at) | Q(pk__gt=place.pk)
    )
    return newer.order_by("created_at", "pk")


def _place_of(row: Any) -> Place:
    return Place(row.created_at, row.pk)

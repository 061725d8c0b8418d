"""The list of a team's keys, in pages."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import Count
from django.urls import reverse

from accounts.access import Actor
from accounts.api_keys import ACTIVE, active
from portal.keys.shown import ShownKey, shown, visible_keys

KEYS_ON_A_PAGE = 25


@dataclass(frozen=True)
class Listing:
    """One page of the team's keys, the newest first, and how many there are."""

    keys: list[ShownKey]
    is_all: bool
    active_count: int
    all_count: int
    newer_url: str
    older_url: str


def listing_of(actor: Actor, *, is_all: bool, page: str) -> Listing:
    """Returns a page of the active keys, or of all, in two queries.

    A `page` that is no number is the first, one beyond the end the last.
    """
    counts = actor.visible_keys().aggregate(all=Count("id"), active=Count("id", filter=ACTIVE))
    keys = visible_keys(actor).order_by("-id")
    pages = Paginator(keys if is_all else active(keys), KEYS_ON_A_PAGE)
    pages.count = counts["all" if is_all else "active"]  # counted already
    found = pages.get_page(page)
    return Listing(
        keys=[shown(key, actor) for key in found],
        is_all=is_all,
        active_count=counts["active"],
        all_count=counts["all"],
        newer_url=_url(is_all, found.number - 1) if found.has_previous() else "",
        older_url=_url(is_all, found.number + 1) if found.has_next() else "",
    )


def _url(is_all: bool, page: int) -> str:
    query = {"show": "all"} if is_all else {}
    return f"{reverse('apikeys')}?{urlencode({**query, 'page': str(page)})}"

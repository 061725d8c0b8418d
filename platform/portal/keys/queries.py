"""The list of a team's keys, in pages."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.urls import reverse

from accounts.access import Actor
from accounts.api_keys import active
from accounts.models import ApiKey
from portal.access import only_chat_keys, without_chat_keys
from portal.keys.presenters import KeyPresenter, key_presenter

SHOWN_WITH_KEYS = ("created_by", "spend", "replaced_by", "replaces")
KEYS_ON_A_PAGE = 25


@dataclass(frozen=True)
class Listing:
    """One page of the team's keys, the newest first, and how many there are.

    The keys that the site makes for chats are only counted: they come and go by themselves.
    """

    keys: list[KeyPresenter]
    is_all: bool
    active_count: int
    all_count: int
    chat_count: int
    newer_url: str
    older_url: str


def visible_keys(actor: Actor) -> QuerySet[ApiKey]:
    """Return the team's keys, each with all that is shown of it in one query."""
    return actor.visible_keys().select_related(*SHOWN_WITH_KEYS)


def listing_of(actor: Actor, *, is_all: bool, page: str) -> Listing:
    """Return a page of the active keys, or of all, in four queries.

    A `page` that is no number is the first, one beyond the end the last.
    """
    keys = without_chat_keys(visible_keys(actor)).order_by("-id")
    all_count, active_count = keys.count(), active(keys).count()
    pages = Paginator(keys if is_all else active(keys), KEYS_ON_A_PAGE)
    pages.count = all_count if is_all else active_count  # counted already
    found = pages.get_page(page)
    return Listing(
        keys=[key_presenter(key, actor) for key in found],
        is_all=is_all,
        active_count=active_count,
        all_count=all_count,
        chat_count=only_chat_keys(actor.visible_keys()).count(),
        newer_url=_url(is_all, found.number - 1) if found.has_previous() else "",
        older_url=_url(is_all, found.number + 1) if found.has_next() else "",
    )


def _url(is_all: bool, page: int) -> str:
    query = {"show": "all"} if is_all else {}
    return f"{reverse('apikeys')}?{urlencode({**query, 'page': str(page)})}"

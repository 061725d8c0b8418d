"""The list of a team's keys: search, order and pages."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import BigIntegerField, Case, F, Q, QuerySet, When
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.access import Actor
from accounts.api_keys import current
from accounts.models import ApiKey
from portal.access import only_chat_keys, without_chat_keys
from portal.keys.presenters import KeyPresenter, key_presenter

SHOWN_WITH_KEYS = ("created_by", "spend", "replaced_by", "replaces", "last_address")
KEYS_ON_A_PAGE = 25
LONGEST_QUERY = 100
ORDERS = {
    "": _("Newest"),
    "name": _("Name"),
    "used": _("Last used"),
    "spent": _("Spent this month"),
    "expires": _("Expires"),
}


@dataclass(frozen=True)
class Choice:
    """What the reader chose: all keys or the current ones, a search, and one of ORDERS."""

    is_all: bool = False
    query: str = ""
    sort: str = ""

    def url(self, **changed: str) -> str:
        """Return the list's address with these choices, and those that are `changed`."""
        given = {"show": "all" if self.is_all else "", "q": self.query, "sort": self.sort}
        query = urlencode({name: value for name, value in (given | changed).items() if value})
        return f"{reverse('apikeys')}?{query}" if query else reverse("apikeys")

    @property
    def current_url(self) -> str:
        """The address of the current keys."""
        return self.url(show="")

    @property
    def all_url(self) -> str:
        """The address of all keys."""
        return self.url(show="all")

    @property
    def sort_urls(self) -> dict[str, str]:
        """The addresses that the headings lead to, by order."""
        return {name or "newest": self.url(sort=name) for name in ORDERS}


@dataclass(frozen=True)
class Listing:
    """One page of the team's keys, and how many there are.

    The keys that the site makes for chats are only counted: they come and go by themselves.
    """

    keys: list[KeyPresenter]
    choice: Choice
    current_count: int
    all_count: int
    chat_count: int
    newer_url: str
    older_url: str


def choice_of(query: QueryDict) -> Choice:
    """Return what the address asks for; what it can't mean is ignored."""
    sort = query.get("sort", "")
    return Choice(
        is_all=query.get("show") == "all",
        query=query.get("q", "").replace("\0", "")[:LONGEST_QUERY].strip(),
        sort=sort if sort in ORDERS else "",
    )


def visible_keys(actor: Actor) -> QuerySet[ApiKey]:
    """Return the team's keys, each with all that is shown of it in one query."""
    return actor.visible_keys().select_related(*SHOWN_WITH_KEYS)


def listing_of(actor: Actor, choice: Choice, *, page: str) -> Listing:
    """Return a page of the keys that were chosen, in five queries.

    A `page` that is no number is the first, one beyond the end the last.
    """
    keys = without_chat_keys(visible_keys(actor))
    all_count, current_count = keys.count(), current(keys).count()
    chosen = _sorted(_found(keys if choice.is_all else current(keys), choice.query), choice.sort)
    pages = Paginator(chosen, KEYS_ON_A_PAGE)
    if not choice.query:
        pages.count = all_count if choice.is_all else current_count  # counted already
    found = pages.get_page(page)
    before, after = str(found.number - 1), str(found.number + 1)
    return Listing(
        keys=[key_presenter(key, actor) for key in found],
        choice=choice,
        current_count=current_count,
        all_count=all_count,
        chat_count=only_chat_keys(actor.visible_keys()).count(),
        newer_url=choice.url(page=before) if found.has_previous() else "",
        older_url=choice.url(page=after) if found.has_next() else "",
    )


def _found(keys: QuerySet[ApiKey], query: str) -> QuerySet[ApiKey]:
    """Return the keys whose name or creator has the query, or whose end it is."""
    if not query:
        return keys
    return keys.filter(
        Q(name__icontains=query)
        | Q(last_four=query[-4:])
        | Q(created_by__email__icontains=query)
        | Q(created_by__name__icontains=query)
    )


def _sorted(keys: QuerySet[ApiKey], sort: str) -> QuerySet[ApiKey]:
    match sort:
        case "name":
            return keys.order_by("name", "-id")
        case "used":
            return keys.order_by(F("spend__last_used_at").desc(nulls_last=True), "-id")
        case "expires":
            ends_at = Coalesce("renewable_until", "expires_at")
            return keys.order_by(ends_at.asc(nulls_last=True), "-id")
        case "spent":
            month = _first_of_month(timezone.now())
            spent = Case(
                When(spend__month=month, then="spend__month_nanos"),
                output_field=BigIntegerField(),
            )
            return keys.alias(spent=spent).order_by(F("spent").desc(nulls_last=True), "-id")
    return keys.order_by("-id")


def _first_of_month(now: datetime) -> date:
    return now.astimezone(UTC).date().replace(day=1)

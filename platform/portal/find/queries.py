"""What the search dialog finds; documentation is searched by its own page."""

import re
from uuid import UUID

from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _

from api.catalogue.snapshot import load_snapshot
from billing.models import Reservation, UsageRecord
from portal.access import MemberRequest, without_chat_keys
from portal.ui.prices import price_list
from portal.ui.shell import REQUEST_URL, Link, Shell

LONGEST_QUERY = 100
MOST_OF_A_KIND = 5
# A request's id, also within the id of an answer, such as `chat-…` of an asynchronous one.
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.I)


def found_for(request: MemberRequest, query: str) -> list[tuple[str, list[Link]]]:
    """Return the links that match, in titled groups without empty ones."""
    query = query[:LONGEST_QUERY]
    groups = [
        (_("Requests"), _requests(request, query)),
        (_("Pages"), _pages(request, query)),
        (_("API keys"), _keys(request, query)),
        (_("Models"), _models(query)),
    ]
    return [(title, links) for title, links in groups if links]


def _requests(request: MemberRequest, query: str) -> list[Link]:
    """Return the team's request with that id; requests of other teams are not found."""
    found = _REQUEST_ID.search(query)
    if found is None:
        return []
    request_id = UUID(found[0])
    own = {"pk": request_id, "account__team": request.actor.team}
    exists = (
        UsageRecord.objects.filter(**own).exists() or Reservation.objects.filter(**own).exists()
    )
    return [Link(str(request_id), f"{REQUEST_URL}{request_id}", "receipt-text")] if exists else []


def _pages(request: MemberRequest, query: str) -> list[Link]:
    """Return the pages whose title has the query; all pages of the rail without one."""
    shell = Shell(request)
    rail = [link for group in shell.rail for link in group]
    settings = _("Settings: {title}")
    others = [
        Link(settings.format(title=tab.title), tab.url, "settings") for tab in shell.settings_tabs
    ]
    if request.actor.may_see_billing:
        others.append(Link(_("Statement"), reverse("statement"), "receipt-text"))
    if request.actor.may_create_keys():
        others.append(Link(_("Create key"), reverse("new_key"), "plus"))
    pages = [*rail, *others] if query else rail
    return [link for link in pages if query.lower() in link.title.lower()]


def _keys(request: MemberRequest, query: str) -> list[Link]:
    """Return the team's keys whose name has the query, or whose end it is."""
    if not query:
        return []
    keys = without_chat_keys(request.actor.visible_keys()).filter(
        Q(name__icontains=query) | Q(last_four=query[-4:])
    )
    rows = keys.order_by("revoked_at", "name", "pk")[:MOST_OF_A_KIND]
    return [
        Link(f"{key.name} …{key.last_four}", reverse("key", args=[key.pk]), "key-round")
        for key in rows
    ]


def _models(query: str) -> list[Link]:
    """Return the models whose name or title has the query."""
    if not query:
        return []
    found = [
        model
        for model in price_list(load_snapshot())
        if query.lower() in model.name.lower() or query.lower() in model.title.lower()
    ]
    return [
        Link(model.label, reverse("model", args=[model.name]), "layers")
        for model in found[:MOST_OF_A_KIND]
    ]

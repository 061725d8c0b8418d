"""A member's own choices for the usage page: filters to come back to, and hidden columns."""

from dataclasses import dataclass, field

from django.db import transaction
from django.dispatch import receiver
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from accounts.access import Actor
from accounts.deletion import user_deleted
from accounts.models import User
from portal.models import UsagePreference
from portal.usage.forms import UsageFilter

MOST_FILTERS = 20
# The columns of the table that a reader may hide.
COLUMNS = (
    ("key", gettext_lazy("Key")),
    ("in", gettext_lazy("Input tokens")),
    ("cached", gettext_lazy("Cached tokens")),
    ("out", gettext_lazy("Output tokens")),
    ("latency", gettext_lazy("Latency")),
)


@dataclass(frozen=True)
class UsageView:
    """What a member sees of the usage page of a team; filters are names with their queries."""

    filters: list[tuple[str, str]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def view_of(actor: Actor) -> UsageView:
    """Return the member's choices, in one query."""
    row = UsagePreference.objects.filter(user=actor.user, team=actor.team).first()
    if row is None:
        return UsageView()
    filters = [(each["name"], each["query"]) for each in row.filters]
    return UsageView(filters, row.hidden_columns.split())


def save_filter(actor: Actor, name: str, query: str) -> bool:
    """Keep a filter, in place of one with its name. Return False if there are too many."""
    with transaction.atomic():
        row = _locked(actor)
        others = [each for each in row.filters if each["name"] != name]
        if len(others) >= MOST_FILTERS:
            return False
        row.filters = [*others, {"name": name, "query": query}]
        row.save()
    return True


def delete_filter(actor: Actor, name: str) -> None:
    """Delete the filter of this name, if there is one."""
    with transaction.atomic():
        row = _locked(actor)
        row.filters = [each for each in row.filters if each["name"] != name]
        row.save()


def show_columns(actor: Actor, shown: list[str]) -> None:
    """Hide all columns but these."""
    with transaction.atomic():
        row = _locked(actor)
        row.hidden_columns = " ".join(name for name, _ in COLUMNS if name not in shown)
        row.save()


def filter_query(query: QueryDict) -> str:
    """Return what of a page's query is a filter, encoded."""
    known = [name for name in UsageFilter.base_fields if query.get(name)]
    kept = QueryDict(mutable=True)
    for name in known:
        kept[name] = str(query[name])
    return kept.urlencode()


def _locked(actor: Actor) -> UsagePreference:
    UsagePreference.objects.get_or_create(user=actor.user, team=actor.team)
    return UsagePreference.objects.select_for_update().get(user=actor.user, team=actor.team)


@receiver(user_deleted, dispatch_uid="usage_preferences_forgotten")
def _on_user_deleted(sender: object, user: User, **_: object) -> None:
    UsagePreference.objects.filter(user=user).delete()

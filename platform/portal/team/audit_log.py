"""The audit log as a page: filtered by deed or doer, newest first, paged by id."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import QuerySet

from accounts.models import AuditEntry, Team

PAGE_ROWS = 50

# The deeds as people read them. One that is not here is shown under its own name.
TITLES = {
    "member.invited": "Invited",
    "invitation.withdrawn": "Invitation withdrawn",
    "member.joined": "Joined",
    "member.role_changed": "Role changed",
    "member.removed": "Removed",
    "member.left": "Left",
    "team.created": "Team created",
    "team.renamed": "Team renamed",
    "key.created": "Key created",
    "key.updated": "Key changed",
    "key.rotated": "Key rotated",
    "key.revoked": "Key revoked",
}


@dataclass(frozen=True)
class Line:
    """An entry, and what it says besides."""

    entry: AuditEntry
    title: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """A page of the log; the URLs are empty where nothing is newer or older."""

    lines: list[Line]
    newer_url: str
    older_url: str


@dataclass(frozen=True)
class Filter:
    """Which entries: of a deed, of a doer (their e-mail address then), before or after an id."""

    action: str = ""
    actor: str = ""
    before: int | None = None
    after: int | None = None


def page_of(team: Team, chosen: Filter) -> Page:
    """Returns a page of the team's log. One query, along an index, however long the log is."""
    entries = _matching(team, chosen)
    if chosen.after is not None:
        found = list(entries.filter(id__gt=chosen.after).order_by("id")[: PAGE_ROWS + 1])
        has_newer, has_older = len(found) > PAGE_ROWS, bool(found)
        found = found[:PAGE_ROWS][::-1]
    else:
        if chosen.before is not None:
            entries = entries.filter(id__lt=chosen.before)
        found = list(entries.order_by("-id")[: PAGE_ROWS + 1])
        has_newer, has_older = chosen.before is not None, len(found) > PAGE_ROWS
        found = found[:PAGE_ROWS]
    return Page(
        lines=[_line(entry) for entry in found],
        newer_url=_url(chosen, after=found[0].pk) if has_newer and found else "",
        older_url=_url(chosen, before=found[-1].pk) if has_older and found else "",
    )


def _matching(team: Team, chosen: Filter) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(team=team)
    if chosen.action:
        entries = entries.filter(action=chosen.action)
    if chosen.actor:
        entries = entries.filter(actor_label=chosen.actor)
    return entries


def _line(entry: AuditEntry) -> Line:
    detail = dict(entry.detail)
    facts = []
    if {"from", "to"} <= detail.keys():
        facts.append(("", f"{detail.pop('from')} → {detail.pop('to')}"))
    facts += [(name.replace("_", " "), _text_of(value)) for name, value in detail.items()]
    return Line(entry, TITLES.get(entry.action, entry.action), facts)


def _text_of(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _url(chosen: Filter, **place: int) -> str:
    fields = {"action": chosen.action, "actor": chosen.actor, **place}
    return f"?{urlencode({name: value for name, value in fields.items() if value})}"

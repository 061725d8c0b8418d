"""The audit log as a page: filtered by deed or doer, newest first.

It goes by time and then by id: by id alone, the database may prefer the primary key, and read the
entries of all other teams on its way.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

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
    "refund.requested": "Refund",
    "team.paused": "Keys paused",
    "team.resumed": "Keys accepted again",
    "dispute.handled": "Dispute handled",
    "fraudwarning.handled": "Fraud warning handled",
    "credits.ordered": "Credits ordered",
    "billing.portal_opened": "Billing details opened",
    "billing.card_setup_opened": "Adding a card",
    "auto_top_up.changed": "Auto top-up changed",
    "code.redeemed": "Code redeemed",
    "plan.ordered": "Plan ordered",
    "plan.upgraded": "Plan raised",
    "plan.downgraded": "Plan lowered from the next period on",
    "plan.cancelled": "Plan cancelled",
    "plan.resumed": "Plan kept",
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
    """Which entries: of a deed, of a doer (their address then), before or after an entry's id."""

    action: str = ""
    actor: str = ""
    before: int | None = None
    after: int | None = None


def page_of(team: Team, chosen: Filter) -> Page:
    """Returns a page of the team's log; two queries along an index, however long the log is."""
    entries = _matching(team, chosen)
    edge = chosen.before or chosen.after
    bound = AuditEntry.objects.filter(team=team, pk=edge).first() if edge else None
    is_back = bound is not None and chosen.before is None
    if bound is not None:
        entries = entries.filter(_is_newer(bound) if is_back else _is_older(bound))
    order = ("created_at", "id") if is_back else ("-created_at", "-id")
    found = list(entries.order_by(*order)[: PAGE_ROWS + 1])
    has_more = len(found) > PAGE_ROWS
    found = found[:PAGE_ROWS]
    if is_back:
        found.reverse()
    has_newer, has_older = (has_more, True) if is_back else (bound is not None, has_more)
    return Page(
        lines=[_line(entry) for entry in found],
        newer_url=_url(chosen, after=found[0].pk) if has_newer and found else "",
        older_url=_url(chosen, before=found[-1].pk) if has_older and found else "",
    )


def _is_older(entry: AuditEntry) -> Q:
    at = entry.created_at
    return Q(created_at__lte=at) & (Q(created_at__lt=at) | Q(id__lt=entry.pk))


def _is_newer(entry: AuditEntry) -> Q:
    at = entry.created_at
    return Q(created_at__gte=at) & (Q(created_at__gt=at) | Q(id__gt=entry.pk))


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

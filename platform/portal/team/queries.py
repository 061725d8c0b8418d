"""A team's members and its audit log, as the team's pages list them.

The log is ordered by time, then by id: by id alone, PostgreSQL may prefer the primary key and read
the entries of all other teams on its way.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from accounts.access import Actor
from accounts.api_keys import active
from accounts.models import ApiKey, AuditEntry, Membership, Team
from billing.models import KeySpend


@dataclass(frozen=True)
class MemberLine:
    """A member. `spent_nanos` is this month's (UTC), by all keys they made, in nano-dollars."""

    membership: Membership
    spent_nanos: int
    active_keys: int
    is_self: bool
    may_change: bool


@dataclass(frozen=True)
class Roster:
    """The members, and what keys of people who are none (any more) have spent this month."""

    lines: list[MemberLine]
    former_nanos: int

    @property
    def spent_nanos(self) -> int:
        """This month's spending of all the team's keys, in nano-dollars."""
        return self.former_nanos + sum(line.spent_nanos for line in self.lines)


def roster_of(actor: Actor) -> Roster:
    """Return the members of the actor's team in the order of their joining; three queries."""
    spent = _spent_by_maker(actor)
    keys = _active_keys_by_maker(actor)
    memberships = actor.team.memberships.select_related("user").order_by("created_at", "id")
    lines = [
        MemberLine(
            membership=each,
            spent_nanos=spent.pop(each.user_id, 0),
            active_keys=keys.get(each.user_id, 0),
            is_self=actor.user is not None and each.user_id == actor.user.pk,
            may_change=actor.may_change(each),
        )
        for each in memberships
    ]
    return Roster(lines, former_nanos=sum(spent.values()))


def member_line(actor: Actor, member_id: int) -> MemberLine | None:
    """Return one member of the actor's team; None where there is no such member."""
    # The whole roster is three queries, whatever its length; a second way to ask would be one more
    # to keep right.
    lines = roster_of(actor).lines
    return next((line for line in lines if line.membership.pk == member_id), None)


def _spent_by_maker(actor: Actor) -> dict[int | None, int]:
    # The keys' counters are exact as of the last settlement, in one row for each key.
    this_month = timezone.now().date().replace(day=1)
    counters = KeySpend.objects.filter(key__team=actor.team, month=this_month)
    sums = counters.order_by().values_list("key__created_by").annotate(Sum("month_nanos"))
    return dict(sums)


def _active_keys_by_maker(actor: Actor) -> dict[int | None, int]:
    keys = active(ApiKey.objects.filter(team=actor.team))
    return dict(keys.order_by().values_list("created_by").annotate(Count("id")))


AUDIT_PAGE_ROWS = 50

# Titles of the actions. An action without a title is shown by its name.
ACTION_TITLES = {
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
class AuditLine:
    """An entry, and what it says besides."""

    entry: AuditEntry
    title: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class AuditPage:
    """A page of the log; the URLs are empty where nothing is newer or older."""

    lines: list[AuditLine]
    newer_url: str
    older_url: str


@dataclass(frozen=True)
class AuditFilter:
    """Selected entries: by action, by actor (their address then), before or after an id."""

    action: str = ""
    actor: str = ""
    before: int | None = None
    after: int | None = None


def audit_page(team: Team, chosen: AuditFilter) -> AuditPage:
    """Return a page of the team's log; two queries along an index, however long the log is."""
    entries = _matching(team, chosen)
    edge = chosen.before or chosen.after
    bound = AuditEntry.objects.filter(team=team, pk=edge).first() if edge else None
    is_back = bound is not None and chosen.before is None
    if bound is not None:
        entries = entries.filter(_is_newer(bound) if is_back else _is_older(bound))
    order = ("created_at", "id") if is_back else ("-created_at", "-id")
    found = list(entries.order_by(*order)[: AUDIT_PAGE_ROWS + 1])
    has_more = len(found) > AUDIT_PAGE_ROWS
    found = found[:AUDIT_PAGE_ROWS]
    if is_back:
        found.reverse()
    has_newer, has_older = (has_more, True) if is_back else (bound is not None, has_more)
    return AuditPage(
        lines=[_audit_line(entry) for entry in found],
        newer_url=_url(chosen, after=found[0].pk) if has_newer and found else "",
        older_url=_url(chosen, before=found[-1].pk) if has_older and found else "",
    )


def _is_older(entry: AuditEntry) -> Q:
    at = entry.created_at
    return Q(created_at__lte=at) & (Q(created_at__lt=at) | Q(id__lt=entry.pk))


def _is_newer(entry: AuditEntry) -> Q:
    at = entry.created_at
    return Q(created_at__gte=at) & (Q(created_at__gt=at) | Q(id__gt=entry.pk))


def _matching(team: Team, chosen: AuditFilter) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.filter(team=team)
    if chosen.action:
        entries = entries.filter(action=chosen.action)
    if chosen.actor:
        entries = entries.filter(actor_label=chosen.actor)
    return entries


def _audit_line(entry: AuditEntry) -> AuditLine:
    detail = dict(entry.detail)
    facts = []
    if {"from", "to"} <= detail.keys():
        facts.append(("", f"{detail.pop('from')} → {detail.pop('to')}"))
    facts += [(name.replace("_", " "), _text_of(value)) for name, value in detail.items()]
    return AuditLine(entry, ACTION_TITLES.get(entry.action, entry.action), facts)


def _text_of(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _url(chosen: AuditFilter, **place: int) -> str:
    fields = {"action": chosen.action, "actor": chosen.actor, **place}
    return f"?{urlencode({name: value for name, value in fields.items() if value})}"

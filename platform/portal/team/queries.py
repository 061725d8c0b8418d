"""A team's members, invitations and audit log, as the team's pages list them.

The log is ordered by time, then by id: by id alone, PostgreSQL may prefer the primary key and read
the entries of all other teams on its way.
"""

from dataclasses import dataclass, replace

from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.utils import timezone

from accounts.access import Actor
from accounts.api_keys import active
from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Team
from billing.models import KeySpend
from portal.ui.money import parts_in_cents


@dataclass(frozen=True)
class MemberLine:
    """A member. `spent_nanos` is this month's (UTC), by all keys they made, in nano-dollars.

    `spent_text` is it in cents that add up to the roster's total as shown.
    """

    membership: Membership
    spent_nanos: int
    active_keys: int
    is_self: bool
    may_change: bool
    spent_text: str = ""


@dataclass(frozen=True)
class Roster:
    """The members, and what keys of people who are none (any more) have spent this month."""

    lines: list[MemberLine]
    former_nanos: int
    former_text: str

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
    former_nanos = sum(spent.values())
    *texts, former_text = parts_in_cents([*(line.spent_nanos for line in lines), former_nanos])
    lines = [replace(line, spent_text=text) for line, text in zip(lines, texts, strict=True)]
    return Roster(lines, former_nanos, former_text)


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
    # A rotated key's spend is in its own counter and was copied to its successor's.
    carried = Case(When(carried_on__gte=this_month, then="carried_month_nanos"), default=0)
    own = Sum(F("month_nanos") - carried)
    sums = counters.order_by().values("key__created_by").annotate(own=own)
    return {each["key__created_by"]: each["own"] for each in sums}


def _active_keys_by_maker(actor: Actor) -> dict[int | None, int]:
    keys = active(ApiKey.objects.filter(team=actor.team))
    return dict(keys.order_by().values_list("created_by").annotate(Count("id")))


def find_invitation(team: Team, invitation_id: int) -> Invitation | None:
    """Return the team's invitation with this id, open or not."""
    return Invitation.objects.filter(team=team, pk=invitation_id).first()


AUDIT_PAGE_ROWS = 50


@dataclass(frozen=True)
class AuditPage:
    """A page of the log, the newest entry first, and whether there are newer and older ones."""

    entries: list[AuditEntry]
    has_newer: bool
    has_older: bool


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
    return AuditPage(found, has_newer, has_older)


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

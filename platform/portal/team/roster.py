"""A team's members as its page lists them: role, joined, what their keys have spent."""

from dataclasses import dataclass

from django.db.models import Count, Sum
from django.utils import timezone

from accounts.access import Actor
from accounts.api_keys import active
from accounts.models import ApiKey, Membership
from billing.models import KeySpend


@dataclass(frozen=True)
class Line:
    """A member. `spent_nanos` is this month's (UTC), by all keys they made, in nano-dollars."""

    membership: Membership
    spent_nanos: int
    active_keys: int
    is_self: bool
    may_change: bool


@dataclass(frozen=True)
class Roster:
    """The members, and what keys of people who are none (any more) have spent this month."""

    lines: list[Line]
    former_nanos: int

    @property
    def spent_nanos(self) -> int:
        """What the team's keys have spent this month."""
        return self.former_nanos + sum(line.spent_nanos for line in self.lines)


def roster_of(actor: Actor) -> Roster:
    """Returns the members of the actor's team in the order of their joining; three queries."""
    spent = _spent_by_maker(actor)
    keys = _active_keys_by_maker(actor)
    memberships = actor.team.memberships.select_related("user").order_by("created_at", "id")
    lines = [
        Line(
            membership=each,
            spent_nanos=spent.pop(each.user_id, 0),
            active_keys=keys.get(each.user_id, 0),
            is_self=actor.user is not None and each.user_id == actor.user.pk,
            may_change=actor.may_change(each),
        )
        for each in memberships
    ]
    return Roster(lines, former_nanos=sum(spent.values()))


def line_of(actor: Actor, member_id: int) -> Line | None:
    """Returns one member of the actor's team; None where there is no such member."""
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

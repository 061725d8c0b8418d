"""Pausing a team's keys while a payment of its is in doubt. Its pages stay open.

A pause is the team's suspension under a reason of ours. Staff's own suspension has another, and is
never lifted here.
"""

from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.models import Dispute, FraudWarning

DISPUTED = "Paused: a payment is disputed"
SUSPECTED = "Paused: a payment may be fraud"
KEPT = "Kept paused by staff after a payment was in doubt"
REASONS = (DISPUTED, SUSPECTED)

Trouble = Dispute | FraudWarning


def pause(team: Team, reason: str, subject: str) -> None:
    """Refuses the team's keys, unless they are refused already. Call it in the transaction."""
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_at is None:
        Team.objects.filter(pk=team.pk).update(suspended_at=timezone.now(), suspended_reason=reason)
        audit.record(Actor(team=team), "team.paused", subject, detail={"reason": reason})


def resume(team: Team, subject: str, staff: User | None = None) -> bool:
    """Accepts the team's keys again if nothing else pauses it. Call it in the transaction.

    Returns whether it did: not where the suspension is staff's own.
    """
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_reason not in REASONS or open_troubles(team):
        return False
    Team.objects.filter(pk=team.pk).update(suspended_at=None, suspended_reason="")
    audit.record(Actor(team=team, user=staff), "team.resumed", subject)
    return True


def keep(team: Team) -> None:
    """Makes the pause staff's own, which only they lift. Call it in the transaction."""
    Team.objects.filter(pk=team.pk, suspended_reason__in=REASONS).update(suspended_reason=KEPT)


def open_troubles(team: Team) -> list[Trouble]:
    """Returns the disputes that took money and the warnings that nobody has handled."""
    is_teams = Q(order__team=team) | Q(subscription_payment__subscription__team=team)
    disputes = Dispute.objects.filter(is_teams, is_withdrawn=True, handled_at=None)
    return [*disputes, *FraudWarning.objects.filter(is_teams, handled_at=None)]

"""Which notices of refunds and disputes are due.

Who pays for a team hears of them all, whatever they chose about other e-mails: it is their money,
and their keys are refused.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from accounts.models import Role, SentNotice, Team
from billing.models import Refund
from billing.payments import disputes
from billing.pricing.money import NANOS_PER_CENT
from portal.notices.due import Notice, payers_of

PAYING_ROLES = (Role.OWNER, Role.BILLING)
# Older than this it is news to nobody, whatever kept the notice from going out.
NEWS_AGE = timedelta(days=3)


def refunds_made(now: datetime) -> Iterator[Notice]:
    """Yields who should hear of the refunds that Stripe took on in the days before `now`."""
    made = (Refund.State.PENDING, Refund.State.SUCCEEDED)
    refunds = list(
        Refund.objects.filter(state__in=made, created_at__gt=now - NEWS_AGE).select_related(
            "order__team"
        )
    )
    members = payers_of({refund.order.team_id for refund in refunds}, PAYING_ROLES)
    for refund in refunds:
        facts: dict[str, str | int] = {
            "order_number": refund.order.number,
            "amount_nanos": (refund.amount_cents + refund.tax_cents) * NANOS_PER_CENT,
            "tax_nanos": refund.tax_cents * NANOS_PER_CENT,
            "credit_nanos": refund.credit_nanos,
        }
        for user in members.get(refund.order.team_id, []):
            kind, team = SentNotice.Kind.REFUND_MADE, refund.order.team
            yield Notice(user, team, kind, f"refund {refund.pk}", facts)


def paused_keys(now: datetime) -> Iterator[Notice]:
    """Yields who should hear that their team's keys were paused for a payment in doubt."""
    teams = list(
        Team.objects.filter(
            suspended_reason__in=disputes.PAUSE_REASONS, suspended_at__gt=now - NEWS_AGE
        ).order_by("pk")
    )
    members = payers_of({team.pk for team in teams}, PAYING_ROLES)
    for team in teams:
        reference = f"pause {team.pk} {team.suspended_at:%Y-%m-%d %H:%M:%S.%f}"
        is_disputed = team.suspended_reason == disputes.PAUSED_FOR_DISPUTE
        for user in members.get(team.pk, []):
            kind = SentNotice.Kind.KEYS_PAUSED
            yield Notice(user, team, kind, reference, {"is_disputed": int(is_disputed)})

"""Which notices of plans are due: a month that could not be collected, and a plan that has ended.

Who may pay hears of both, whatever they chose about other e-mails: it is their money.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from accounts.models import SentNotice, User
from billing.models import Subscription
from portal.notices.due import Notice, payers_of

# Older than this it is news to nobody, whatever kept the notice from going out.
NEWS_AGE = timedelta(days=7)

Status = Subscription.Status


def failed_plan_payments() -> Iterator[Notice]:
    """Yields who should hear that a plan's payment failed: once for each month's."""
    late = Subscription.objects.filter(status=Status.PAST_DUE, ended_at__isnull=True)
    kind = SentNotice.Kind.PLAN_PAYMENT_FAILED
    for row, user in _told(late):
        yield Notice(user, row.team, kind, f"invoice {row.latest_invoice_id}", _facts(row))


def ended_plans(now: datetime) -> Iterator[Notice]:
    """Yields who should hear that a plan has ended, or is taken away until it is paid."""
    over = Subscription.objects.filter(
        Q(status=Status.CANCELED, ended_at__gt=now - NEWS_AGE)
        | Q(status=Status.UNPAID, ended_at__isnull=True),
        is_duplicate=False,
    )
    for row, user in _told(over):
        reference = f"subscription {row.pk}"
        if row.status == Status.UNPAID:
            reference += f" unpaid {row.latest_invoice_id}"
        yield Notice(user, row.team, SentNotice.Kind.PLAN_ENDED, reference, _facts(row))


def _told(rows: QuerySet[Subscription]) -> Iterator[tuple[Subscription, User]]:
    """Yields each subscription with those of its team who may pay."""
    found = list(rows.select_related("team__plan", "price__plan"))
    payers = payers_of({row.team_id for row in found})
    for row in found:
        for user in payers.get(row.team_id, []):
            yield row, user


def _facts(row: Subscription) -> dict[str, str | int]:
    return {
        "plan_title": row.price.plan.title,
        "price_cents": row.price.price_cents,
        "now_title": row.team.plan.title,
        "is_unpaid": int(row.status == Status.UNPAID),
    }

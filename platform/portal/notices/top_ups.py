"""Which notices of auto top-up are due: what was bought, and what is in its way.

Who may pay hears of them all, whatever they chose about other e-mails: it is their money.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q

from accounts.models import SentNotice
from billing.models import AutoTopUp, Order, PaymentCustomer
from billing.payments.auto_top_up_outcome import DECLINE_RETRY_DELAYS
from billing.pricing.money import NANOS_PER_CENT
from portal.notices.due import Notice, payers_of

# Older than this it is news to nobody, whatever kept the notice from going out.
NEWS_AGE = timedelta(days=1)

Problem = AutoTopUp.Problem


def bought(now: datetime) -> Iterator[Notice]:
    """Yields who should hear of the credits that were bought in the day before `now`."""
    orders = Order.objects.filter(
        origin=Order.Origin.AUTO_TOP_UP,
        state=Order.State.PAID,
        ended_at__gt=now - NEWS_AGE,
    ).select_related("team")
    found = list(orders)
    cards = {
        customer.payment_method_id: f"{customer.card_brand.title()} ending in "
        f"{customer.card_last_four}"
        for customer in PaymentCustomer.objects.filter(team__in={each.team_id for each in found})
    }
    members = payers_of({each.team_id for each in found})
    for order in found:
        for user in members.get(order.team_id, []):
            yield Notice(
                user,
                order.team,
                SentNotice.Kind.AUTO_TOP_UP,
                f"auto top-up {order.pk}",
                {
                    "number": order.number,
                    "amount_nanos": order.amount_cents * NANOS_PER_CENT,
                    "credit_nanos": order.credit_nanos,
                    "card": cards.get(order.payment_method_id, ""),
                    "at": f"{order.ended_at:%Y-%m-%d %H:%M} UTC",
                },
            )


def problems(now: datetime) -> Iterator[Notice]:
    """Yields who should hear that auto top-up waits, was declined, or may buy no more this month.

    Of declined payments in a row the first one is told, and the last, which switches it off.
    """
    is_news = ~Q(problem=Problem.DECLINED) | Q(is_enabled=False) | Q(failures=1)
    rows = list(
        AutoTopUp.objects.filter(is_news, problem_at__gt=now - NEWS_AGE)
        .exclude(problem=Problem.NONE)
        .select_related("team")
    )
    members = payers_of({row.team_id for row in rows})
    for row in rows:
        for user in members.get(row.team_id, []):
            kind = SentNotice.Kind.AUTO_TOP_UP_PROBLEM
            yield Notice(user, row.team, kind, _reference(row), _facts(row))


def _reference(row: AutoTopUp) -> str:
    """Names the problem, so that each is told once; a month's limit once for the month."""
    at = f"{row.problem_at:%Y-%m-%d %H:%M:%S.%f}"
    if row.problem == Problem.MONTHLY_LIMIT:
        at = f"{row.problem_at:%Y-%m} of {row.monthly_limit_cents}"
    return f"auto top-up {row.team_id} {row.problem} {at}"


def _facts(row: AutoTopUp) -> dict[str, str | int]:
    hours = DECLINE_RETRY_DELAYS[0].total_seconds() // 3600
    return {
        "problem": row.problem,
        "is_enabled": int(row.is_enabled),
        "attempts": row.failures,
        "pause_hours": int(hours),
        "amount_nanos": row.amount_cents * NANOS_PER_CENT,
        "limit_nanos": row.monthly_limit_cents * NANOS_PER_CENT,
        "threshold_nanos": row.threshold_nanos,
    }

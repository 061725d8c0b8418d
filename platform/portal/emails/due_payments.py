"""The notices about payments that are due: auto top-up, plans, refunds and paused keys.

Members who may pay get all of these, whatever other emails they chose: it is their money.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from accounts.models import Role, SentNotice, Team, User
from accounts.zones import moment_for
from billing.models import AutoTopUp, Order, PaymentCustomer, Refund, Subscription
from billing.payments import disputes
from billing.payments.auto_top_up_outcome import DECLINE_RETRY_DELAYS
from billing.pricing.money import NANOS_PER_CENT
from portal.emails.due import Notice, members_of

# Older than this no notice is sent, whatever delayed it.
AUTO_TOP_UP_MAX_AGE = timedelta(days=1)

Problem = AutoTopUp.Problem


def auto_top_ups(now: datetime) -> Iterator[Notice]:
    """Yield who should hear of the credits that were auto_top_ups in the day before `now`."""
    orders = Order.objects.filter(
        origin=Order.Origin.AUTO_TOP_UP,
        state=Order.State.PAID,
        ended_at__gt=now - AUTO_TOP_UP_MAX_AGE,
    ).select_related("team")
    found = list(orders)
    cards = {
        customer.payment_method_id: (customer.card_brand.title(), customer.card_last_four)
        for customer in PaymentCustomer.objects.filter(team__in={each.team_id for each in found})
    }
    members = members_of({each.team_id for each in found})
    for order in found:
        brand, last_four = cards.get(order.payment_method_id, ("", ""))
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
                    "card_brand": brand,
                    "card_last_four": last_four,
                    "at": moment_for(order.ended_at or now, user.zone, user.language),
                },
            )


def auto_top_up_problems(now: datetime) -> Iterator[Notice]:
    """Yield who should hear that auto top-up waits, was declined, or may buy no more this month.

    Of declined payments in a row the first is reported, and the last, which switches it off.
    """
    is_reported = ~Q(problem=Problem.DECLINED) | Q(is_enabled=False) | Q(failures=1)
    rows = list(
        AutoTopUp.objects.filter(is_reported, problem_at__gt=now - AUTO_TOP_UP_MAX_AGE)
        .exclude(problem=Problem.NONE)
        .select_related("team")
    )
    members = members_of({row.team_id for row in rows})
    for row in rows:
        for user in members.get(row.team_id, []):
            kind = SentNotice.Kind.AUTO_TOP_UP_PROBLEM
            yield Notice(user, row.team, kind, _auto_top_up_reference(row), _auto_top_up_facts(row))


def _auto_top_up_reference(row: AutoTopUp) -> str:
    """Name the problem, so that each is reported once; a month's limit once for the month."""
    at = f"{row.problem_at:%Y-%m-%d %H:%M:%S.%f}"
    if row.problem == Problem.MONTHLY_LIMIT:
        at = f"{row.problem_at:%Y-%m} of {row.monthly_limit_cents}"
    return f"auto top-up {row.team_id} {row.problem} {at}"


def _auto_top_up_facts(row: AutoTopUp) -> dict[str, str | int]:
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


# Older than this no notice is sent, whatever delayed it.
PLAN_ENDED_MAX_AGE = timedelta(days=7)

Status = Subscription.Status


def failed_plan_payments() -> Iterator[Notice]:
    """Yield who should hear that a plan's payment failed: once for each month's."""
    late = Subscription.objects.filter(status=Status.PAST_DUE, ended_at__isnull=True)
    kind = SentNotice.Kind.PLAN_PAYMENT_FAILED
    for row, user in _with_payers(late):
        yield Notice(user, row.team, kind, f"invoice {row.latest_invoice_id}", _plan_facts(row))


def ended_plans(now: datetime) -> Iterator[Notice]:
    """Yield who should hear that a plan has ended, or is taken away until it is paid."""
    over = Subscription.objects.filter(
        Q(status=Status.CANCELED, ended_at__gt=now - PLAN_ENDED_MAX_AGE)
        | Q(status=Status.UNPAID, ended_at__isnull=True),
        is_duplicate=False,
    )
    for row, user in _with_payers(over):
        reference = f"subscription {row.pk}"
        if row.status == Status.UNPAID:
            reference += f" unpaid {row.latest_invoice_id}"
        yield Notice(user, row.team, SentNotice.Kind.PLAN_ENDED, reference, _plan_facts(row))


def _with_payers(rows: QuerySet[Subscription]) -> Iterator[tuple[Subscription, User]]:
    """Yield each subscription with those of its team who may pay."""
    found = list(rows.select_related("team__plan", "price__plan"))
    payers = members_of({row.team_id for row in found})
    for row in found:
        for user in payers.get(row.team_id, []):
            yield row, user


def _plan_facts(row: Subscription) -> dict[str, str | int]:
    return {
        "plan_title": row.price.plan.title,
        "price_cents": row.price.price_cents,
        "now_title": row.team.plan.title,
        "is_unpaid": int(row.status == Status.UNPAID),
    }


PAYING_ROLES = (Role.OWNER, Role.BILLING)
# Older than this no notice is sent, whatever delayed it.
REFUND_MAX_AGE = timedelta(days=3)


def refunds_made(now: datetime) -> Iterator[Notice]:
    """Yield who should hear of the refunds that Stripe took on in the days before `now`."""
    made = (Refund.State.PENDING, Refund.State.SUCCEEDED)
    refunds = list(
        Refund.objects.filter(state__in=made, created_at__gt=now - REFUND_MAX_AGE).select_related(
            "order__team"
        )
    )
    members = members_of({refund.order.team_id for refund in refunds}, PAYING_ROLES)
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
    """Yield who should hear that their team's keys were paused for a payment in doubt."""
    teams = list(
        Team.objects.filter(
            suspended_reason__in=disputes.PAUSE_REASONS, suspended_at__gt=now - REFUND_MAX_AGE
        ).order_by("pk")
    )
    members = members_of({team.pk for team in teams}, PAYING_ROLES)
    for team in teams:
        reference = f"pause {team.pk} {team.suspended_at:%Y-%m-%d %H:%M:%S.%f}"
        is_disputed = team.suspended_reason == disputes.PAUSED_FOR_DISPUTE
        for user in members.get(team.pk, []):
            kind = SentNotice.Kind.KEYS_PAUSED
            yield Notice(user, team, kind, reference, {"is_disputed": int(is_disputed)})

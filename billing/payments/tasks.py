"""What Celery does for payments: every task may run twice, late or at once, and does no harm."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.utils import timezone

from billing.payments import (
    auto_top_up,
    debts,
    inbox,
    invoices,
    money_back,
    orders,
    reconciliation,
    referrals,
    refunds,
    subscriptions,
)
from billing.stripe_api.client import StripeError, StripeUnavailableError, is_on

log = structlog.get_logger(__name__)

FAILURES_IN_A_ROW = 5
RECONCILED_DAYS = 4


@shared_task
def handle_stripe_event(event_id: str) -> None:
    """Handles one event, right after it was received."""
    inbox.handle(event_id)


@shared_task
def handle_due_stripe_events() -> int:
    """Handles the events whose task was lost or failed. Returns how many it tried.

    Where one after the other fails Stripe is away, and the rest waits for the next round.
    """
    failures = tried = 0
    for event_id in inbox.due_events():
        event = inbox.handle(event_id)
        tried += event is not None
        failures = failures + 1 if event and event.state == event.State.FAILED else 0
        if failures == FAILURES_IN_A_ROW:
            break
    return tried


@shared_task
def check_open_orders() -> int:
    """Asks Stripe about orders whose webhook has not come. Returns how many are paid after all."""
    if not is_on():
        return 0
    failures = paid = 0
    for order in orders.open_orders():
        try:
            paid += orders.confirm(order).state == order.State.PAID
            failures = 0
        except (StripeError, orders.PaymentMismatchError) as error:
            log.warning("order_not_checked", order=order.number, error=str(error))
            failures += isinstance(error, StripeUnavailableError)
        if failures == FAILURES_IN_A_ROW:
            break
    return paid


@shared_task
def check_subscriptions() -> int:
    """Asks Stripe about subscriptions whose webhook may be lost. Returns how many changed."""
    if not is_on():
        return 0
    changed = 0
    for row in subscriptions.uncertain():
        try:
            found = subscriptions.check(row)
            changed += found.revision != row.revision
            invoices.note_paid_invoices(found)
        except (StripeError, orders.PaymentMismatchError) as error:
            log.warning("subscription_not_checked", subscription=str(row.pk), error=str(error))
    return changed


@shared_task
def top_up_low_balances() -> int:
    """Has credits bought for the teams that run low and wish it. Returns how many teams."""
    if not is_on():
        return 0
    due = auto_top_up.due_teams()
    for team_id in due:
        # A task for each: a card that Stripe takes long over holds up nobody else's.
        top_up_team.apply_async((team_id,), expires=auto_top_up.LEASE.total_seconds())
    return len(due)


@shared_task
def top_up_team(team_id: int) -> str:
    """Buys credits for one team. Returns what its order came to, if there is one."""
    try:
        order = auto_top_up.top_up(team_id)
    except (StripeError, orders.PaymentMismatchError) as error:
        log.warning("auto_top_up_waits", team_id=team_id, error=str(error))
        return ""
    return order.state if order is not None else ""


@shared_task
def reward_referrals() -> int:
    """Gives the credits of referrals whose team has paid. Returns how many referrals."""
    return sum(referrals.reward(team_id) for team_id in referrals.due())


@shared_task
def submit_requested_refunds() -> int:
    """Asks Stripe again for refunds that it has not answered for. Returns how many went through."""
    if not is_on():
        return 0
    waiting = refunds.requested_refunds()
    ended = [refunds.submit(refund, is_repeat=True) for refund in waiting]
    return sum(refund.state != refund.State.REQUESTED for refund in ended)


@shared_task
def check_money_back() -> int:
    """Asks Stripe about refunds and disputes under way, whose webhooks may have been lost.

    Returns how many payments it asked about.
    """
    if not is_on():
        return 0
    unfinished = money_back.unfinished()
    for payment in unfinished:
        try:
            money_back.catch_up(payment)
        except StripeError as error:
            log.warning("money_back_not_checked", payment=str(payment), error=str(error))
    return len(unfinished)


@shared_task
def collect_debts() -> int:
    """Collects what disputes left owing, where a team has it now. Returns how many debts."""
    return debts.collect()


@shared_task
def reconcile_stripe() -> int:
    """Compares the last days at Stripe with the books, and raises an alert for each difference.

    Returns how many are new. Days are looked at more than once, so that one without Stripe's
    answer is made up for.
    """
    if not is_on():
        return 0
    until = timezone.now() - reconciliation.GRACE
    try:
        report = reconciliation.reconcile(until - timedelta(days=RECONCILED_DAYS), until)
    except StripeError as error:
        log.warning("stripe_not_reconciled", error=str(error))
        return 0
    return reconciliation.raise_alerts(report)

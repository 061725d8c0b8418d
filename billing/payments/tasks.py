"""Celery's periodic tasks for payments: each is safe to run twice, late or concurrently."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.utils import timezone

from billing.errors import PaymentMismatchError, StripeError, StripeUnavailableError
from billing.payments import (
    auto_top_up,
    disputes,
    invoices,
    orders,
    promotions,
    reconciliation,
    refunds,
    reversals,
    subscriptions,
    webhooks,
)
from billing.stripe_settings import is_enabled

log = structlog.get_logger(__name__)

MAX_CONSECUTIVE_FAILURES = 5  # by then Stripe is considered down
RECONCILED_DAYS = 4


@shared_task
def handle_due_stripe_events() -> int:
    """Handle the events whose task was lost or failed. Return the number attempted.

    After several consecutive failures Stripe is down, and the rest waits for the next round.
    """
    failures = tried = 0
    for event_id in webhooks.due_event_ids():
        event = webhooks.handle(event_id)
        tried += event is not None
        failures = failures + 1 if event and event.state == event.State.FAILED else 0
        if failures == MAX_CONSECUTIVE_FAILURES:
            break
    return tried


@shared_task
def check_open_orders() -> int:
    """Confirm open orders whose webhook may be lost. Return the number that turned out paid."""
    if not is_enabled():
        return 0
    failures = paid = 0
    for order in orders.orders_to_check():
        try:
            paid += orders.confirm(order).state == order.State.PAID
            failures = 0
        except (StripeError, PaymentMismatchError) as error:
            log.warning("order_not_checked", order=order.number, error=str(error))
            failures += isinstance(error, StripeUnavailableError)
        if failures == MAX_CONSECUTIVE_FAILURES:
            break
    return paid


@shared_task
def check_subscriptions() -> int:
    """Update subscriptions whose webhook may be lost. Return the number that changed."""
    if not is_enabled():
        return 0
    changed = 0
    for row in subscriptions.subscriptions_to_check():
        try:
            refreshed = subscriptions.refresh(row)
            changed += refreshed.revision != row.revision
            invoices.book_recent_invoices(refreshed)
        except (StripeError, PaymentMismatchError) as error:
            log.warning("subscription_not_checked", subscription=str(row.pk), error=str(error))
    return changed


@shared_task
def top_up_low_balances() -> int:
    """Queue an auto top-up for each team that is due one. Return the number of teams."""
    if not is_enabled():
        return 0
    due = auto_top_up.due_teams()
    for team_id in due:
        # A task each, so that a slow charge delays nobody else's.
        top_up_team.apply_async((team_id,), expires=auto_top_up.LEASE.total_seconds())
    return len(due)


@shared_task
def top_up_team(team_id: int) -> str:
    """Buy credits for one team. Return the state of its order, or "" if there is none."""
    try:
        order = auto_top_up.top_up(team_id)
    except (StripeError, PaymentMismatchError) as error:
        log.warning("auto_top_up_not_completed", team_id=team_id, error=str(error))
        return ""
    return order.state if order is not None else ""


@shared_task
def reward_referrals() -> int:
    """Credit the referrals that are due, and take back those whose payment was reversed.

    Return the number of referrals that were credited.
    """
    promotions.follow_payments()
    return sum(promotions.reward_referral(team_id) for team_id in promotions.due_referrals())


@shared_task
def submit_requested_refunds() -> int:
    """Submit the refunds that Stripe has not answered for. Return the number it has now."""
    if not is_enabled():
        return 0
    submitted = [refunds.submit(each, is_retry=True) for each in refunds.refunds_to_submit()]
    return sum(refund.state != refund.State.REQUESTED for refund in submitted)


@shared_task
def check_reversals() -> int:
    """Synchronise pending refunds and open disputes, whose webhooks may have been lost.

    Return the number of payments checked.
    """
    if not is_enabled():
        return 0
    found = reversals.payments_to_check()
    for payment in found:
        try:
            reversals.sync(payment)
        except StripeError as error:
            log.warning("reversals_not_checked", payment=str(payment), error=str(error))
    return len(found)


@shared_task
def collect_debts() -> int:
    """Collect what teams owe for disputes and plans and can pay now. Return the number of debts."""
    return disputes.collect_debts() + disputes.collect_corrections()


@shared_task
def reconcile_stripe() -> int:
    """Reconcile the last days, and raise an alert for each difference.

    Return the number of new alerts. Days are compared more than once, so that a night on which
    Stripe did not answer is made up for.
    """
    if not is_enabled():
        return 0
    until = timezone.now() - reconciliation.GRACE
    try:
        report = reconciliation.reconcile(until - timedelta(days=RECONCILED_DAYS), until)
    except StripeError as error:
        log.warning("stripe_not_reconciled", error=str(error))
        return 0
    return reconciliation.raise_alerts(report)

"""What Celery does for payments: every task may run twice, late or at once, and does no harm."""

import structlog
from celery import shared_task

from billing.payments import inbox, invoices, orders, subscriptions
from billing.stripe_api.client import StripeError, is_on

log = structlog.get_logger(__name__)


@shared_task
def handle_stripe_event(event_id: str) -> None:
    """Handles one event, right after it was received."""
    inbox.handle(event_id)


@shared_task
def handle_due_stripe_events() -> int:
    """Handles the events whose task was lost or failed. Returns how many."""
    due = inbox.due_events()
    for event_id in due:
        inbox.handle(event_id)
    return len(due)


@shared_task
def check_open_orders() -> int:
    """Asks Stripe about orders whose webhook has not come. Returns how many are paid after all."""
    if not is_on():
        return 0
    paid = 0
    for order in orders.open_orders():
        try:
            paid += orders.confirm(order).state == order.State.PAID
        except (StripeError, orders.PaymentMismatchError) as error:
            log.warning("order_not_checked", order=order.number, error=str(error))
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

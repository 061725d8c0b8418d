"""Stripe's webhooks: verified, stored once, acknowledged, and handled by one function per event.

To handle another event, write one function with `@handles("the.event")` below, and name the event
in `platform/docs/operations.md`, where operators read which events to enable.

A handler gets the id of the event's object, fetches its state from Stripe and books it. It returns
the outcome in a few words for staff. It may be called again at any time, in any order.
"""

from collections.abc import Callable
from datetime import timedelta

import structlog
from celery import shared_task
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from kombu.exceptions import OperationalError

from accounts.masking import mask_secrets
from billing.errors import PaymentMismatchError
from billing.failpoints import failpoint
from billing.ledger.alerts import raise_alert
from billing.models import PaymentCustomer, StripeEvent
from billing.payments import customers, disputes, invoices, orders, reversals, subscriptions
from billing.stripe_api import checkout, payments
from billing.stripe_api import webhooks as stripe_webhooks

log = structlog.get_logger(__name__)

# Longer than a handler takes, with every call to Stripe timing out and retried. When a process dies
# while handling an event, another one takes over after that.
LEASE = timedelta(minutes=5)
MAX_RETRY_DELAY = timedelta(hours=1)
ATTEMPTS_BEFORE_ALERT = 8

DUE_STATES = (StripeEvent.State.RECEIVED, StripeEvent.State.FAILED)

Handler = Callable[[str], str]
HANDLERS: dict[str, Handler] = {}


class NotOursError(Exception):
    """The event is about an object that this service did not create."""


def handles(*event_types: str) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of these event types."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(event_types, handler))
        return handler

    return register


@csrf_exempt  # authenticated by Stripe's signature
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Accept an event: 200 once it is stored, 400 for anything Stripe did not send us."""
    try:
        event, is_new = receive(request.body, request.headers.get("Stripe-Signature", ""))
    except stripe_webhooks.InvalidEventError as error:
        log.warning("stripe_event_rejected", reason=str(error))
        return HttpResponse("Unrecognized event\n", status=400, content_type="text/plain")
    failpoint("after_event_kept")
    if is_new and event.state == event.State.RECEIVED:
        try:
            handle_stripe_event.delay(event.pk)
        except OperationalError:  # no broker: `tasks.handle_due_stripe_events` finds it
            log.warning("stripe_event_not_queued", event_id=event.pk)
    return HttpResponse("Accepted\n", content_type="text/plain")


# The name that messages queued by the last release carry.
@shared_task(name="billing.payments.tasks.handle_stripe_event")
def handle_stripe_event(event_id: str) -> None:
    """Handle one event, right after it was received.

    Unlike the periodic tasks it stands here, as the view above queues it.
    """
    handle(event_id)


def receive(payload: bytes, signature: str) -> tuple[StripeEvent, bool]:
    """Store an event, and return it with whether it is new. Raise InvalidEventError.

    An event of a type without a handler is stored as ignored.
    """
    event = stripe_webhooks.verify_event(payload, signature)
    is_handled = event.type in HANDLERS
    return StripeEvent.objects.get_or_create(
        id=event.id,
        defaults={
            "type": event.type,
            "object_id": event.object_id,
            "created_at": event.created_at,
            "state": StripeEvent.State.RECEIVED if is_handled else StripeEvent.State.IGNORED,
            "outcome": "" if is_handled else "Events of this type are not handled.",
            "ended_at": None if is_handled else timezone.now(),
        },
    )


def handle(event_id: str) -> StripeEvent | None:
    """Handle an event and store its outcome. Errors are stored with the event for a retry.

    Return None if the event is not due, or another process is handling it.
    """
    event = _claim(event_id)
    if event is None:
        return None
    try:
        event.outcome = HANDLERS[event.type](event.object_id)[:300]
        event.state = StripeEvent.State.HANDLED
    except (NotOursError, PaymentMismatchError) as error:  # the second has raised its own alert
        event.outcome = str(error)[:300]
        event.state = StripeEvent.State.IGNORED
    except Exception as error:
        log.exception("stripe_event_failed", event_id=event.id, event_type=event.type)
        event.outcome = mask_secrets(f"{type(error).__name__}: {error}")[:300]
        event.state = StripeEvent.State.FAILED
        event.next_attempt_at = timezone.now() + _retry_delay(event.attempts)
    failpoint("after_event_handled")
    _store_outcome(event)
    return event


def due_event_ids(row_limit: int = 100) -> list[str]:
    """Return the ids of due events: their task was lost, or their last attempt failed."""
    due = StripeEvent.objects.filter(state__in=DUE_STATES, next_attempt_at__lte=timezone.now())
    return list(due.order_by("next_attempt_at").values_list("id", flat=True)[:row_limit])


def replay(event: StripeEvent) -> None:
    """Make an event due again, whatever its outcome was."""
    if event.type in HANDLERS:
        StripeEvent.objects.filter(pk=event.pk).update(
            state=StripeEvent.State.RECEIVED, next_attempt_at=timezone.now(), ended_at=None
        )


def _claim(event_id: str) -> StripeEvent | None:
    """Lease a due event, so that no other process handles it meanwhile."""
    with transaction.atomic():
        event = (
            StripeEvent.objects.select_for_update(skip_locked=True)
            .filter(pk=event_id, state__in=DUE_STATES, next_attempt_at__lte=timezone.now())
            .first()
        )
        if event is not None:
            StripeEvent.objects.filter(pk=event.pk).update(
                attempts=F("attempts") + 1, next_attempt_at=timezone.now() + LEASE
            )
            event.refresh_from_db()
    return event


def _retry_delay(attempts: int) -> timedelta:
    return min(MAX_RETRY_DELAY, timedelta(seconds=5 * (1 << min(attempts, 12))))


def _store_outcome(event: StripeEvent) -> None:
    """Store an event's outcome, unless another process has taken the event over."""
    has_failed = event.state == StripeEvent.State.FAILED
    event.ended_at = None if has_failed else timezone.now()
    StripeEvent.objects.filter(pk=event.pk, attempts=event.attempts).update(
        outcome=event.outcome,
        state=event.state,
        next_attempt_at=event.next_attempt_at,
        ended_at=event.ended_at,
    )
    if has_failed and event.attempts == ATTEMPTS_BEFORE_ALERT:
        raise_alert("stripe_event", event.id, f"{event.type} {event.object_id}: {event.outcome}")


# The handlers


@handles(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
def handle_checkout_session(session_id: str) -> str:
    """Confirm the order or the subscription of a session that was completed or expired."""
    session = checkout.get_session(session_id)
    if session.mode == "payment":
        order = orders.find_order(session.client_reference_id)
        if order is None:
            raise NotOursError("The session is not for one of our orders.")
        order = orders.confirm_session(order, session)
        return f"Order {order.number} is {order.state}."
    if session.mode == "subscription":
        row = subscriptions.find_subscription(session.client_reference_id)
        if row is None:
            raise NotOursError("The session is not for one of our subscriptions.")
        row = subscriptions.confirm_session(row, session)
        return f"The subscription is {row.status}."
    if session.mode == "setup":
        return handle_customer(session.customer_id)
    raise NotOursError(f"Sessions in mode {session.mode} are not handled.")


@handles("payment_intent.succeeded", "payment_intent.payment_failed")
def handle_payment_intent(payment_intent_id: str) -> str:
    """Confirm the order of a payment that succeeded or failed."""
    order = orders.order_of_payment(payment_intent_id)
    if order is None:
        raise NotOursError("The payment is not for one of our orders.")
    return f"Order {order.number} is {order.state}."


@handles(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
)
def handle_subscription(subscription_id: str) -> str:
    """Update a subscription that started, changed, was paused or ended."""
    row = subscriptions.sync(subscription_id)
    if row is None:
        raise NotOursError("The subscription is not one of ours.")
    return f"The subscription is {row.status}."


@handles("invoice.paid")
def handle_paid_invoice(invoice_id: str) -> str:
    """Book a plan's paid invoice: for a period, or for the rest of one after an upgrade."""
    payment = invoices.book_invoice(invoice_id)
    if payment is None:
        raise NotOursError("The invoice is not for one of our subscriptions.")
    return f"{payment.amount_cents} cents are booked."


@handles("invoice.payment_failed")
def handle_failed_invoice(invoice_id: str) -> str:
    """Update the subscription of an invoice whose payment failed."""
    row = invoices.sync_subscription_of(invoice_id)
    if row is None:
        raise NotOursError("The invoice is not for one of our subscriptions.")
    return f"The subscription is {row.status}."


@handles("refund.created", "refund.updated", "refund.failed")
def handle_refund(refund_id: str) -> str:
    """Book a refund that was created or changed."""
    return _sync_reversals(payments.get_refund(refund_id).payment_intent_id)


@handles("charge.refunded")
def handle_charge_refunded(charge_id: str) -> str:
    """Book the refunds of a charge."""
    return _sync_reversals(payments.get_charge(charge_id).payment_intent_id)


@handles(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
def handle_dispute(dispute_id: str) -> str:
    """Book a dispute that was opened, changed or closed."""
    return _sync_reversals(payments.get_dispute(dispute_id).payment_intent_id)


@handles("radar.early_fraud_warning.created")
def handle_fraud_warning(warning_id: str) -> str:
    """Record an early fraud warning of the card's issuer, and pause the team's keys."""
    found = payments.get_fraud_warning(warning_id)
    warning = disputes.record_fraud_warning(_payment_of(found.payment_intent_id), found)
    return f"{warning.payment} may be fraud."


@handles("customer.updated")
def handle_customer(customer_id: str) -> str:
    """Update the card of a customer that changed."""
    return _refresh_card(customers.find_customer(customer_id))


@handles("payment_method.attached", "payment_method.detached")
def handle_payment_method(payment_method_id: str) -> str:
    """Update the team's card after one was attached or detached."""
    return _refresh_card(customers.find_customer_of_payment_method(payment_method_id))


def _sync_reversals(payment_intent_id: str) -> str:
    return reversals.sync(_payment_of(payment_intent_id))


def _payment_of(payment_intent_id: str) -> disputes.Payment:
    payment = reversals.find_payment(payment_intent_id)
    if payment is None:
        raise NotOursError("The payment is not one of ours.")
    return payment


def _refresh_card(customer: PaymentCustomer | None) -> str:
    if customer is None:
        raise NotOursError("The customer is not one of our teams.")
    customer = customers.refresh_card(customer)
    card = f"{customer.card_brand} {customer.card_last_four}".strip()
    return f"The team's card is {card or 'none'}."

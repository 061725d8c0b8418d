"""Refunds and disputes of a payment, synchronised from Stripe into our rows and the ledger.

Every event of a payment makes us fetch all of its refunds and disputes and book them in the order
in which they happened at Stripe, so the order in which events arrive makes no difference.
"""

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from billing.models import Dispute, Order, PlanRefund, Refund, SubscriptionPayment
from billing.payments import orders, plan_reversals
from billing.payments.customers import find_customer
from billing.payments.disputes import CLOSED_STATUSES, Payment, record_dispute
from billing.payments.refunds import record_refund
from billing.stripe_api import payments
from billing.stripe_api.objects import Dispute as StripeDispute
from billing.stripe_api.objects import Refund as StripeRefund

# Longer than a bank takes for a refund; a dispute may take months.
CHECK_UNTIL = timedelta(days=180)


class PaymentNotBookedError(Exception):
    """A payment by a customer of ours that is not booked yet: its own event is still to come."""


def find_payment(payment_intent_id: str) -> Payment | None:
    """Return the order or the plan payment of a PaymentIntent, or None if it is not ours.

    Raise StripeError, PaymentMismatchError and PaymentNotBookedError.
    """
    if not payment_intent_id:
        return None
    plans = SubscriptionPayment.objects.filter(payment_intent_id=payment_intent_id)
    plan_payment = plans.select_related("subscription__team").first()
    if plan_payment is not None:
        return plan_payment
    order = orders.order_of_payment(payment_intent_id)
    if order is not None and order.state == Order.State.PAID:
        return order
    if order is not None or find_customer(_payer_of(payment_intent_id)) is not None:
        raise PaymentNotBookedError(f"{payment_intent_id} is not booked here yet.")
    return None


def sync(payment: Payment) -> str:
    """Book every refund and dispute that Stripe has of a payment, and return a summary.

    Raise StripeError.
    """
    intent = payment.payment_intent_id or ""
    disputes = payments.disputes_of(intent)
    # Fetched after the disputes: Stripe makes no further refund while a dispute is open.
    refunds = payments.refunds_of(intent)
    reversals: list[StripeRefund | StripeDispute] = [*refunds, *disputes]
    for found in sorted(reversals, key=_booking_order):
        if isinstance(found, StripeDispute):
            record_dispute(payment, found)
        elif isinstance(payment, Order):
            record_refund(payment, found)
        else:
            plan_reversals.record_refund(payment, found)
    return f"{payment}: refunds {len(refunds)}, disputes {len(disputes)}."


def payments_to_check() -> list[Payment]:
    """Return the payments with a pending refund or an open dispute."""
    since = timezone.now() - CHECK_UNTIL
    pending = Refund.objects.filter(state=Refund.State.PENDING, created_at__gt=since)
    disputes = Dispute.objects.filter(~Q(status__in=CLOSED_STATUSES), created_at__gt=since)
    found = Order.objects.filter(
        Q(pk__in=pending.values("order")) | Q(pk__in=disputes.values("order"))
    )
    refunded = PlanRefund.objects.filter(state=PlanRefund.State.PENDING, created_at__gt=since)
    plans = SubscriptionPayment.objects.filter(
        Q(pk__in=disputes.values("subscription_payment")) | Q(pk__in=refunded.values("payment"))
    )
    return [*found.order_by("created_at"), *plans.order_by("paid_at")]


def _booking_order(found: StripeRefund | StripeDispute) -> tuple[datetime, bool]:
    """Sort by time; within a second, a refund precedes a dispute, after which none is made."""
    is_dispute = isinstance(found, StripeDispute)
    return (found.at if isinstance(found, StripeDispute) else found.created_at, is_dispute)


def _payer_of(payment_intent_id: str) -> str:
    return payments.get_payment_intent(payment_intent_id).customer_id

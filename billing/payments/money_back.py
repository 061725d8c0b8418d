"""What Stripe has of a payment's refunds and disputes, brought into our rows and the ledger.

Each piece of news makes us ask for all of them and book them in the order in which they happened
there, so that the order of the news makes no difference.
"""

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from billing.ledger.alerts import raise_alert
from billing.models import Dispute, Order, Refund, SubscriptionPayment
from billing.payments import orders
from billing.payments.customers import find_customer
from billing.payments.disputes import CLOSED, Payment, note_dispute
from billing.payments.refunds import note_refund
from billing.pricing.money import cents_text
from billing.stripe_api import payments
from billing.stripe_api.objects import Dispute as StripeDispute
from billing.stripe_api.objects import Refund as StripeRefund

# Longer than a bank takes for a refund; a dispute may take months.
LAST_LOOK = timedelta(days=180)


class PaymentNotKnownYetError(Exception):
    """A payment of a customer of ours, of which we have not heard: its news will come."""


def payment_of(payment_intent_id: str) -> Payment | None:
    """Returns the order, or the plan's payment, that money came for; None: it is none of ours.

    Raises StripeError, PaymentMismatchError and PaymentNotKnownYetError.
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
        raise PaymentNotKnownYetError(f"{payment_intent_id} is not booked here yet.")
    return None


def catch_up(payment: Payment) -> str:
    """Books every refund and dispute that Stripe has of a payment, and says what there is.

    Raises StripeError.
    """
    intent = payment.payment_intent_id or ""
    disputes = payments.disputes_of(intent)
    # Asked after the disputes: a refund that is not there now will not be made while one is open.
    refunds = payments.refunds_of(intent)
    news: list[StripeRefund | StripeDispute] = [*refunds, *disputes]
    for found in sorted(news, key=_when):
        if isinstance(found, StripeDispute):
            note_dispute(payment, found)
        elif isinstance(payment, Order):
            note_refund(payment, found)
        else:
            _alert_of_plan_refund(payment, found)
    return f"{payment}: refunds {len(refunds)}, disputes {len(disputes)}."


def unfinished() -> list[Payment]:
    """Returns the payments with a refund or a dispute of which something is still to come."""
    since = timezone.now() - LAST_LOOK
    pending = Refund.objects.filter(state=Refund.State.PENDING, created_at__gt=since)
    disputes = Dispute.objects.filter(~Q(status__in=CLOSED), created_at__gt=since)
    found = Order.objects.filter(
        Q(pk__in=pending.values("order")) | Q(pk__in=disputes.values("order"))
    )
    plans = SubscriptionPayment.objects.filter(pk__in=disputes.values("subscription_payment"))
    return [*found.order_by("created_at"), *plans.order_by("paid_at")]


def _when(found: StripeRefund | StripeDispute) -> tuple[datetime, bool]:
    """Of the same second a refund was first: Stripe makes none of a payment it took back."""
    is_dispute = isinstance(found, StripeDispute)
    return (found.at if isinstance(found, StripeDispute) else found.created_at, is_dispute)


def _payer_of(payment_intent_id: str) -> str:
    return payments.get_payment_intent(payment_intent_id).customer_id


def _alert_of_plan_refund(payment: SubscriptionPayment, found: StripeRefund) -> None:
    """Has staff look at a refund of a plan's payment: whether its credits go is theirs to say."""
    detail = f"{payment}: {cents_text(found.amount_cents)} were refunded at Stripe."
    raise_alert("plan_refund", found.id, detail)

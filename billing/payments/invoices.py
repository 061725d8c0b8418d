"""Paid invoices of subscriptions: booked as revenue, and the plan's credits granted, once.

The credits come from the terms at which each invoice line was sold, in proportion to what the line
charges. So every full period grants the plan's full credits, and an upgrade grants the difference
for the rest of its period, as it costs the difference.
"""

from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from billing import events
from billing.errors import PaymentMismatchError
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import PlanPrice, Subscription, SubscriptionPayment
from billing.payments.subscriptions import sync
from billing.pricing.money import NANOS_PER_CENT
from billing.stripe_api import payments, subscriptions
from billing.stripe_api.objects import Invoice

log = structlog.get_logger(__name__)

# The billing reasons that start a period or upgrade the plan within one; no other grants credits
# (https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason).
GRANTING_REASONS = ("subscription_create", "subscription_cycle", "subscription_update")


def book_invoice(invoice_id: str) -> SubscriptionPayment | None:
    """Book a paid invoice unless it is booked already.

    Return None if it is not paid, or not for one of our subscriptions. Raise StripeError, and
    PaymentMismatchError (after an alert) for another currency than US dollars.
    """
    known = SubscriptionPayment.objects.filter(pk=invoice_id).first()
    if known is not None:
        return known
    invoice = subscriptions.get_invoice(invoice_id)
    if not invoice.subscription_id:
        return None
    row = sync(invoice.subscription_id)
    if row is None or invoice.status != "paid" or invoice.paid_at is None:
        return None
    if invoice.currency != "usd" or invoice.is_live != row.is_live:
        raise _mismatch(invoice)
    intent_id = invoice.payment_intent_id
    charge_id = payments.get_payment_intent(intent_id).charge_id if intent_id else ""
    return _book(row, invoice, charge_id)


def book_recent_invoices(subscription: Subscription) -> int:
    """Book the most recent paid invoices that a lost webhook has left unbooked.

    Return the number of paid invoices. Raise StripeError.
    """
    if not subscription.stripe_id:
        return 0
    found = subscriptions.paid_invoice_ids(subscription.stripe_id)
    return sum(book_invoice(invoice_id) is not None for invoice_id in found)


def sync_subscription_of(invoice_id: str) -> Subscription | None:
    """Update an invoice's subscription from Stripe, and return it, or None if it is not ours.

    Raise StripeError.
    """
    invoice = subscriptions.get_invoice(invoice_id)
    return sync(invoice.subscription_id) if invoice.subscription_id else None


def granted_credit(invoice: Invoice) -> tuple[int, int]:
    """Return the credits that an invoice grants in nano-dollars, and their validity in days."""
    if invoice.billing_reason not in GRANTING_REASONS:
        return 0, 0
    price_ids = {line.price_id for line in invoice.lines}
    prices = {price.stripe_id: price for price in PlanPrice.objects.filter(stripe_id__in=price_ids)}
    credit_nanos = sum(
        prices[line.price_id].credit_nanos * line.amount_cents // prices[line.price_id].price_cents
        for line in invoice.lines
        if line.price_id in prices
    )
    days = max((price.credit_days for price in prices.values()), default=0)
    return max(0, credit_nanos), days


def pdf_url(invoice_id: str) -> str:
    """Return the URL of the invoice's PDF, or "" if there is none. Raise StripeError."""
    return subscriptions.get_invoice(invoice_id).pdf_url if invoice_id else ""


def _book(row: Subscription, invoice: Invoice, charge_id: str) -> SubscriptionPayment:
    account = postings.open_account(row.team)
    credit_nanos, days = (0, 0) if row.is_duplicate else granted_credit(invoice)
    paid_at = invoice.paid_at or timezone.now()
    # Tax is not revenue: what is booked is the price of the plan itself.
    revenue_nanos = (invoice.paid_cents - invoice.tax_cents) * NANOS_PER_CENT
    with transaction.atomic():
        payment, is_new = SubscriptionPayment.objects.get_or_create(
            invoice_id=invoice.id,
            defaults={
                "subscription": row,
                "amount_cents": invoice.paid_cents,
                "tax_cents": invoice.tax_cents,
                "credit_nanos": credit_nanos,
                "payment_intent_id": invoice.payment_intent_id or None,
                "charge_id": charge_id or None,
                "paid_at": paid_at,
            },
        )
        if not is_new:
            return payment
        if revenue_nanos > 0:
            postings.book_subscription(revenue_nanos, reference=invoice.id, memo=row.team.slug)
        if credit_nanos:
            postings.grant(
                account,
                credit_nanos,
                reference=f"subscription:{invoice.id}",
                memo=f"{row.price.plan.title} plan",
                expires_at=paid_at + timedelta(days=days),
            )
        events.publish_plan_paid(payment)
    log.info("subscription_paid", invoice=invoice.id, amount_cents=invoice.paid_cents)
    return payment


def _mismatch(invoice: Invoice) -> PaymentMismatchError:
    """Raise the alert, and return the error."""
    detail = f"{invoice.id} is in {invoice.currency}, live: {invoice.is_live}"
    raise_alert("payment_mismatch", invoice.id, detail)
    return PaymentMismatchError(detail)

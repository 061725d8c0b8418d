"""Paid invoices of subscriptions: booked as revenue, and the plan's credits granted, once.

What a payment grants comes of the terms on which each of its lines was sold, in proportion to what
the line charges. So the first and every later month grant the plan's credits whole, and an upgrade
grants the difference for the rest of its month, as it costs the difference for it.
"""

from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import PlanPrice, Subscription, SubscriptionPayment
from billing.payments.orders import PaymentMismatchError
from billing.payments.subscriptions import sync
from billing.pricing.money import NANOS_PER_CENT
from billing.stripe_api import payments, subscriptions
from billing.stripe_api.objects import Invoice

log = structlog.get_logger(__name__)

# What begins a period, or raises the plan within one. Others grant nothing.
GRANTING = ("subscription_create", "subscription_cycle", "subscription_update")


def note_invoice(invoice_id: str) -> SubscriptionPayment | None:
    """Books a paid invoice, if nobody has yet; None: it isn't paid, or of no subscription of ours.

    Raises StripeError, and PaymentMismatchError (after an alert) for money that isn't dollars.
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


def subscription_of(invoice_id: str) -> Subscription | None:
    """Returns the subscription of an invoice, brought in line with Stripe; None: none of ours.

    Raises StripeError.
    """
    invoice = subscriptions.get_invoice(invoice_id)
    return sync(invoice.subscription_id) if invoice.subscription_id else None


def note_paid_invoices(subscription: Subscription) -> int:
    """Books the newest paid invoices whose news was lost. Returns how many are booked.

    Raises StripeError.
    """
    if not subscription.stripe_id:
        return 0
    found = subscriptions.paid_invoices(subscription.stripe_id)
    return sum(note_invoice(invoice_id) is not None for invoice_id in found)


def granted_nanos(invoice: Invoice) -> tuple[int, int]:
    """Returns the credits that an invoice grants, in nano-dollars, and for how many days."""
    if invoice.billing_reason not in GRANTING:
        return 0, 0
    sold = {line.price_id for line in invoice.lines}
    terms = {price.stripe_id: price for price in PlanPrice.objects.filter(stripe_id__in=sold)}
    total = sum(
        terms[line.price_id].credit_nanos * line.amount_cents // terms[line.price_id].price_cents
        for line in invoice.lines
        if line.price_id in terms
    )
    days = max((price.credit_days for price in terms.values()), default=0)
    return max(0, total), days


def _book(row: Subscription, invoice: Invoice, charge_id: str) -> SubscriptionPayment:
    account = postings.open_account(row.team)
    credit_nanos, days = (0, 0) if row.is_duplicate else granted_nanos(invoice)
    paid_at = invoice.paid_at or timezone.now()
    # The tax is not ours: what is booked is what the plan itself cost.
    earned_nanos = (invoice.paid_cents - invoice.tax_cents) * NANOS_PER_CENT
    with transaction.atomic():
        payment, is_new = SubscriptionPayment.objects.get_or_create(
            invoice_id=invoice.id,
            defaults={
                "subscription": row,
                "amount_cents": invoice.paid_cents,
                "credit_nanos": credit_nanos,
                "payment_intent_id": invoice.payment_intent_id or None,
                "charge_id": charge_id or None,
                "paid_at": paid_at,
            },
        )
        if not is_new:
            return payment
        if earned_nanos > 0:
            postings.book_subscription(earned_nanos, reference=invoice.id, memo=row.team.slug)
        if credit_nanos:
            postings.grant(
                account,
                credit_nanos,
                reference=f"subscription:{invoice.id}",
                memo=f"{row.price.plan.title} plan",
                expires_at=paid_at + timedelta(days=days),
            )
    log.info("subscription_paid", invoice=invoice.id, amount_cents=invoice.paid_cents)
    return payment


def _mismatch(invoice: Invoice) -> PaymentMismatchError:
    what = f"{invoice.id} is in {invoice.currency}, live: {invoice.is_live}"
    raise_alert("payment_mismatch", invoice.id, what)
    return PaymentMismatchError(what)

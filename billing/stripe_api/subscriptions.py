"""Monthly prices, subscriptions and their invoices."""

from datetime import UTC, datetime

import stripe

from billing.stripe_api.client import stripe_client
from billing.stripe_api.objects import Invoice, InvoiceLine, Subscription, id_of, metadata_of

RECENT_INVOICES = 20


def create_price(*, plan: str, title: str, amount_cents: int) -> str:
    """Create a monthly price with its own product, and return its id. Raise StripeError."""
    with stripe_client() as client:
        return client.v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": amount_cents,
                "recurring": {"interval": "month"},
                "tax_behavior": "exclusive",
                "product_data": {"name": title, "metadata": {"plan": plan}},
                "metadata": {"plan": plan},
            }
        ).id


def get_subscription(subscription_id: str) -> Subscription:
    """Return the subscription's current state. Raise StripeError."""
    with stripe_client() as client:
        return _subscription(client.v1.subscriptions.retrieve(subscription_id))


def upgrade(subscription: Subscription, price_id: str, *, at: int, attempt: str) -> None:
    """Change to a higher price at once: the prorated difference is paid, or nothing changes.

    `at` is the proration date in Unix seconds. A repeated `attempt` is charged once. Raise
    CardDeclinedError and the other kinds of StripeError.
    """
    with stripe_client() as client:
        client.v1.subscriptions.update(
            subscription.id,
            {
                "items": [{"id": subscription.item_id, "price": price_id}],
                "proration_behavior": "always_invoice",
                "proration_date": at,
                "payment_behavior": "error_if_incomplete",
            },
            {"idempotency_key": f"upgrade-{attempt}"},
        )


def renew_at_price(subscription: Subscription, price_id: str) -> None:
    """Renew at this price from the next period on, without proration. Raise StripeError."""
    with stripe_client() as client:
        client.v1.subscriptions.update(
            subscription.id,
            {
                "items": [{"id": subscription.item_id, "price": price_id}],
                "proration_behavior": "none",
                "cancel_at_period_end": False,
            },
        )


def cancel_at_period_end(subscription: Subscription) -> None:
    """Cancel the subscription when the paid period ends. Raise StripeError."""
    with stripe_client() as client:
        client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})


def cancel_now(subscription: Subscription) -> None:
    """Cancel the subscription at once, without a refund. Raise StripeError."""
    with stripe_client() as client:
        client.v1.subscriptions.cancel(subscription.id)


def get_invoice(invoice_id: str) -> Invoice:
    """Return the invoice's current state. Raise StripeError."""
    with stripe_client() as client:
        return _invoice(client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]}))


def paid_invoice_ids(subscription_id: str) -> list[str]:
    """Return the ids of a subscription's most recent paid invoices. Raise StripeError."""
    with stripe_client() as client:
        found = client.v1.invoices.list(
            {"subscription": subscription_id, "status": "paid", "limit": RECENT_INVOICES}
        )
    return [invoice.id for invoice in found.data]


def _subscription(subscription: stripe.Subscription) -> Subscription:
    item = subscription["items"].data[0]
    ended_at = getattr(subscription, "ended_at", None)
    return Subscription(
        id=subscription.id,
        status=subscription.status,
        local_id=metadata_of(subscription, "row"),
        customer_id=id_of(subscription.customer),
        is_live=subscription.livemode,
        item_id=item.id,
        price_id=item.price.id,
        period_start=_datetime(item.current_period_start),
        period_end=_datetime(item.current_period_end),
        is_ending=bool(
            subscription.cancel_at_period_end or getattr(subscription, "cancel_at", None)
        ),
        ended_at=_datetime(ended_at) if ended_at else None,
        latest_invoice_id=id_of(subscription.latest_invoice),
    )


def _invoice(invoice: stripe.Invoice) -> Invoice:
    details = getattr(getattr(invoice, "parent", None), "subscription_details", None)
    paid_at = getattr(getattr(invoice, "status_transitions", None), "paid_at", None)
    payments = getattr(getattr(invoice, "payments", None), "data", None) or []
    intents = [
        id_of(getattr(each.payment, "payment_intent", None))
        for each in payments
        if each.status == "paid"
    ]
    return Invoice(
        id=invoice.id or "",
        subscription_id=id_of(getattr(details, "subscription", None)),
        billing_reason=invoice.billing_reason or "",
        status=invoice.status or "",
        currency=invoice.currency,
        is_live=invoice.livemode,
        paid_cents=invoice.amount_paid,
        tax_cents=sum(tax.amount for tax in getattr(invoice, "total_taxes", None) or []),
        paid_at=_datetime(paid_at) if paid_at else None,
        payment_intent_id=next(iter(intents), ""),
        pdf_url=invoice.invoice_pdf or "",
        lines=tuple(_line(line) for line in invoice.lines.data),
    )


def _line(line: stripe.InvoiceLineItem) -> InvoiceLine:
    details = getattr(getattr(line, "pricing", None), "price_details", None)
    return InvoiceLine(id_of(getattr(details, "price", None)), line.amount)


def _datetime(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

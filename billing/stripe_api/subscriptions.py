"""Monthly prices, the subscriptions to them, and their invoices."""

from datetime import UTC, datetime

import stripe

from billing.stripe_api.client import calling
from billing.stripe_api.objects import Invoice, InvoiceLine, Subscription, id_of, metadata_of

NEWEST_INVOICES = 20


def create_price(*, plan: str, title: str, amount_cents: int) -> str:
    """Makes a monthly price with a product of its own, and returns its id. Raises StripeError."""
    with calling() as client:
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
    """Returns a subscription as it is now. Raises StripeError."""
    with calling() as client:
        return _subscription(client.v1.subscriptions.retrieve(subscription_id))


def upgrade(subscription: Subscription, price_id: str, *, at: int, attempt: str) -> None:
    """Changes to a dearer price at once: the rest of the period is invoiced and paid, or nothing
    changes.

    `at` (unix seconds) is the moment from which it counts; an attempt that is repeated is one.
    Raises CardRefusedError and the other kinds of StripeError.
    """
    with calling() as client:
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


def continue_with(subscription: Subscription, price_id: str) -> None:
    """Lets the subscription go on after its period, at this price. Raises StripeError."""
    with calling() as client:
        client.v1.subscriptions.update(
            subscription.id,
            {
                "items": [{"id": subscription.item_id, "price": price_id}],
                "proration_behavior": "none",
                "cancel_at_period_end": False,
            },
        )


def end_with_period(subscription: Subscription) -> None:
    """Lets the subscription end with what is paid for. Raises StripeError."""
    with calling() as client:
        client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})


def end_now(subscription: Subscription) -> None:
    """Ends the subscription at once, and gives nothing back. Raises StripeError."""
    with calling() as client:
        client.v1.subscriptions.cancel(subscription.id)


def get_invoice(invoice_id: str) -> Invoice:
    """Returns an invoice as it is now. Raises StripeError."""
    with calling() as client:
        return _invoice(client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]}))


def paid_invoices(subscription_id: str) -> list[str]:
    """Returns the ids of a subscription's newest paid invoices. Raises StripeError."""
    with calling() as client:
        found = client.v1.invoices.list(
            {"subscription": subscription_id, "status": "paid", "limit": NEWEST_INVOICES}
        )
    return [invoice.id for invoice in found.data]


def _subscription(subscription: stripe.Subscription) -> Subscription:
    item = subscription["items"].data[0]
    ended_at = getattr(subscription, "ended_at", None)
    return Subscription(
        id=subscription.id,
        status=subscription.status,
        row=metadata_of(subscription, "row"),
        customer_id=id_of(subscription.customer),
        is_live=subscription.livemode,
        item_id=item.id,
        price_id=item.price.id,
        period_start=_moment(item.current_period_start),
        period_end=_moment(item.current_period_end),
        is_ending=bool(
            subscription.cancel_at_period_end or getattr(subscription, "cancel_at", None)
        ),
        ended_at=_moment(ended_at) if ended_at else None,
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
        paid_at=_moment(paid_at) if paid_at else None,
        payment_intent_id=next(iter(intents), ""),
        pdf_url=invoice.invoice_pdf or "",
        lines=tuple(_line(line) for line in invoice.lines.data),
    )


def _line(line: stripe.InvoiceLineItem) -> InvoiceLine:
    details = getattr(getattr(line, "pricing", None), "price_details", None)
    return InvoiceLine(id_of(getattr(details, "price", None)), line.amount)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""Checkout Sessions and the customer portal: Stripe's pages that a customer is sent to."""

import stripe
from django.conf import settings
from stripe.params.checkout import SessionCreateParams

from billing.stripe_api.client import calling
from billing.stripe_api.objects import Session, id_of


def open_payment(
    *,
    order: str,
    customer_id: str,
    amount_cents: int,
    title: str,
    success_url: str,
    cancel_url: str,
    retry: str = "",
) -> Session:
    """Opens a page where an order is paid, and the card kept for the customer.

    The order's id is the idempotency key: asked again, it is the same page. Where Stripe keeps a
    failure for that key (FailureKeptError), a `retry` makes it another. Raises StripeError.
    """
    with calling() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "customer": customer_id,
                "client_reference_id": order,
                "line_items": [
                    {
                        "quantity": 1,
                        "price_data": {
                            "currency": "usd",
                            "unit_amount": amount_cents,
                            "tax_behavior": "exclusive",
                            "product_data": {"name": title},
                        },
                    }
                ],
                "payment_intent_data": {
                    "metadata": {"order": order},
                    "setup_future_usage": "off_session",
                },
                "invoice_creation": {
                    "enabled": True,
                    "invoice_data": {"metadata": {"order": order}},
                },
                **_of_a_purchase(success_url, cancel_url),
            },
            {"idempotency_key": f"order-{order}{retry}"},
        )
    return _session(session)


def open_subscription(
    *, row: str, customer_id: str, price_id: str, success_url: str, cancel_url: str
) -> Session:
    """Opens a page where a monthly price is subscribed to.

    The row's id is the idempotency key: asked again, it is the same page. Raises StripeError.
    """
    with calling() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer_id,
                "client_reference_id": row,
                "line_items": [{"price": price_id, "quantity": 1}],
                "subscription_data": {"metadata": {"row": row}},
                **_of_a_purchase(success_url, cancel_url),
            },
            {"idempotency_key": f"subscription-{row}"},
        )
    return _session(session)


def find_session(*, order: str, customer_id: str) -> Session | None:
    """Returns the newest session of an order among a customer's. Raises StripeError."""
    with calling() as client:
        listed = client.v1.checkout.sessions.list({"customer": customer_id, "limit": 100})
        for session in listed.auto_paging_iter():
            if session.client_reference_id == order:
                return _session(session)
    return None


def session_of_payment(payment_intent_id: str) -> Session | None:
    """Returns the session at which a payment was made, if it was at one. Raises StripeError."""
    with calling() as client:
        found = client.v1.checkout.sessions.list({"payment_intent": payment_intent_id}).data
    return _session(found[0]) if found else None


def open_card_setup(*, customer_id: str, success_url: str, cancel_url: str) -> str:
    """Returns the address of a page where the customer leaves a card. Raises StripeError."""
    with calling() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "setup",
                "currency": "usd",
                "customer": customer_id,
                "success_url": success_url,
                "cancel_url": cancel_url,
            }
        )
    return _session(session).url


def open_portal(*, customer_id: str, return_url: str) -> str:
    """Returns the address of the customer's portal: cards and invoices. Raises StripeError."""
    with calling() as client:
        return client.v1.billing_portal.sessions.create(
            {"customer": customer_id, "return_url": return_url}
        ).url


def get_session(session_id: str) -> Session:
    """Returns a session as it is now. Raises StripeError."""
    with calling() as client:
        return _session(client.v1.checkout.sessions.retrieve(session_id))


def expire_session(session_id: str) -> Session:
    """Ends an open session, so that it can't be paid any more. Raises StripeError."""
    with calling() as client:
        return _session(client.v1.checkout.sessions.expire(session_id))


def _of_a_purchase(success_url: str, cancel_url: str) -> SessionCreateParams:
    """Returns what every purchase asks for: billing details, and tax where the operator charges
    it; and the ways back.
    """
    return {
        "billing_address_collection": "required" if settings.STRIPE_TAX else "auto",
        "customer_update": {"name": "auto", "address": "auto"},
        "tax_id_collection": {"enabled": True},
        "automatic_tax": {"enabled": settings.STRIPE_TAX},
        "success_url": success_url,
        "cancel_url": cancel_url,
    }


def _session(session: stripe.checkout.Session) -> Session:
    return Session(
        id=session.id,
        url=session.url or "",
        mode=session.mode,
        status=session.status or "",
        payment_status=session.payment_status,
        client_reference_id=session.client_reference_id or "",
        subtotal_cents=session.amount_subtotal or 0,
        total_cents=session.amount_total or 0,
        currency=session.currency or "",
        is_live=session.livemode,
        customer_id=id_of(session.customer),
        payment_intent_id=id_of(session.payment_intent),
        subscription_id=id_of(session.subscription),
        invoice_id=id_of(session.invoice),
    )

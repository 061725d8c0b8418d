"""Checkout Sessions and the customer portal: the pages Stripe hosts for customers."""

import stripe
from django.conf import settings
from stripe.params.checkout import SessionCreateParams

from billing.stripe_api.client import stripe_client
from billing.stripe_api.objects import Session, id_of


def create_payment_session(
    *,
    order_id: str,
    customer_id: str,
    amount_cents: int,
    title: str,
    success_url: str,
    cancel_url: str,
    retry: str = "",
) -> Session:
    """Create the session in which an order is paid and the card is saved for off-session use.

    The order's id is the idempotency key, so a repeated call returns the same session. Where Stripe
    replays a stored failure (ReplayedFailureError), pass a `retry` to change the key. Raise
    StripeError.
    """
    with stripe_client() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "customer": customer_id,
                "client_reference_id": order_id,
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
                    "metadata": {"order": order_id},
                    "setup_future_usage": "off_session",
                },
                "invoice_creation": {
                    "enabled": True,
                    "invoice_data": {"metadata": {"order": order_id}},
                },
                **_purchase_params(success_url, cancel_url),
            },
            {"idempotency_key": f"order-{order_id}{retry}"},
        )
    return _session(session)


def create_subscription_session(
    *, local_id: str, customer_id: str, price_id: str, success_url: str, cancel_url: str
) -> Session:
    """Create the session in which a customer subscribes to a monthly price.

    `local_id`, our row's id, is the idempotency key, so a repeated call returns the same session.
    Raise StripeError.
    """
    with stripe_client() as client:
        session = client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": customer_id,
                "client_reference_id": local_id,
                "line_items": [{"price": price_id, "quantity": 1}],
                "subscription_data": {"metadata": {"row": local_id}},
                **_purchase_params(success_url, cancel_url),
            },
            {"idempotency_key": f"subscription-{local_id}"},
        )
    return _session(session)


def find_session(*, order_id: str, customer_id: str) -> Session | None:
    """Return the newest session of an order among a customer's. Raise StripeError."""
    with stripe_client() as client:
        listed = client.v1.checkout.sessions.list({"customer": customer_id, "limit": 100})
        for session in listed.auto_paging_iter():
            if session.client_reference_id == order_id:
                return _session(session)
    return None


def session_of_payment(payment_intent_id: str) -> Session | None:
    """Return the session in which a payment was made, if any. Raise StripeError."""
    with stripe_client() as client:
        found = client.v1.checkout.sessions.list({"payment_intent": payment_intent_id}).data
    return _session(found[0]) if found else None


def create_setup_session(*, customer_id: str, success_url: str, cancel_url: str) -> str:
    """Return the URL of a page where the customer saves a card. Raise StripeError."""
    with stripe_client() as client:
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


def create_portal_session(*, customer_id: str, return_url: str) -> str:
    """Return the URL of the customer portal, for cards and invoices. Raise StripeError."""
    with stripe_client() as client:
        return client.v1.billing_portal.sessions.create(
            {"customer": customer_id, "return_url": return_url}
        ).url


def get_session(session_id: str) -> Session:
    """Return the session's current state. Raise StripeError."""
    with stripe_client() as client:
        return _session(client.v1.checkout.sessions.retrieve(session_id))


def expire_session(session_id: str) -> Session:
    """Expire an open session, so that it can no longer be paid. Raise StripeError."""
    with stripe_client() as client:
        return _session(client.v1.checkout.sessions.expire(session_id))


def _purchase_params(success_url: str, cancel_url: str) -> SessionCreateParams:
    """Return the parameters of every purchase: billing details, tax if enabled, return URLs."""
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

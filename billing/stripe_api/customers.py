"""Stripe customers, and the cards saved for them."""

from hashlib import sha256

from billing.stripe_api.client import stripe_client
from billing.stripe_api.objects import Card, id_of


def create_customer(*, team: str, name: str, email: str, retry: str = "") -> str:
    """Create a team's customer, or find the one just created, and return its id.

    The idempotency key covers team, name and email. Pass a `retry` to change it where Stripe
    replays a stored failure (ReplayedFailureError). Raise StripeError.
    """
    content = "\n".join([team, name, email, retry])
    with stripe_client() as client:
        return client.v1.customers.create(
            {"name": name, "email": email, "metadata": {"team": team}},
            {"idempotency_key": f"customer-{sha256(content.encode()).hexdigest()}"},
        ).id


def default_card(customer_id: str) -> Card | None:
    """Return the customer's default card, else the one saved last. Raise StripeError."""
    with stripe_client() as client:
        customer = client.v1.customers.retrieve(customer_id)
        settings = getattr(customer, "invoice_settings", None)
        default_id = id_of(getattr(settings, "default_payment_method", None))
        methods = client.v1.customers.payment_methods.list(customer_id, {"type": "card"}).data
    for method in sorted(methods, key=lambda each: each.id == default_id, reverse=True):
        if method.card is not None:
            return Card(method.id, method.card.brand, method.card.last4 or "")
    return None


def customer_of_payment_method(payment_method_id: str) -> str:
    """Return the id of the customer a payment method is attached to, or "". Raise StripeError."""
    with stripe_client() as client:
        return id_of(client.v1.payment_methods.retrieve(payment_method_id).customer)

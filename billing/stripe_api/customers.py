"""Customers at Stripe, and the cards that they keep there."""

from hashlib import sha256

from billing.stripe_api.client import calling
from billing.stripe_api.objects import Card, id_of


def create_customer(*, team: str, name: str, email: str, retry: str = "") -> str:
    """Makes a team's customer, or finds the one just made, and returns its id.

    Another name or address makes another customer, and so does a `retry`, which is for failures
    that Stripe keeps (FailureKeptError). Raises StripeError.
    """
    about = "\n".join([team, name, email, retry])
    with calling() as client:
        return client.v1.customers.create(
            {"name": name, "email": email, "metadata": {"team": team}},
            {"idempotency_key": f"customer-{sha256(about.encode()).hexdigest()}"},
        ).id


def default_card(customer_id: str) -> Card | None:
    """Returns the card that the customer has chosen, else the one they left last.

    Raises StripeError.
    """
    with calling() as client:
        customer = client.v1.customers.retrieve(customer_id)
        settings = getattr(customer, "invoice_settings", None)
        chosen = id_of(getattr(settings, "default_payment_method", None))
        methods = client.v1.customers.payment_methods.list(customer_id, {"type": "card"}).data
    for method in sorted(methods, key=lambda each: each.id == chosen, reverse=True):
        if method.card is not None:
            return Card(method.id, method.card.brand, method.card.last4 or "")
    return None


def owner_of(payment_method_id: str) -> str:
    """Returns the id of the customer who keeps a payment method; empty: nobody does.

    Raises StripeError.
    """
    with calling() as client:
        return id_of(client.v1.payment_methods.retrieve(payment_method_id).customer)

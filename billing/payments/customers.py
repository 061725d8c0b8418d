"""The team as Stripe knows it."""

import uuid
from functools import partial

from django.db import transaction

from accounts.models import Team, User
from billing.models import PaymentCustomer
from billing.stripe_api import customers
from billing.stripe_api.client import FailureKeptError


def customer_of(team: Team, user: User) -> PaymentCustomer:
    """Returns the team's customer, which is made with the user's address where there is none.

    Made by two people at once, one of Stripe's customers is the team's, and the other nobody's.
    Raises StripeError.
    """
    found = PaymentCustomer.objects.filter(team=team).first()
    if found is not None:
        return found
    stripe_id = _create(team, user)
    return PaymentCustomer.objects.get_or_create(team=team, defaults={"stripe_id": stripe_id})[0]


def refresh_card(customer: PaymentCustomer) -> PaymentCustomer:
    """Brings the card that pays for the team to what Stripe has. Raises StripeError."""
    card = customers.default_card(customer.stripe_id)
    with transaction.atomic():
        customer = PaymentCustomer.objects.select_for_update().get(pk=customer.pk)
        customer.payment_method_id = card.payment_method_id if card else ""
        customer.card_brand = card.brand if card else ""
        customer.card_last_four = card.last_four if card else ""
        customer.save()
    return customer


def find_customer(stripe_id: str) -> PaymentCustomer | None:
    """Returns the customer of one of our teams, by Stripe's id."""
    return PaymentCustomer.objects.filter(stripe_id=stripe_id).first()


def _create(team: Team, user: User) -> str:
    create = partial(customers.create_customer, team=team.slug, name=team.name, email=user.email)
    try:
        return create()
    except FailureKeptError:
        return create(retry=uuid.uuid4().hex)

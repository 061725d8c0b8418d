"""Teams as Stripe customers, their saved card, and Stripe's pages for both."""

import uuid
from functools import partial

from django.db import transaction

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.errors import ReplayedFailureError
from billing.models import PaymentCustomer
from billing.stripe_api import checkout, customers


def get_or_create_customer(team: Team, user: User) -> PaymentCustomer:
    """Return the team's customer, created with the user's email address if there is none.

    If two people create one at the same time, the team keeps one of the two Stripe customers and
    the other stays unused. Raise StripeError.
    """
    found = PaymentCustomer.objects.filter(team=team).first()
    if found is not None:
        return found
    stripe_id = _create(team, user)
    return PaymentCustomer.objects.get_or_create(team=team, defaults={"stripe_id": stripe_id})[0]


def find_customer(stripe_id: str) -> PaymentCustomer | None:
    """Return the customer with this Stripe id, if it is one of our teams."""
    return PaymentCustomer.objects.filter(stripe_id=stripe_id).first()


def find_customer_of_payment_method(payment_method_id: str) -> PaymentCustomer | None:
    """Return the customer of a payment method. Raise StripeError.

    A detached payment method has no customer at Stripe any more, so it is found by our copy.
    """
    stripe_id = customers.customer_of_payment_method(payment_method_id)
    if stripe_id:
        return find_customer(stripe_id)
    return PaymentCustomer.objects.filter(payment_method_id=payment_method_id).first()


def refresh_card(customer: PaymentCustomer) -> PaymentCustomer:
    """Update our copy of the team's card from Stripe. Raise StripeError."""
    card = customers.default_card(customer.stripe_id)
    with transaction.atomic():
        customer = PaymentCustomer.objects.select_for_update().get(pk=customer.pk)
        customer.payment_method_id = card.payment_method_id if card else ""
        customer.card_brand = card.brand if card else ""
        customer.card_last_four = card.last_four if card else ""
        customer.save()
    return customer


def refresh_card_of_team(team: Team) -> PaymentCustomer | None:
    """Update our copy of the team's card from Stripe, and return its customer.

    Return None for a team that is no Stripe customer yet. Raise StripeError.
    """
    customer = PaymentCustomer.objects.filter(team=team).first()
    return refresh_card(customer) if customer is not None else None


def open_card_setup(
    team: Team, user: User, *, success_url: str, cancel_url: str, ip_address: str | None = None
) -> str:
    """Return the URL of Stripe's page where the team saves a card. Raise StripeError."""
    customer = get_or_create_customer(team, user)
    url = checkout.create_setup_session(
        customer_id=customer.stripe_id, success_url=success_url, cancel_url=cancel_url
    )
    _record(team, user, "billing.card_setup_opened", ip_address)
    return url


def open_customer_portal(
    team: Team, user: User, *, return_url: str, ip_address: str | None = None
) -> str:
    """Return the URL of Stripe's customer portal for the team. Raise StripeError."""
    customer = get_or_create_customer(team, user)
    url = checkout.create_portal_session(customer_id=customer.stripe_id, return_url=return_url)
    _record(team, user, "billing.portal_opened", ip_address)
    return url


def _record(team: Team, user: User, action: str, ip_address: str | None) -> None:
    audit.record(Actor(team=team, user=user), action, ip_address=ip_address)


def _create(team: Team, user: User) -> str:
    create = partial(customers.create_customer, team=team.slug, name=team.name, email=user.email)
    try:
        return create()
    except ReplayedFailureError:
        return create(retry=uuid.uuid4().hex)

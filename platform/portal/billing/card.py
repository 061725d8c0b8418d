"""The card that Stripe keeps for a team, as it was when we last heard of it."""

from typing import Any

from accounts.access import Actor
from billing.models import CreditAccount, PaymentCustomer

_BRANDS = {
    "amex": "American Express",
    "diners": "Diners Club",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
}


def card_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `card_name`, such as `Visa •••• 4242`; empty where there is none."""
    return {"card_name": card_name(getattr(actor.team, "payment_customer", None))}


def card_name(customer: PaymentCustomer | None) -> str:
    """Returns the card as people know it; empty where there is none."""
    if customer is None or not customer.payment_method_id:
        return ""
    brand = _BRANDS.get(customer.card_brand, customer.card_brand.title())
    return f"{brand} •••• {customer.card_last_four}"

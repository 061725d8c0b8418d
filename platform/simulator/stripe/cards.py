"""Test payment methods, named and behaving as Stripe's (docs.stripe.com/testing)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """How a payment method pays.

    declines: the code it is declined with. asks: whether its owner authenticates, "always" or only
    when it is "kept". may_be_kept: whether a card that is declined can be attached all the same.
    is_delayed: a bank debit, whose success or failure comes days later.
    """

    brand: str
    last4: str
    label: str
    declines: str = ""
    asks: str = ""
    may_be_kept: bool = False
    is_delayed: bool = False


CARDS = {
    "pm_card_visa": Card("visa", "4242", "Pays"),
    "pm_card_mastercard": Card("mastercard", "4444", "Pays"),
    "pm_card_authenticationRequired": Card("visa", "3184", "3-D Secure, always", asks="always"),
    "pm_card_authenticationRequiredOnSetup": Card("visa", "3155", "3-D Secure once", asks="kept"),
    "pm_card_chargeDeclined": Card("visa", "0002", "Is declined", declines="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        "visa", "9995", "Insufficient funds", declines="insufficient_funds"
    ),
    "pm_card_chargeDeclinedExpiredCard": Card(
        "visa", "0069", "Has expired", declines="expired_card"
    ),
    "pm_card_chargeCustomerFail": Card(
        "visa", "0341", "Can be kept, then declines", declines="generic_decline", may_be_kept=True
    ),
    "pm_usBankAccount_success": Card("bank", "6789", "Bank debit, settles later", is_delayed=True),
}
BY_LAST4 = {card.last4: card for card in CARDS.values()}


def details(card: Card) -> dict[str, object]:
    """Return the part of a payment method that says what it is."""
    if card.is_delayed:
        bank = {"bank_name": "STRIPE TEST BANK", "last4": card.last4}
        return {"type": "us_bank_account", "us_bank_account": bank}
    shown = {"brand": card.brand, "last4": card.last4, "exp_month": 12, "exp_year": 2034}
    return {"type": "card", "card": shown | {"country": "US", "funding": "credit"}}


def behaviour(method: dict[str, dict[str, str]]) -> Card:
    """Return how a payment method behaves."""
    return BY_LAST4[(method.get("card") or method["us_bank_account"])["last4"]]

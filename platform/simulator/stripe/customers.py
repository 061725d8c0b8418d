"""Customers and the payment methods that are kept for them."""

from typing import Any

from simulator.stripe import cards
from simulator.stripe.cards import CARDS
from simulator.stripe.errors import StripeError, card_error, declined
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

FIELDS = ("email", "name", "description", "address", "phone")


class Customers:
    """Customers and their payment methods."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks

    def create(self, form: dict[str, Any]) -> Thing:
        """Make a customer."""
        customer = self._store.create(
            "customer",
            "cus",
            **{name: form.get(name) for name in FIELDS},
            balance=0,  # in cents; below zero it is credit towards the next invoice
            currency=None,
            default_source=None,
            delinquent=False,
            invoice_settings={"default_payment_method": None},
            metadata=form.get("metadata", {}),
        )
        self._webhooks.emit("customer.created", customer)
        return customer

    def update(self, number: str, form: dict[str, Any]) -> Thing:
        """Change a customer, its default payment method among the rest."""
        customer = self.get(number)
        chosen = form.get("invoice_settings", {}).get("default_payment_method")
        if chosen is not None:
            if chosen and self._store.get("payment_method", chosen)["customer"] != number:
                raise StripeError(
                    "The customer does not have a payment method with the ID "
                    f"{chosen}. The payment method must be attached to the customer.",
                    param="invoice_settings[default_payment_method]",
                )
            customer["invoice_settings"]["default_payment_method"] = chosen or None
        customer["metadata"] |= form.get("metadata", {})
        customer |= {name: form[name] for name in FIELDS if name in form}
        self._webhooks.emit("customer.updated", customer)
        return customer

    def get(self, number: str) -> Thing:
        """Return a customer that has not been deleted. Raise StripeError."""
        customer = self._store.get("customer", number)
        if customer.get("deleted"):
            raise StripeError(f"No such customer: '{number}'", code="resource_missing")
        return customer

    def delete(self, number: str) -> Thing:
        """Forget a customer but for the id, and let go of the payment methods."""
        customer = self.get(number)
        for method in self._store.find("payment_method", customer=number):
            self.detach(method["id"])
        self._webhooks.emit("customer.deleted", customer)
        kept = {name: customer[name] for name in ("id", "object", "created", "livemode")}
        customer.clear()
        customer |= kept | {"deleted": True}
        return customer

    def method(self, name: str) -> Thing:
        """Return a payment method by its id, or a new one by a test method's name."""
        if card := CARDS.get(name):
            return self._store.create(
                "payment_method", "pm", **cards.details(card), customer=None,
                billing_details={"email": None, "name": None, "address": None}, metadata={},
            )  # fmt: skip
        return self._store.get("payment_method", name)

    def attach(self, name: str, customer: str) -> Thing:
        """Keep a payment method for a customer. It becomes no default by that.

        Raise StripeError where the card is declined.
        """
        self.get(customer)
        method = self.method(name)
        card = cards.behaviour(method)
        if card.declines and not card.may_be_kept:
            raise declined(card_error(card.declines))
        if method["customer"] not in {None, customer}:
            raise StripeError("The payment method you provided has already been attached.")
        if method["customer"] is None:
            method["customer"] = customer
            self._webhooks.emit("payment_method.attached", method)
        return method

    def detach(self, number: str) -> Thing:
        """Forget a customer's card, and that it paid by default."""
        method = self._store.get("payment_method", number)
        owner, method["customer"] = method["customer"], None
        if owner is None:
            raise StripeError("The payment method you provided is not attached to a customer.")
        settings = self._store.get("customer", owner)["invoice_settings"]
        if settings["default_payment_method"] == number:
            settings["default_payment_method"] = None
        for subscription in self._store.find("subscription", default_payment_method=number):
            subscription["default_payment_method"] = None
        self._webhooks.emit("payment_method.detached", method, {"customer": owner})
        return method

"""The customer portal: what customers do themselves with their cards and their subscription."""

from typing import Any
from urllib.parse import urlsplit

from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import ENDED, Subscriptions


class Portal:
    """Portal sessions, and the actions of their page's buttons."""

    def __init__(self, store: Store, customers: Customers, subscriptions: Subscriptions) -> None:
        self._store = store
        self._customers = customers
        self._subscriptions = subscriptions

    def create(self, form: dict[str, Any]) -> Thing:
        """Make a session for a customer. Raise StripeError."""
        customer = self._customers.get(str(form.get("customer")))
        back = form.get("return_url")
        if back and not urlsplit(back).netloc:
            raise StripeError("Not a valid URL", code="url_invalid", param="return_url")
        session = self._store.create(
            "billing_portal.session", "bps", customer=customer["id"], return_url=back
        )
        session["url"] = f"{self._store.own_url}/portal/{session['id']}"
        return session

    def act(self, session: Thing, action: str, form: dict[str, str]) -> None:
        """Do what a button says. Raise StripeError where that is refused."""
        customer = session["customer"]
        if action == "add":
            method = self._customers.attach(form["card"], customer)
            if len(self._store.find("payment_method", customer=customer)) == 1:
                self._choose(customer, method["id"])
        elif action == "default":
            self._choose(customer, form["method"])
        elif action == "remove":
            self._customers.detach(form["method"])
        elif action in {"cancel", "resume"}:
            ends = {"cancel_at_period_end": "true" if action == "cancel" else "false"}
            self._subscriptions.update(form["subscription"], ends)
        else:
            raise StripeError(f"The portal has no {action!r}.", status=404)

    def running(self, customer: str) -> list[Thing]:
        """Return a customer's subscriptions that have not ended."""
        found = self._store.find("subscription", customer=customer)
        return [each for each in found if each["status"] not in ENDED]

    def _choose(self, customer: str, method: str) -> None:
        """Make a card pay by default: for the customer, and for each of their subscriptions."""
        self._customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
        for subscription in self.running(customer):
            self._subscriptions.update(subscription["id"], {"default_payment_method": method})

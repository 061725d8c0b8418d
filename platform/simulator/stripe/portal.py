"""The customer portal: what customers do themselves with their cards and their subscription."""

from typing import Any
from urllib.parse import urlsplit

from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import ENDED, Subscriptions


class Portal:
    """Portal sessions, and the deeds of their page's buttons."""

    def __init__(self, store: Store, customers: Customers, subscriptions: Subscriptions) -> None:
        self._store = store
        self._customers = customers
        self._subscriptions = subscriptions

    def create(self, form: dict[str, Any]) -> Thing:
        """Makes a session for a customer. Raises StripeError."""
        customer = self._customers.get(str(form.get("customer")))
        back = form.get("return_url")
        if back and not urlsplit(back).netloc:
            raise StripeError("Not a valid URL", code="url_invalid", param="return_url")
        session = self._store.create(
            "billing_portal.session", "bps", customer=customer["id"], return_url=back
        )
        session["url"] = f"{self._store.own_url}/portal/{session['id']}"
        return session

    def act(self, session: Thing, deed: str, said: dict[str, str]) -> None:
        """Does what a button says. Raises StripeError where that is refused."""
        customer = session["customer"]
        if deed == "add":
            method = self._customers.attach(said["card"], customer)
            if len(self._store.find("payment_method", customer=customer)) == 1:
                self._choose(customer, method["id"])
        elif deed == "default":
            self._choose(customer, said["method"])
        elif deed == "remove":
            self._customers.detach(said["method"])
        elif deed in {"cancel", "resume"}:
            ends = {"cancel_at_period_end": "true" if deed == "cancel" else "false"}
            self._subscriptions.update(said["subscription"], ends)
        else:
            raise StripeError(f"The portal has no {deed!r}.", status=404)

    def running(self, customer: str) -> list[Thing]:
        """Returns a customer's subscriptions that have not ended."""
        found = self._store.find("subscription", customer=customer)
        return [each for each in found if each["status"] not in ENDED]

    def _choose(self, customer: str, method: str) -> None:
        """Makes a card pay by default: for the customer, and for each of their subscriptions."""
        self._customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
        for subscription in self.running(customer):
            self._subscriptions.update(subscription["id"], {"default_payment_method": method})

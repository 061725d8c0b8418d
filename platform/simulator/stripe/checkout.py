"""Checkout sessions and the customer portal: what a person clicks on at Stripe's own pages."""

import time
from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.form import whole
from simulator.stripe.payments import Payments
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import Subscriptions
from simulator.stripe.webhooks import Webhooks

SESSION_SECONDS = 24 * 3600


class Checkout:
    """Sessions by mode: `payment`, `setup` (keeps a card) and `subscription`."""

    def __init__(
        self, store: Store, webhooks: Webhooks, payments: Payments, subscriptions: Subscriptions
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._payments = payments
        self._subscriptions = subscriptions

    def create(self, form: dict[str, Any], own_url: str) -> Thing:
        """Makes a session whose page is under `own_url`. Raises StripeError for a bad form."""
        mode = form.get("mode", "payment")
        lines = form.get("line_items", [])
        if mode != "setup" and not lines:
            raise StripeError("You must pass `line_items`.", param="line_items")
        if not form.get("success_url"):
            raise StripeError("Missing required param: success_url.", param="success_url")
        if form.get("customer"):
            self._store.get("customer", form["customer"])
        session = self._store.create(
            "checkout.session",
            "cs_test",
            mode=mode,
            status="open",
            payment_status="no_payment_required" if mode == "setup" else "unpaid",
            amount_total=None if mode == "setup" else sum(self._cents(line) for line in lines),
            currency="usd",
            customer=form.get("customer"),
            customer_email=form.get("customer_email"),
            client_reference_id=form.get("client_reference_id"),
            success_url=form["success_url"],
            cancel_url=form.get("cancel_url"),
            expires_at=whole(form.get("expires_at"), int(time.time()) + SESSION_SECONDS),
            metadata=form.get("metadata", {}),
            payment_intent=None,
            setup_intent=None,
            subscription=None,
            invoice=None,
        )
        session["url"] = f"{own_url}/checkout/{session['id']}"
        session["simulated"] = {
            "lines": lines,
            "intent": form.get("payment_intent_data", {}),
            "subscription": form.get("subscription_data", {}),
            "makes_invoice": form.get("invoice_creation", {}).get("enabled") == "true",
        }
        self._store.keep()
        return session

    def pay(self, number: str, card: str, *, authenticated: bool = False) -> str:
        """Pays with a test card, as the page's buttons do; returns where the browser goes next.

        Raises StripeError where the card refuses, or the session is no longer open.
        """
        session = self.open_session(number)
        customer = session["customer"] or self._new_customer(session)
        if session["mode"] == "setup":
            self._keep_card(session, customer, card)
        elif session["mode"] == "subscription":
            self._subscribe(session, customer, card)
        elif not self._take(session, customer, card, authenticated=authenticated):
            return f"{session['url']}/authenticate?card={card}"
        session["status"] = "complete"
        if session["mode"] != "setup":
            session["payment_status"] = "paid"
        self._store.keep()
        self._webhooks.emit("checkout.session.completed", self.public(session))
        return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])

    def expire(self, number: str) -> Thing:
        """Ends an open session, as time or the operator does."""
        session = self.open_session(number)
        session["status"] = "expired"
        self._store.keep()
        self._webhooks.emit("checkout.session.expired", self.public(session))
        return session

    def open_session(self, number: str) -> Thing:
        """Returns a session that can still be paid. Raises StripeError for another."""
        session = self._store.get("checkout.session", number)
        if session["status"] == "open" and session["expires_at"] < time.time():
            session["status"] = "expired"
        if session["status"] != "open":
            raise StripeError(f"This Checkout Session is {session['status']}.")
        return session

    @staticmethod
    def public(session: Thing) -> Thing:
        """Returns the session as Stripe's API shows it: a finished one has no page."""
        shown = {key: value for key, value in session.items() if key != "simulated"}
        if session["status"] != "open":
            shown["url"] = None
        return shown

    def _take(self, session: Thing, customer: str, card: str, *, authenticated: bool) -> bool:
        """Takes the money; False: the cardholder has to authenticate first."""
        data = session["simulated"]["intent"]
        if session["payment_intent"]:
            intent = self._store.get("payment_intent", session["payment_intent"])
        else:
            intent = self._payments.create_intent(
                {
                    "amount": session["amount_total"],
                    "customer": customer,
                    "metadata": data.get("metadata", {}),
                    "setup_future_usage": data.get("setup_future_usage"),
                    "description": data.get("description"),
                }
            )
            session["payment_intent"] = intent["id"]
        self._payments.confirm(intent["id"], {"payment_method": card}, authenticated=authenticated)
        if intent["status"] != "succeeded":
            return False
        if session["simulated"]["makes_invoice"]:
            invoice = self._subscriptions.new_invoice(
                customer, session["amount_total"], metadata=session["metadata"]
            )
            self._subscriptions.settle_invoice(invoice, intent)
            session["invoice"] = invoice["id"]
        return True

    def _subscribe(self, session: Thing, customer: str, card: str) -> None:
        method = self._payments.attach(card, customer)
        data = session["simulated"]["subscription"]
        price = session["simulated"]["lines"][0]["price"]
        subscription = self._subscriptions.start(
            customer, price, method["id"], data.get("metadata", {})
        )
        session["subscription"] = subscription["id"]
        session["invoice"] = subscription["latest_invoice"]

    def _keep_card(self, session: Thing, customer: str, card: str) -> None:
        method = self._payments.attach(card, customer)
        intent = self._store.create(
            "setup_intent", "seti", customer=customer, payment_method=method["id"],
            status="succeeded",
        )  # fmt: skip
        session["setup_intent"] = intent["id"]

    def _new_customer(self, session: Thing) -> str:
        customer = self._payments.create_customer({"email": session["customer_email"]})
        session["customer"] = customer["id"]
        return str(customer["id"])

    def _cents(self, line: Thing) -> int:
        quantity = whole(line.get("quantity"), 1)
        if data := line.get("price_data"):
            return whole(data.get("unit_amount")) * quantity
        return int(self._store.get("price", line["price"])["unit_amount"]) * quantity

"""Checkout sessions: what is sold, and what happens when a person pays on the page."""

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from simulator.stripe.cards import CARDS
from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError
from simulator.stripe.form import is_true, whole
from simulator.stripe.invoices import Invoices
from simulator.stripe.payments import LEAST_CENTS, Payments
from simulator.stripe.prices import ProductCatalogue, tax_of
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import Subscriptions
from simulator.stripe.webhooks import Webhooks

LIFE_SECONDS = 24 * 3600
SHORTEST_SECONDS = 30 * 60
AUTO_UPDATES = {"address": "automatic_tax", "name": "tax_id_collection"}


@dataclass(frozen=True, slots=True)
class Payer:
    """The payer's input on the page."""

    email: str = ""
    name: str = ""
    country: str = "US"
    line1: str = ""
    city: str = ""
    postal_code: str = ""
    state: str = ""

    @property
    def address(self) -> Thing:
        """Return Stripe's address object."""
        names = ("line1", "city", "postal_code", "state")
        typed = {name: getattr(self, name) or None for name in names}
        return typed | {"line2": None, "country": self.country}


class Checkout:
    """Sessions by mode: `payment`, `setup` (keeps a card) and `subscription`."""

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        *,
        customers: Customers,
        prices: ProductCatalogue,
        payments: Payments,
        invoices: Invoices,
        subscriptions: Subscriptions,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._customers = customers
        self._prices = prices
        self._payments = payments
        self._invoices = invoices
        self._subscriptions = subscriptions

    def create(self, form: dict[str, Any]) -> Thing:
        """Make a session with a page of its own. Raise StripeError for a bad form."""
        mode = form.get("mode", "payment")
        self._check(form, mode)
        lines = [self._line(line, mode) for line in form.get("line_items", [])]
        subtotal = sum(line["amount_subtotal"] for line in lines)
        if mode == "payment" and subtotal < LEAST_CENTS:
            raise StripeError(
                "The Checkout Session's total amount due must add up to at least $0.50 usd",
                code="amount_too_small",
            )
        is_taxed = is_true(form.get("automatic_tax", {}).get("enabled"))
        tax = tax_of(subtotal) if is_taxed else 0
        has_amount = mode != "setup"
        session = self._store.create(
            "checkout.session",
            "cs_test",
            amount_subtotal=subtotal if has_amount else None,
            amount_total=subtotal + tax if has_amount else None,
            automatic_tax={"enabled": is_taxed, "status": "complete" if is_taxed else None},
            cancel_url=form.get("cancel_url"),
            client_reference_id=form.get("client_reference_id"),
            currency="usd" if has_amount else form.get("currency"),
            customer=form.get("customer"),
            customer_details=None,
            customer_email=form.get("customer_email"),
            expires_at=whole(form.get("expires_at"), int(time.time()) + LIFE_SECONDS),
            invoice=None,
            invoice_creation=None,
            locale=form.get("locale"),
            metadata=form.get("metadata", {}),
            mode=mode,
            payment_intent=None,
            payment_method_types=["card"],
            payment_status="unpaid" if has_amount else "no_payment_required",
            setup_intent=None,
            status="open",
            subscription=None,
            success_url=form["success_url"],
            total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax}
            if has_amount
            else None,
        )
        session["url"] = f"{self._store.own_url}/checkout/{session['id']}"
        session["simulated"] = {"lines": lines, "form": form, "page": session["url"]}
        if mode == "payment":
            wants = is_true(form.get("invoice_creation", {}).get("enabled"))
            session["invoice_creation"] = {"enabled": wants}
        return session

    def pay(
        self, number: str, method: str, payer: Payer | None = None, *, authenticated: bool = False
    ) -> str:
        """Pay with a test method, as the page's button does; return the address to redirect to.

        Raise StripeError where the card refuses, or the session is no longer open.
        """
        session = self.open_session(number)
        if method not in CARDS:
            raise StripeError("There is no such test card.")
        customer = self._note_payer(session, payer)
        if session["mode"] == "payment":
            is_done = self._take(session, customer, method, authenticated=authenticated)
        else:
            is_done = authenticated or not CARDS[method].asks
        if not is_done:
            query = urlencode({"card": method})
            return f"{session['simulated']['page']}/authenticate?{query}"
        if session["mode"] == "setup":
            self._keep_card(session, str(customer), method)
        elif session["mode"] == "subscription":
            self._subscribe(session, str(customer), method)
        session |= {"status": "complete", "url": None}
        self._webhooks.emit("checkout.session.completed", session)
        return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])

    def refuse(self, number: str) -> None:
        """Let the cardholder's authentication fail. Raise StripeError, which says so."""
        session = self.open_session(number)
        reason = "payment_intent_authentication_failure"
        if session["payment_intent"]:
            self._payments.fail(
                self._store.get("payment_intent", session["payment_intent"]), reason
            )
        raise StripeError("We are unable to authenticate your payment method.", status=402)

    def settle(self, order: dict[str, Any]) -> Thing:
        """End the delayed payment of the session `session`: `succeeds`, or not."""
        session = self._store.get("checkout.session", order["session"])
        intent = self._store.get("payment_intent", session["payment_intent"])
        self._payments.settle(intent, succeeds=order["succeeds"])
        if order["succeeds"]:
            self._finish(session, intent)
        word = "succeeded" if order["succeeds"] else "failed"
        self._webhooks.emit(f"checkout.session.async_payment_{word}", session)
        return session

    def expire(self, number: str) -> Thing:
        """Expire an open session."""
        session = self.open_session(number)
        self._expire(session)
        return session

    def open_session(self, number: str) -> Thing:
        """Return a session that can still be paid. Raise StripeError for another."""
        self.expire_late()
        session = self._store.get("checkout.session", number)
        if session["status"] != "open":
            raise StripeError(
                f'Only Checkout Sessions with a status in ["open"] can be used: this one is '
                f"{session['status']}."
            )
        return session

    def expire_late(self) -> None:
        """End the open sessions whose time is over."""
        for session in self._store.find("checkout.session", status="open"):
            if session["expires_at"] < time.time():
                self._expire(session)

    def _expire(self, session: Thing) -> None:
        session |= {"status": "expired", "url": None}
        self._webhooks.emit("checkout.session.expired", session)

    def _check(self, form: dict[str, Any], mode: str) -> None:
        if mode not in {"payment", "setup", "subscription"}:
            raise StripeError("Invalid mode", param="mode")
        if mode != "setup" and not form.get("line_items"):
            raise StripeError("You must pass `line_items`.", param="line_items")
        for name in ("success_url", "cancel_url"):
            url = form.get(name)
            if (url or name == "success_url") and not urlsplit(str(url)).netloc:
                raise StripeError("Not a valid URL", code="url_invalid", param=name)
        if expires := form.get("expires_at"):
            left = int(expires) - time.time()
            if not SHORTEST_SECONDS - 60 <= left <= LIFE_SECONDS + 60:
                raise StripeError(
                    "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
                    param="expires_at",
                )
        if number := form.get("customer"):
            self._check_customer(form, self._customers.get(number))

    @staticmethod
    def _check_customer(form: dict[str, Any], customer: Thing) -> None:
        if form.get("customer_email"):
            raise StripeError("You may only specify one of these: customer, customer_email.")
        for name, feature in AUTO_UPDATES.items():
            if not is_true(form.get(feature, {}).get("enabled")):
                continue
            is_known = feature == "automatic_tax" and customer["address"]
            if not is_known and form.get("customer_update", {}).get(name) != "auto":
                raise StripeError(
                    f"`{feature}` with a customer needs `customer_update[{name}]` to be 'auto'.",
                    code="customer_tax_location_invalid" if name == "address" else None,
                )

    def _line(self, line: Thing, mode: str) -> Thing:
        price = self._prices.of_line(line)
        if bool(price["recurring"]) != (mode == "subscription"):
            raise StripeError(
                f"A {price['type']} price is not for `{mode}` mode.", param="line_items"
            )
        quantity = whole(line.get("quantity"), 1)
        cents = price["unit_amount"] * quantity
        name = self._store.get("product", price["product"])["name"]
        return {
            "id": f"li_{price['id'][6:]}",
            "object": "item",
            "amount_subtotal": cents,
            "amount_total": cents,
            "currency": price["currency"],
            "description": name,
            "price": price,
            "quantity": quantity,
        }

    def _note_payer(self, session: Thing, payer: Payer | None) -> Any:
        """Write down who pays, and return their customer. A payment without more may have none:
        its payer is a guest.
        """
        if payer is None and session["customer_details"]:
            return session["customer"]  # the page has been sent before; its owner authenticated
        form = session["simulated"]["form"]
        known = self._customers.get(session["customer"]) if session["customer"] else {}
        payer = payer or Payer()
        session["customer_details"] = {
            "address": payer.address,
            "email": payer.email or known.get("email") or session["customer_email"],
            "name": payer.name or known.get("name"),
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        }
        details = session["customer_details"]
        if known:
            updates = form.get("customer_update", {})
            changes = {name: details[name] for name in updates if updates[name] == "auto"}
            if changes := {name: each for name, each in changes.items() if each}:
                self._customers.update(session["customer"], changes)
        elif _needs_customer(session, form):
            parts = {name: details[name] for name in ("email", "name", "address")}
            session["customer"] = self._customers.create(parts)["id"]
        return session["customer"]

    def _take(
        self, session: Thing, customer: str | None, method: str, *, authenticated: bool
    ) -> bool:
        """Take the money; False: the cardholder has to authenticate first."""
        details = session["customer_details"]
        if session["payment_intent"]:
            intent = self._store.get("payment_intent", session["payment_intent"])
        else:
            data = session["simulated"]["form"].get("payment_intent_data", {})
            billing = {name: details[name] for name in ("address", "email", "name")}
            sums = {"amount": session["amount_total"], "customer": customer}
            intent = self._payments.create(data | sums | {"billing_details": billing})
            session["payment_intent"] = intent["id"]
        self._payments.confirm(
            intent["id"], {"payment_method": method}, authenticated=authenticated
        )
        if intent["status"] == "succeeded":
            self._finish(session, intent)
        return intent["status"] != "requires_action"

    def _finish(self, session: Thing, intent: Thing) -> None:
        """Note that the money came, with an invoice where one was asked for."""
        session["payment_status"] = "paid"
        if not session["invoice_creation"]["enabled"]:
            return
        now = int(time.time())
        data = session["simulated"]["form"]["invoice_creation"].get("invoice_data", {})
        lines = [
            self._prices.invoice_line(line["price"], line["amount_subtotal"], period=(now, now))
            for line in session["simulated"]["lines"]
        ]
        invoice = self._invoices.draft(
            session["customer"],
            lines,
            reason="manual",
            period=(now, now),
            is_taxed=session["automatic_tax"]["enabled"],
            metadata=data.get("metadata", {}),
        )
        self._invoices.finalize(invoice)
        self._invoices.settle(invoice, intent)
        session["invoice"] = invoice["id"]

    def _subscribe(self, session: Thing, customer: str, method: str) -> None:
        form = session["simulated"]["form"]
        kept = self._customers.attach(method, customer)
        data = form.get("subscription_data", {})
        line = {"price": session["simulated"]["lines"][0]["price"]["id"]}
        subscription = self._subscriptions.create(
            {
                "automatic_tax": form.get("automatic_tax", {}),
                "customer": customer,
                "default_payment_method": kept["id"],
                "description": data.get("description"),
                "items": [line],
                "metadata": data.get("metadata", {}),
                "payment_behavior": "error_if_incomplete",
            },
            is_present=True,
        )
        session["subscription"] = subscription["id"]
        session["invoice"] = subscription["latest_invoice"]
        session["payment_status"] = "paid"

    def _keep_card(self, session: Thing, customer: str, method: str) -> None:
        kept = self._customers.attach(method, customer)
        data = session["simulated"]["form"].get("setup_intent_data", {})
        intent = self._store.create(
            "setup_intent",
            "seti",
            customer=customer,
            description=data.get("description"),
            metadata=data.get("metadata", {}),
            payment_method=kept["id"],
            status="succeeded",
            usage="off_session",
        )
        session["setup_intent"] = intent["id"]
        self._webhooks.emit("setup_intent.succeeded", intent)


def _needs_customer(session: Thing, form: dict[str, Any]) -> bool:
    return (
        session["mode"] != "payment"
        or form.get("customer_creation") == "always"
        or bool(form.get("payment_intent_data", {}).get("setup_future_usage"))
        or session["invoice_creation"]["enabled"]
    )

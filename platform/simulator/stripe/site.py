"""The pages' paths: what is shown at each, and what its buttons do."""

from urllib.parse import parse_qs

from simulator.exchange import Request
from simulator.stripe import documents, html
from simulator.stripe.account import Account
from simulator.stripe.checkout import Payer
from simulator.stripe.checkout_page import authentication_page, checkout_page
from simulator.stripe.errors import StripeError
from simulator.stripe.portal_page import portal_page
from simulator.stripe.reply import Reply, redirect, web_page
from simulator.stripe.store import Thing


class Site:
    """Stripe's own pages: Checkout, the customer portal, invoices and receipts."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def show(self, request: Request, path: str) -> Reply:
        """Return what a browser gets at a path below the pages' own."""
        kind, _, rest = path.strip("/").partition("/")
        number, _, action = rest.partition("/")
        fields = parse_qs(request.body.decode())
        form = {name: values[-1] for name, values in fields.items()}
        store = self._account.store
        try:
            if kind == "checkout":
                return self._checkout(request, number, action, form)
            if kind == "portal":
                return self._portal(request, number, action, form)
            if kind == "receipts":
                return web_page(documents.receipt_page(store.get("charge", number)))
            if kind == "invoices" and action == "pdf":
                content = documents.invoice_pdf(store.get("invoice", number))
                return Reply(200, "application/pdf", content)
            if kind == "invoices":
                return web_page(documents.invoice_page(store.get("invoice", number)))
        except StripeError as error:
            return web_page(html.message("This does not work", str(error)), error.status)
        return web_page(html.message("Nothing here", f"There is nothing at {path}."), 404)

    def _checkout(self, request: Request, number: str, action: str, form: dict[str, str]) -> Reply:
        checkout = self._account.checkout
        checkout.expire_late()
        session = self._account.store.get("checkout.session", number)
        if session["status"] != "open":
            return web_page(html.message("Checkout", f"This page is {session['status']}."), 410)
        known = self._account.customers.get(session["customer"]) if session["customer"] else {}
        card = form.get("card", request.query.get("card", "pm_card_visa"))
        error = ""
        if request.method == "POST":
            try:
                return redirect(self._pay(session, action, card, form))
            except StripeError as refused:
                error = str(refused)
        elif action == "authenticate":
            return web_page(authentication_page(session, card))
        return web_page(checkout_page(session, known, error, card), 402 if error else 200)

    def _pay(self, session: Thing, action: str, card: str, form: dict[str, str]) -> str:
        checkout = self._account.checkout
        if action != "authenticate":
            typed = {name: form[name].strip() for name in Payer.__slots__ if name in form}
            return checkout.pay(session["id"], card, Payer(**typed))
        if form.get("result") == "fail":
            checkout.refuse(session["id"])
        return checkout.pay(session["id"], card, authenticated=True)

    def _portal(self, request: Request, number: str, action: str, form: dict[str, str]) -> Reply:
        account = self._account
        session = account.store.get("billing_portal.session", number)
        customer = account.customers.get(session["customer"])
        error = ""
        if request.method == "POST":
            try:
                account.portal.act(session, action, form)
                return redirect(session["url"])
            except StripeError as refused:
                error = str(refused)
        mine = {"customer": customer["id"]}
        text = portal_page(
            session,
            customer,
            methods=account.store.find("payment_method", **mine),
            subscriptions=account.portal.running(customer["id"]),
            invoices=account.store.find("invoice", **mine),
            error=error,
        )
        return web_page(text, 402 if error else 200)

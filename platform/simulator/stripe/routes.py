"""The routes of Stripe's API."""

from collections.abc import Callable
from typing import Any

from simulator.stripe import lists
from simulator.stripe.account import Account
from simulator.stripe.errors import StripeError
from simulator.stripe.present import line_items, present
from simulator.stripe.store import Thing

Form = dict[str, Any]
ACCOUNT = {
    "id": "acct_simulated",
    "object": "account",
    "charges_enabled": True,
    "country": "US",
    "default_currency": "usd",
    "payouts_enabled": True,
}


class Api:
    """The dispatcher of API calls by method and path."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def answer(self, method: str, path: str, form: Form) -> Thing:
        """Return the object that a call gets. Raise StripeError."""
        expand = form.pop("expand", [])
        name = path.removeprefix("/v1/").strip("/")
        thing = self._read(name, form) if method == "GET" else self._write(method, name, form)
        return present(self._account.store, thing, expand)

    def _read(self, name: str, form: Form) -> Thing:
        store = self._account.store
        if name == "account":
            return ACCOUNT
        collection, number, action = lists.split(name)
        self._account.checkout.expire_late()
        if (collection, action) == ("customers", "payment_methods"):
            self._account.customers.get(number)
            return lists.page(store, "payment_methods", form, customer=number)
        if (collection, action) == ("checkout/sessions", "line_items"):
            return line_items(store, number)
        if not number:
            return lists.page(store, collection, form)
        return store.get(lists.LISTS[collection][0], number)

    def _write(self, method: str, name: str, form: Form) -> Thing:
        if name == "billing_portal/sessions":
            return self._account.portal.create(form)
        collection, number, action = lists.split(name)
        perform = self._actions(number, form).get(
            " ".join(filter(None, (method, collection, "{id}" if number else "", action)))
        )
        if perform is None:
            raise StripeError(f"Unrecognized request URL ({method}: /v1/{name}).", status=404)
        return perform()

    def _actions(self, number: str, form: Form) -> dict[str, Callable[[], Thing]]:
        account = self._account
        customers, payments, prices = account.customers, account.payments, account.prices
        subscriptions, invoices = account.subscriptions, account.invoices
        return {
            "POST checkout/sessions": lambda: account.checkout.create(form),
            "POST checkout/sessions {id} expire": lambda: account.checkout.expire(number),
            "POST customers": lambda: customers.create(form),
            "POST customers {id}": lambda: customers.update(number, form),
            "DELETE customers {id}": lambda: customers.delete(number),
            "POST invoices {id} pay": lambda: subscriptions.pay_invoice(number, form),
            "POST invoices {id} void": lambda: invoices.void(number),
            "POST payment_intents": lambda: payments.create(form),
            "POST payment_intents {id} confirm": lambda: payments.confirm(number, form),
            "POST payment_intents {id} cancel": lambda: payments.cancel(number),
            "POST payment_methods {id} attach": lambda: customers.attach(number, form["customer"]),
            "POST payment_methods {id} detach": lambda: customers.detach(number),
            "POST prices": lambda: prices.create(form),
            "POST prices {id}": lambda: prices.update("price", number, form),
            "POST products": lambda: prices.create_product(form),
            "POST products {id}": lambda: prices.update("product", number, form),
            "POST refunds": lambda: account.refunds.create(form),
            "POST subscriptions": lambda: subscriptions.create(form),
            "POST subscriptions {id}": lambda: subscriptions.update(number, form),
            "DELETE subscriptions {id}": lambda: subscriptions.cancel(number),
        }

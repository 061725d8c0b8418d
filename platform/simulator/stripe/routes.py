"""Stripe's API: which path does what."""

from typing import Any

from simulator.stripe.checkout import Checkout
from simulator.stripe.errors import StripeError
from simulator.stripe.payments import Payments
from simulator.stripe.store import Store, Thing
from simulator.stripe.subscriptions import Subscriptions

Form = dict[str, Any]

# Path -> object, and the fields that its list can be filtered by.
LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "balance_transactions": ("balance_transaction", ("type", "source")),
    "charges": ("charge", ("customer", "payment_intent")),
    "customers": ("customer", ("email",)),
    "disputes": ("dispute", ("charge", "payment_intent")),
    "events": ("event", ("type",)),
    "invoices": ("invoice", ("customer", "subscription", "status")),
    "payment_intents": ("payment_intent", ("customer",)),
    "payment_methods": ("payment_method", ("customer", "type")),
    "prices": ("price", ("product", "lookup_key")),
    "products": ("product", ()),
    "refunds": ("refund", ("charge", "payment_intent")),
    "subscriptions": ("subscription", ("customer", "status")),
    "radar/early_fraud_warnings": ("radar.early_fraud_warning", ("charge", "payment_intent")),
}


class Api:
    """Answers calls by path."""

    def __init__(
        self, store: Store, payments: Payments, subscriptions: Subscriptions, checkout: Checkout
    ) -> None:
        self._store = store
        self._payments = payments
        self._subscriptions = subscriptions
        self._checkout = checkout

    def answer(self, method: str, path: str, form: Form, own_url: str) -> Thing:
        """Returns the object that a call gets. Raises StripeError."""
        form.pop("expand", None)
        name = path.removeprefix("/v1/").strip("/")
        if name.startswith("checkout/sessions"):
            return self._answer_checkout(method, name, form, own_url)
        if name == "billing_portal/sessions" and method == "POST":
            return self._open_portal(form, own_url)
        if name == "account":
            return {"id": "acct_simulated", "object": "account", "livemode": False}
        if name.startswith("customers/") and name.endswith("/payment_methods"):
            customer = name.split("/")[1]
            query = form | {"customer": customer}
            return self._store.page("payment_method", query, "customer", "type", url=path)
        collection, number, deed = _parts(name)
        if method == "GET":
            kind, filters = _known(collection)
            if number:
                return self._store.get(kind, number)
            return self._store.page(kind, form, *filters, url=path)
        does = self._deeds(number, form).get((method, collection, bool(number), deed))
        if does is None:
            raise StripeError(f"Unrecognized request URL ({method}: {path}).", status=404)
        return does()

    def _deeds(self, number: str, form: Form) -> dict[tuple[str, str, bool, str], Any]:
        payments, subscriptions = self._payments, self._subscriptions
        return {
            ("POST", "customers", False, ""): lambda: payments.create_customer(form),
            ("POST", "customers", True, ""): lambda: payments.update_customer(number, form),
            ("POST", "payment_methods", True, "attach"): lambda: payments.attach(
                number, form["customer"]
            ),
            ("POST", "payment_methods", True, "detach"): lambda: payments.detach(number),
            ("POST", "payment_intents", False, ""): lambda: payments.create_intent(form),
            ("POST", "payment_intents", True, "confirm"): lambda: payments.confirm(number, form),
            ("POST", "payment_intents", True, "cancel"): lambda: payments.cancel(number),
            ("POST", "refunds", False, ""): lambda: payments.refund(form),
            ("POST", "products", False, ""): lambda: subscriptions.create_product(form),
            ("POST", "prices", False, ""): lambda: subscriptions.create_price(form),
            ("POST", "subscriptions", True, ""): lambda: subscriptions.update(number, form),
            ("DELETE", "subscriptions", True, ""): lambda: subscriptions.cancel(number),
            ("POST", "invoices", True, "pay"): lambda: subscriptions.pay_invoice(number, form),
        }

    def _answer_checkout(self, method: str, name: str, form: Form, own_url: str) -> Thing:
        parts = name.split("/")[2:]
        if method == "POST" and not parts:
            return self._checkout.public(self._checkout.create(form, own_url))
        if method == "POST" and parts[1:] == ["expire"]:
            return self._checkout.public(self._checkout.expire(parts[0]))
        if method == "GET" and len(parts) == 1:
            return self._checkout.public(self._store.get("checkout.session", parts[0]))
        if method == "GET" and not parts:
            listed = self._store.page(
                "checkout.session", form, "customer", "payment_intent", "status", url=f"/v1/{name}"
            )
            return listed | {"data": [self._checkout.public(each) for each in listed["data"]]}
        raise StripeError(f"Unrecognized request URL ({method}: /v1/{name}).", status=404)

    def _open_portal(self, form: Form, own_url: str) -> Thing:
        customer = self._store.get("customer", str(form.get("customer")))
        session = self._store.create(
            "billing_portal.session", "bps", customer=customer["id"],
            return_url=form.get("return_url", "/"),
        )  # fmt: skip
        session["url"] = f"{own_url}/portal/{session['id']}"
        self._store.keep()
        return session


def _parts(name: str) -> tuple[str, str, str]:
    """Returns a path's collection, id and deed, of which the last two may be empty."""
    for collection in LISTS:
        if name == collection or name.startswith(f"{collection}/"):
            number, _, deed = name.removeprefix(collection).strip("/").partition("/")
            return collection, number, deed
    raise StripeError(f"Unrecognized request URL (/v1/{name}).", status=404)


def _known(collection: str) -> tuple[str, tuple[str, ...]]:
    return LISTS[collection]

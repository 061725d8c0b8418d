"""Lists of objects and their filters."""

from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.present import listed
from simulator.stripe.store import Store, Thing

# Path -> object, and the fields that its list can be filtered by.
LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "balance_transactions": ("balance_transaction", ("type", "source", "currency")),
    "charges": ("charge", ("customer", "payment_intent")),
    "checkout/sessions": (
        "checkout.session",
        ("customer", "payment_intent", "status", "subscription"),
    ),
    "customers": ("customer", ("email",)),
    "disputes": ("dispute", ("charge", "payment_intent")),
    "events": ("event", ("type", "types")),
    "invoice_payments": ("invoice_payment", ("invoice", "status", "payment")),
    "invoices": ("invoice", ("customer", "subscription", "status")),
    "payment_intents": ("payment_intent", ("customer",)),
    "payment_methods": ("payment_method", ("customer", "type")),
    "payouts": ("payout", ("status",)),
    "prices": ("price", ("active", "lookup_keys", "product", "type")),
    "products": ("product", ("active",)),
    "radar/early_fraud_warnings": ("radar.early_fraud_warning", ("charge", "payment_intent")),
    "refunds": ("refund", ("charge", "payment_intent")),
    "setup_intents": ("setup_intent", ("customer", "payment_method")),
    "subscriptions": ("subscription", ("customer", "price", "status")),
}


def page(store: Store, collection: str, form: dict[str, Any], **fixed: Any) -> Thing:
    """Return a page of a collection; `fixed` fields filter too."""
    kind, filters = LISTS[collection]
    wanted = {name: form[name] for name in filters if name in form} | fixed
    if kind == "subscription" and wanted.get("status") == "all":
        del wanted["status"]
    elif kind == "subscription" and "status" not in wanted:
        wanted["status"] = ["incomplete", "active", "past_due", "unpaid"]
    found, has_more = store.page(
        kind, form, lambda thing: all(_fits(thing, *each) for each in wanted.items())
    )
    return listed(found, f"/v1/{collection}", has_more)


def split(name: str) -> tuple[str, str, str]:
    """Return a path's collection, id and action, of which the last two may be empty."""
    for collection in LISTS:
        if name == collection or name.startswith(f"{collection}/"):
            number, _, action = name.removeprefix(collection).strip("/").partition("/")
            return collection, number, action
    raise StripeError(f"Unrecognized request URL (/v1/{name}).", status=404)


def _fits(thing: Thing, name: str, wanted: Any) -> bool:
    """Return whether an object has what is wanted in a field; lists hold what would do."""
    if thing["object"] == "invoice" and name == "subscription":
        parent = thing["parent"] or {}
        return bool(parent.get("subscription_details", {}).get("subscription") == wanted)
    if thing["object"] == "subscription" and name == "price":
        return any(item["price"]["id"] == wanted for item in thing["items"]["data"])
    if isinstance(wanted, list):
        return thing.get(name, thing.get(name.removesuffix("s"))) in wanted
    if isinstance(wanted, dict):
        return all(thing[name].get(key) == value for key, value in wanted.items())
    value = thing.get(name)
    return str(value).lower() == wanted.lower() if isinstance(value, bool) else value == wanted

"""Objects as the API returns them: without internal fields, and expanded on request.

`expand[]=payment_intent.latest_charge` shows objects instead of their ids, and fields that are not
shown without it (docs.stripe.com/api/expanding_objects).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.store import Store, Thing


def present(store: Store, thing: Thing, expand: Iterable[str] = ()) -> Thing:
    """Return an object, or a list of them, as the API shows it.

    Raise StripeError for a path of `expand` that leads nowhere.
    """
    shown = _plain(thing)
    for path in expand:
        _expand(store, shown, path, path.split("."))
    return shown


def listed(things: list[Thing], url: str, has_more: bool = False) -> Thing:
    """Return a list in Stripe's shape."""
    return {"object": "list", "url": url, "has_more": has_more, "data": things}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if name != "simulated"}
    return copy.copy(value)


def _expand(store: Store, holder: Any, path: str, way: list[str]) -> None:
    if isinstance(holder, list):
        for each in holder:
            _expand(store, each, path, way)
        return
    name, *rest = way
    if name not in holder:
        include = _INCLUDABLE.get((holder.get("object"), name))
        if include is None:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
        holder[name] = _plain(include(store, holder["id"]))
    elif isinstance(holder[name], str):
        thing = store.peek(holder[name])
        if thing is None:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
        holder[name] = _plain(thing)
    if rest and holder[name] is not None:
        _expand(store, holder[name], path, rest)


def _payments(store: Store, number: str) -> Thing:
    return listed(store.find("invoice_payment", invoice=number), f"/v1/invoices/{number}/payments")


def _refunds(store: Store, number: str) -> Thing:
    return listed(store.find("refund", charge=number), f"/v1/charges/{number}/refunds")


def line_items(store: Store, number: str) -> Thing:
    """Return what a checkout session sells."""
    session = store.get("checkout.session", number)
    return listed(session["simulated"]["lines"], f"/v1/checkout/sessions/{number}/line_items")


_INCLUDABLE: dict[tuple[str, str], Callable[[Store, str], Thing]] = {
    ("charge", "refunds"): _refunds,
    ("checkout.session", "line_items"): line_items,
    ("invoice", "payments"): _payments,
}

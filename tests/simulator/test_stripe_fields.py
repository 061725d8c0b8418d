"""Every field that the stand-in shows is one that Stripe's SDK knows: code for it runs against the
real thing.
"""

import pytest
import stripe


def unknown_fields(thing: stripe.StripeObject) -> set[str]:
    """Return the fields of an object and its parts that the SDK's types do not name."""
    kind = type(thing)
    has_type = kind not in {stripe.StripeObject, stripe.ListObject}
    known = {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}
    found = set()
    for name in thing.to_dict() if has_type else ():
        found |= {f"{kind.__name__}.{name}"} - {f"{kind.__name__}.{each}" for each in known}
    for name in thing.to_dict():
        parts = thing[name] if isinstance(thing[name], list) else [thing[name]]
        for part in parts:
            if isinstance(part, stripe.StripeObject):
                found |= unknown_fields(part)
    return found


@pytest.fixture
def busy(simulator, client):
    """An account in which everything has happened."""
    charge = simulator.paid_charge(invoice_creation={"enabled": True})
    client.v1.refunds.create({"charge": charge.id, "amount": 100})
    simulator.control("fraud_warning", charge=charge.id)
    simulator.control("dispute", charge=charge.id)
    simulator.pay(simulator.top_up().url, "pm_card_chargeDeclined")
    simulator.pay(simulator.top_up().url, "pm_card_authenticationRequired")
    simulator.pay(simulator.session("setup", currency="usd").url)
    subscription = simulator.subscribe(automatic_tax={"enabled": True})
    item = {"id": subscription["items"].data[0].id, "price": simulator.monthly_price(9000).id}
    client.v1.subscriptions.update(
        subscription.id, {"items": [item], "proration_behavior": "always_invoice"}
    )
    client.v1.billing_portal.sessions.create({"customer": subscription.customer})
    return client.v1


KINDS = [
    "balance_transactions", "charges", "checkout.sessions", "customers", "disputes", "events",
    "invoice_payments", "invoices", "payment_intents", "prices", "products", "refunds",
    "radar.early_fraud_warnings", "setup_intents", "subscriptions",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_one_of_stripes(busy, kind) -> None:
    service = busy
    for name in kind.split("."):
        service = getattr(service, name)
    things = service.list({"limit": 100}).data
    assert things
    assert set().union(*map(unknown_fields, things)) == set()

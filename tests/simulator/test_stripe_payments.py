"""The stand-in's payment intents, charges and kept cards."""

import pytest
import stripe


@pytest.fixture
def order(client) -> dict[str, object]:
    """An off-session payment of a customer's."""
    customer = client.v1.customers.create({"email": "a@example.com"})
    order = {"amount": 500, "currency": "usd", "customer": customer.id, "metadata": {"order": "9"}}
    return order | {"off_session": True, "confirm": True}


def keep(client, order, card: str) -> str:
    return client.v1.payment_methods.attach(card, {"customer": order["customer"]}).id


def test_a_kept_card_pays_while_its_owner_is_away(client, order) -> None:
    method = keep(client, order, "pm_card_visa")
    intent = client.v1.payment_intents.create(
        {**order, "payment_method": method, "expand": ["latest_charge.balance_transaction"]}
    )
    assert (intent.status, intent.amount_received) == ("succeeded", 500)
    charge = intent.latest_charge
    assert (charge.paid, charge.metadata["order"], charge.livemode) == (True, "9", False)
    assert (charge.balance_transaction.net, charge.balance_transaction.fee) == (456, 44)
    assert (charge.disputed, charge.amount_refunded, charge.payment_intent) == (False, 0, intent.id)


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
    ],
)
def test_a_kept_card_may_refuse(simulator, client, order, card, code, decline_code) -> None:
    method = keep(client, order, card)
    with pytest.raises(stripe.CardError) as refused:
        client.v1.payment_intents.create({**order, "payment_method": method})
    error = refused.value.error
    assert (refused.value.http_status, error.code, error.decline_code) == (402, code, decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_intent.metadata["order"] == "9"
    assert error.payment_method.id == method
    kept = client.v1.payment_intents.retrieve(error.payment_intent.id)
    assert kept.last_payment_error.payment_method.id == method
    assert "payment_intent.payment_failed" in [event["type"] for event in simulator.take()]


def test_a_card_that_asks_once_pays_after_it_is_kept(simulator, client, order) -> None:
    session = simulator.session("setup", currency="usd", customer=order["customer"])
    card = {"card": "pm_card_authenticationRequiredOnSetup"}
    asked = simulator.pay(session.url, **card)
    assert "/authenticate" in asked.headers["location"]
    simulator.web.post(f"{session.url}/authenticate", data=card)
    (method,) = client.v1.customers.payment_methods.list(order["customer"]).data
    intent = client.v1.payment_intents.create({**order, "payment_method": method.id})
    assert intent.status == "succeeded"


def test_cards_that_decline_cannot_be_kept(client, order) -> None:
    with pytest.raises(stripe.CardError):
        keep(client, order, "pm_card_chargeDeclined")
    assert client.v1.customers.payment_methods.list(order["customer"]).data == []


def test_a_card_serves_its_owner_only(client, order) -> None:
    method = keep(client, order, "pm_card_visa")
    other = client.v1.customers.create({"email": "b@example.com"}).id
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({**order, "customer": other, "payment_method": method})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.update(other, {"invoice_settings": {"default_payment_method": method}})
    client.v1.customers.update(
        order["customer"], {"invoice_settings": {"default_payment_method": method}}
    )
    client.v1.payment_methods.detach(method)
    customer = client.v1.customers.retrieve(order["customer"])
    assert customer.invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create(order)


def test_an_intent_is_paid_once_or_cancelled(client, order) -> None:
    method = keep(client, order, "pm_card_visa")
    later = client.v1.payment_intents.create(
        {**order, "payment_method": method, "confirm": False, "off_session": None}
    )
    assert later.status == "requires_confirmation"
    assert client.v1.payment_intents.confirm(later.id, {"payment_method": method}).status == (
        "succeeded"
    )
    for action in (client.v1.payment_intents.confirm, client.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            action(later.id)
        assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create({**order, "amount": 49})
    assert refused.value.code == "amount_too_small"


def test_a_charge_has_a_receipt(simulator) -> None:
    charge = simulator.paid_charge(1234)
    assert "$12.34" in simulator.web.get(charge.receipt_url).text


def test_a_customer_can_be_forgotten(client, order) -> None:
    keep(client, order, "pm_card_visa")
    assert client.v1.customers.delete(order["customer"]).deleted
    assert client.v1.customers.retrieve(order["customer"]).deleted
    with pytest.raises(stripe.InvalidRequestError):
        keep(client, order, "pm_card_visa")

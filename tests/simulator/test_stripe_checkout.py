"""The stand-in's Checkout: sessions, and what a person does on their page."""

import re
import time

import pytest
import stripe

ADDRESS = {"country": "DE", "postal_code": "10115", "city": "Berlin", "line1": "Torstr. 1"}


def test_a_session_is_paid_by_a_click(simulator, client) -> None:
    session = simulator.top_up(metadata={"order": "17"}, client_reference_id="17")
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert session.payment_intent is None
    assert "$10.00" in simulator.web.get(session.url).text

    answer = simulator.pay(session.url, email="a@example.com", name="Ada")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://127.0.0.1/paid?session={session.id}"
    paid = client.v1.checkout.sessions.retrieve(session.id)
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", 1000)
    assert (paid.metadata["order"], paid.client_reference_id) == ("17", "17")
    assert (paid.currency, paid.livemode, paid.url) == ("usd", False, None)
    assert (paid.customer_details.email, paid.customer_details.name) == ("a@example.com", "Ada")
    intent = client.v1.payment_intents.retrieve(paid.payment_intent)
    assert (intent.status, intent.amount_received) == ("succeeded", 1000)
    found = client.v1.checkout.sessions.list({"payment_intent": intent.id})
    assert [each.id for each in found.data] == [session.id]


def test_a_payer_without_a_customer_is_a_guest(simulator, client) -> None:
    session = simulator.top_up()
    simulator.pay(session.url)
    assert client.v1.checkout.sessions.retrieve(session.id).customer is None
    kept = simulator.top_up(payment_intent_data={"setup_future_usage": "off_session"})
    simulator.pay(kept.url)
    assert client.v1.checkout.sessions.retrieve(kept.id).customer


def test_tax_comes_on_top_and_needs_an_address(simulator, client) -> None:
    customer = client.v1.customers.create({"email": "a@example.com"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulator.top_up(customer=customer.id, automatic_tax={"enabled": True})
    assert refused.value.code == "customer_tax_location_invalid"

    session = simulator.top_up(
        customer=customer.id,
        automatic_tax={"enabled": True},
        customer_update={"address": "auto", "name": "auto"},
    )

    assert (session.amount_subtotal, session.amount_total) == (1000, 1100)
    assert session.total_details.amount_tax == 100
    simulator.pay(session.url, name="Ada", **ADDRESS)
    assert client.v1.charges.list().data[0].amount == 1100
    known = client.v1.customers.retrieve(customer.id)
    assert (known.name, known.address.country, known.address.city) == ("Ada", "DE", "Berlin")


def test_an_invoice_is_made_where_it_is_asked_for(simulator, client) -> None:
    session = simulator.top_up(
        invoice_creation={"enabled": True, "invoice_data": {"metadata": {"order": "17"}}},
        automatic_tax={"enabled": True},
    )
    simulator.pay(session.url)
    paid = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice.payments"]})
    invoice = paid.invoice
    assert (invoice.status, invoice.total, invoice.subtotal) == ("paid", 1100, 1000)
    assert (invoice.total_taxes[0].amount, invoice.metadata["order"]) == (100, "17")
    assert invoice.payments.data[0].payment.payment_intent == paid.payment_intent
    assert "$11.00" in simulator.web.get(invoice.hosted_invoice_url).text
    pdf = simulator.web.get(invoice.invoice_pdf)
    assert pdf.headers["content-type"] == "application/pdf"
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", pdf.content)[1])
    assert pdf.content[start:].startswith(b"xref")
    assert b"$11.00" in pdf.content


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ],
)
def test_a_declined_card_leaves_the_session_open(
    simulator, client, card, code, decline_code
) -> None:
    session = simulator.top_up()
    answer = simulator.pay(session.url, card)
    assert (answer.status_code, 'role="alert"' in answer.text) == (402, True)
    session = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (session.status, session.payment_status) == ("open", "unpaid")
    error = session.payment_intent.last_payment_error
    assert (error.code, error.decline_code) == (code, decline_code)
    assert error.payment_method.card.last4

    assert simulator.pay(session.url).status_code == 303
    charges = client.v1.charges.list({"payment_intent": session.payment_intent.id}).data
    assert [charge.status for charge in charges] == ["succeeded", "failed"]


def test_3_d_secure_asks_first(simulator, client) -> None:
    session = simulator.top_up()
    card = {"card": "pm_card_authenticationRequired"}
    asked = simulator.pay(session.url, card["card"], email="a@example.com")
    assert asked.headers["location"].startswith(f"{session.url}/authenticate")
    assert "3-D Secure" in simulator.web.get(asked.headers["location"]).text
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "unpaid"

    failed = simulator.web.post(f"{session.url}/authenticate", data=card | {"result": "fail"})
    assert (failed.status_code, "unable to authenticate" in failed.text) == (402, True)
    (intent,) = client.v1.payment_intents.list().data
    assert intent.last_payment_error.code == "payment_intent_authentication_failure"

    simulator.pay(session.url, **card, email="a@example.com")
    done = simulator.web.post(f"{session.url}/authenticate", data=card | {"result": "complete"})
    assert done.status_code == 303
    paid = client.v1.checkout.sessions.retrieve(session.id)
    assert (paid.payment_status, paid.customer_details.email) == ("paid", "a@example.com")


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_delayed_payment_is_decided_later(simulator, client, succeeds) -> None:
    session = simulator.top_up()
    simulator.pay(session.url, "pm_usBankAccount_success")
    waiting = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    assert waiting.payment_intent.status == "processing"
    assert client.v1.balance_transactions.list().data == []

    simulator.control("settle", session=session.id, succeeds=succeeds)

    settled = client.v1.checkout.sessions.retrieve(session.id)
    assert settled.payment_status == ("paid" if succeeds else "unpaid")
    word = "succeeded" if succeeds else "failed"
    kinds = [event["type"] for event in simulator.take()]
    assert kinds.index("checkout.session.completed") < kinds.index(
        f"checkout.session.async_payment_{word}"
    )
    assert len(client.v1.balance_transactions.list().data) == (1 if succeeds else 0)


def test_a_session_ends_unpaid(simulator, client) -> None:
    by_operator, by_time = simulator.top_up(), simulator.top_up()
    client.v1.checkout.sessions.expire(by_operator.id)
    simulator.control("age", id=by_time.id, seconds=24 * 3600 + 1)
    for session in (by_operator, by_time):
        assert simulator.pay(session.url).status_code == 410
        assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    kinds = [event["type"] for event in simulator.take()]
    assert kinds.count("checkout.session.expired") == 2


def test_a_card_is_kept_but_is_no_default_by_that(simulator, client) -> None:
    customer = client.v1.customers.create({"email": "a@example.com"})
    once = {"customer": customer.id}
    setup = simulator.session("setup", currency="usd", **once)
    assert (setup.amount_total, setup.payment_status) == (None, "no_payment_required")
    simulator.pay(setup.url)
    bought = simulator.top_up(**once, payment_intent_data={"setup_future_usage": "off_session"})
    simulator.pay(bought.url, "pm_card_mastercard")

    kept = client.v1.customers.payment_methods.list(customer.id).data
    assert [method.card.last4 for method in kept] == ["4444", "4242"]
    known = client.v1.customers.retrieve(customer.id)
    assert known.invoice_settings.default_payment_method is None
    done = client.v1.checkout.sessions.retrieve(setup.id, {"expand": ["setup_intent"]})
    assert done.setup_intent.payment_method == kept[1].id


@pytest.mark.parametrize(
    "form",
    [
        {"success_url": "/paid"},
        {"line_items": []},
        {"expires_at": int(time.time()) + 60},
        {"customer": "cus_nobody"},
        {"mode": "gift"},
        {"mode": "subscription"},
        {"line_items": [{"price_data": {"currency": "usd", "unit_amount": 49}, "quantity": 1}]},
    ],
)
def test_a_bad_form_makes_no_session(simulator, client, form) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        simulator.top_up(**form)
    assert client.v1.checkout.sessions.list().data == []

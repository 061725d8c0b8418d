"""The stand-in for Stripe, used by Stripe's own SDK over HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe

SECRET = "whsec_for_tests"
PAGES = {"success_url": "http://127.0.0.1/paid?s={CHECKOUT_SESSION_ID}", "cancel_url": "http://x/"}


class Endpoint:
    """Takes webhooks as a merchant would, and keeps the events whose signature is right."""

    def __init__(self) -> None:
        events: list[stripe.Event] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["content-length"]))
                signature = self.headers["stripe-signature"]
                events.append(stripe.Webhook.construct_event(payload, signature, SECRET))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.events = events
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, *kinds: str, seconds: float = 10) -> list[str]:
        deadline = time.monotonic() + seconds
        while not set(kinds) <= {event.type for event in self.events}:
            assert time.monotonic() < deadline, [event.type for event in self.events]
            time.sleep(0.02)
        return [event.type for event in self.events]

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def url(server: Any, endpoint: Endpoint) -> Iterator[str]:
    httpx.post(f"{server.url}/stripe/control/forget")
    httpx.post(
        f"{server.url}/stripe/control/webhooks", json={"url": endpoint.url, "secret": SECRET}
    )
    yield f"{server.url}/stripe"
    httpx.post(f"{server.url}/stripe/control/webhooks", json={"url": ""})


@pytest.fixture
def client(url: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        "sk_test_simulated", base_addresses={"api": url}, max_network_retries=0
    )


def top_up(client: stripe.StripeClient, cents: int = 1000, **more: Any) -> Any:
    price = {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Credits"}}
    lines = [{"price_data": price, "quantity": 1}]
    return client.v1.checkout.sessions.create(
        {"mode": "payment", "line_items": lines, **PAGES, **more}
    )


def control(url: str, deed: str, **order: Any) -> Any:
    return httpx.post(f"{url}/control/{deed}", json=order).raise_for_status().json()


def test_a_checkout_is_paid_by_a_click_and_told_by_signed_webhooks(client, url, endpoint) -> None:
    session = top_up(client, metadata={"order": "17"}, client_reference_id="17")
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert "$10.00" in httpx.get(session.url).text

    answer = httpx.post(f"{session.url}/pay", data={"card": "pm_card_visa"})

    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"http://127.0.0.1/paid?s={session.id}",
    )
    paid = client.v1.checkout.sessions.retrieve(session.id)
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", 1000)
    assert paid.metadata["order"] == "17"
    intent = client.v1.payment_intents.retrieve(paid.payment_intent)
    assert (intent.status, intent.amount_received) == ("succeeded", 1000)
    endpoint.wait_for("checkout.session.completed", "payment_intent.succeeded")
    moved = client.v1.balance_transactions.list().data
    assert [(one.type, one.amount, one.fee) for one in moved] == [("charge", 1000, 59)]


def test_a_declined_card_leaves_the_session_open(client, url) -> None:
    session = top_up(client)
    page = httpx.post(f"{session.url}/pay", data={"card": "pm_card_chargeDeclined"})
    assert "declined" in page.text
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"


def test_3_d_secure_asks_first(client, url) -> None:
    session = top_up(client)
    asked = httpx.post(f"{session.url}/pay", data={"card": "pm_card_authenticationRequired"})
    assert asked.headers["location"].startswith(f"{session.url}/authenticate")
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "unpaid"
    httpx.post(f"{session.url}/authenticate", data={"card": "pm_card_authenticationRequired"})
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_one_idempotency_key_is_one_object(client, url) -> None:
    same = {"idempotency_key": "order-1"}
    made = [client.v1.customers.create({"email": "a@example.com"}, same).id for _ in range(3)]
    assert len(set(made)) == 1
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "b@example.com"}, same)


@pytest.mark.parametrize(("trouble", "made"), [("error_before", 1), ("error_after", 1)])
def test_an_api_that_fails_makes_one_object_when_asked_again(client, url, trouble, made) -> None:
    control(url, "trouble", next=[trouble])
    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "k"})
    client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "k"})
    assert len(client.v1.customers.list().data) == made


def test_a_kept_card_pays_without_its_owner_or_asks_for_them(client, url) -> None:
    customer = client.v1.customers.create({"email": "a@example.com"})
    good = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    order = {"amount": 500, "currency": "usd", "customer": customer.id, "confirm": True}
    order |= {"off_session": True}
    paid = client.v1.payment_intents.create({**order, "payment_method": good.id})
    assert paid.status == "succeeded"
    for card, code in (
        ("pm_card_authenticationRequired", "authentication_required"),
        ("pm_card_chargeCustomerFail", "card_declined"),
    ):
        kept = client.v1.payment_methods.attach(card, {"customer": customer.id})
        with pytest.raises(stripe.CardError) as refused:
            client.v1.payment_intents.create({**order, "payment_method": kept.id})
        assert refused.value.code == code
        assert refused.value.error.payment_intent.status == "requires_payment_method"


def test_refunds_never_exceed_the_charge(client, url, endpoint) -> None:
    session = top_up(client)
    httpx.post(f"{session.url}/pay", data={"card": "pm_card_visa"})
    intent = client.v1.checkout.sessions.retrieve(session.id).payment_intent
    client.v1.refunds.create({"payment_intent": intent, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": intent, "amount": 601})
    assert client.v1.refunds.create({"payment_intent": intent}).amount == 600
    endpoint.wait_for("charge.refunded", "refund.created")


def test_a_dispute_takes_the_money_and_a_won_one_brings_it_back(client, url, endpoint) -> None:
    session = top_up(client)
    httpx.post(f"{session.url}/pay", data={"card": "pm_card_visa"})
    charge = client.v1.charges.list().data[0]
    dispute = control(url, "dispute", charge=charge.id)
    control(url, "close_dispute", dispute=dispute["id"], won=True)
    endpoint.wait_for(
        "charge.dispute.created", "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated", "charge.dispute.closed",
    )  # fmt: skip
    moved = [one.amount for one in client.v1.balance_transactions.list().data]
    assert sorted(moved) == [-1000, 1000, 1000]


def test_a_subscription_is_billed_goes_past_due_and_recovers(client, url, endpoint) -> None:
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 2000, "recurring": {"interval": "month"},
         "product_data": {"name": "Plus"}}
    )  # fmt: skip
    lines = [{"price": price.id, "quantity": 1}]
    session = client.v1.checkout.sessions.create(
        {"mode": "subscription", "line_items": lines, **PAGES}
    )
    httpx.post(f"{session.url}/pay", data={"card": "pm_card_visa"})
    number = client.v1.checkout.sessions.retrieve(session.id).subscription
    subscription = client.v1.subscriptions.retrieve(number)
    assert subscription.status == "active"

    bad = client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": subscription.customer}
    )
    default = {"invoice_settings": {"default_payment_method": bad.id}}
    client.v1.customers.update(subscription.customer, default)
    assert control(url, "renew", subscription=number)["status"] == "past_due"
    invoice = client.v1.invoices.list({"subscription": number, "status": "open"}).data[0]

    client.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})
    assert client.v1.subscriptions.retrieve(number).status == "active"
    client.v1.subscriptions.update(number, {"cancel_at_period_end": True})
    assert control(url, "renew", subscription=number)["status"] == "canceled"
    endpoint.wait_for("invoice.paid", "invoice.payment_failed", "customer.subscription.deleted")


def test_webhooks_are_held_shuffled_doubled_and_lost_as_ordered(client, url, endpoint) -> None:
    control(url, "webhooks", hold=True)
    client.v1.customers.create({"email": "a@example.com"})
    customer = client.v1.customers.create({"email": "b@example.com"})
    client.v1.customers.update(customer.id, {"name": "B"})
    assert control(url, "held") == ["customer.created", "customer.created", "customer.updated"]
    assert endpoint.events == []
    assert control(url, "release", order=[2, 1])[0] == "customer.updated"
    endpoint.wait_for("customer.updated", "customer.created")

    control(url, "webhooks", hold=False, copies=3, lose=["customer.updated"])
    before = len(endpoint.events)
    client.v1.customers.update(customer.id, {"name": "C"})
    client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    endpoint.wait_for("payment_method.attached")
    deadline = time.monotonic() + 5
    while len(endpoint.events) < before + 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [event.type for event in endpoint.events[before:]] == ["payment_method.attached"] * 3


def test_lists_come_in_pages(client, url) -> None:
    made = [client.v1.customers.create({"email": f"{n}@example.com"}).id for n in range(5)]
    listed = [one.id for one in client.v1.customers.list({"limit": 2}).auto_paging_iter()]
    assert listed == made[::-1]


def test_no_key_no_answer(url) -> None:
    assert httpx.get(f"{url}/v1/customers").status_code == 401
    assert json.loads(httpx.get(f"{url}/v1/nothing").text)["error"]["type"]

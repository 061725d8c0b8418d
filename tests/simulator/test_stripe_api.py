"""The stand-in's API as such: idempotency, failures, lists, expansion, what it keeps."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import stripe

from simulator.stripe.app import StripeApplication

SAME = {"idempotency_key": "order-1"}
MAKER = {"email": "a@example.com"}


def test_one_idempotency_key_is_one_object(client) -> None:
    made = [client.v1.customers.create(MAKER, SAME).id for _ in range(3)]
    assert len(set(made)) == 1
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "b@example.com"}, SAME)


@pytest.mark.parametrize("fault", ["error_before", "error_after", "rate_limit"])
def test_an_api_that_fails_makes_one_object_when_asked_again(simulator, client, fault) -> None:
    simulator.control("fault", next=[fault])
    with pytest.raises((stripe.APIError, stripe.RateLimitError)):
        client.v1.customers.create(MAKER, SAME)
    client.v1.customers.create(MAKER, SAME)
    assert len(client.v1.customers.list().data) == 1


def test_a_failure_may_be_the_answer_for_good(simulator, client) -> None:
    simulator.control("fault", next=["error_kept"])
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.create(MAKER, SAME)
    assert len(client.v1.customers.list().data) == 1


def test_trouble_meets_the_calls_it_is_meant_for(simulator, client) -> None:
    simulator.control("fault", next=["error_before"], call="POST /v1/refunds")
    client.v1.customers.create(MAKER)
    with pytest.raises(stripe.APIError):
        client.v1.refunds.create({"charge": "ch_1"})
    assert [call["path"] for call in simulator.control("calls")] == [
        "/v1/customers",
        "/v1/refunds",
    ]


@pytest.mark.parametrize("fault", ["hang_before", "hang_after"])
def test_a_call_whose_client_gives_up_is_carried_out_once(simulator, client, fault) -> None:
    simulator.control("fault", next=[fault], hang_seconds=0.6)
    headers = {"authorization": "Bearer sk_test_simulated", "idempotency-key": "order-1"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.url}/v1/customers", data=MAKER, headers=headers, timeout=0.2)
    while True:
        again = simulator.web.post(f"{simulator.url}/v1/customers", data=MAKER, headers=headers)
        if again.status_code != 409:
            break
        assert again.json()["error"]["code"] == "idempotency_key_in_use"
    assert again.headers["idempotent-replayed"] == "true"
    assert len(client.v1.customers.list().data) == 1


def test_calls_at_once_with_one_key_make_one_object(client) -> None:
    def create(_number: int) -> str:
        return client.v1.customers.create(MAKER, SAME).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(20)))) == 1


def test_a_decline_is_kept_for_its_key(client) -> None:
    order = {"amount": 500, "currency": "usd", "confirm": True}
    order |= {"payment_method": "pm_card_chargeDeclined"}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            client.v1.payment_intents.create(order, SAME)
    assert len(client.v1.payment_intents.list().data) == 1


def test_lists_come_in_pages(client) -> None:
    made = [client.v1.customers.create({"email": f"{n}@example.com"}).id for n in range(5)]
    customers = client.v1.customers
    assert [one.id for one in customers.list({"limit": 2}).auto_paging_iter()] == made[::-1]
    before = customers.list({"limit": 2, "ending_before": made[0]})
    assert ([one.id for one in before.data], before.has_more) == ([made[2], made[1]], True)
    assert [one.email for one in customers.list({"email": "3@example.com"}).data] == [
        "3@example.com"
    ]


def test_objects_are_shown_instead_of_their_ids(simulator, client) -> None:
    session = simulator.top_up()
    simulator.pay(session.url)
    paid = client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge.balance_transaction", "line_items"]}
    )
    assert paid.payment_intent.latest_charge.balance_transaction.amount == 1000
    assert paid.line_items.data[0].amount_total == 1000
    assert len(client.v1.checkout.sessions.line_items.list(session.id).data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.retrieve(session.id, {"expand": ["nothing"]})


def test_no_key_no_answer(simulator) -> None:
    assert simulator.web.get(f"{simulator.url}/v1/customers").status_code == 401
    key = {"authorization": "Bearer sk_test_simulated"}
    unknown = simulator.web.get(f"{simulator.url}/v1/nothing", headers=key)
    assert unknown.status_code == 404
    assert simulator.web.get(f"{simulator.url}/nothing").status_code == 404


def test_prices_are_found_by_their_lookup_key(simulator, client) -> None:
    form = {"currency": "usd", "unit_amount": 900, "lookup_key": "plus-1"}
    form |= {"recurring": {"interval": "month"}, "product_data": {"name": "Plus"}}
    price = client.v1.prices.create(form)
    simulator.top_up()
    assert [each.id for each in client.v1.prices.list({"active": True}).data] == [price.id]
    found = client.v1.prices.list({"lookup_keys": ["plus-1", "pro-1"], "active": True}).data
    assert [each.id for each in found] == [price.id]
    client.v1.prices.update(price.id, {"active": False})
    assert client.v1.prices.list({"active": True}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.prices.create(form)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "stripe.json"
    form = b"email=a%40example.com"
    made = _ask(file, "POST", "/stripe/v1/customers", form)
    assert _ask(file, "GET", f"/stripe/v1/customers/{made['id']}") == made


def _ask(file: Path, method: str, path: str, body: bytes = b"") -> dict:
    """Return what a new process with this file answers."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer sk_test_simulated")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b""}
    application = StripeApplication({"STRIPE_SIMULATOR_FILE": str(file)})
    asyncio.run(application(scope | {"headers": headers}, receive, send))
    return json.loads(sent[1]["body"])

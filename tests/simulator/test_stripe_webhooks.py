"""The stand-in's webhooks: signed, and doubled, delayed, shuffled, lost and forged as ordered."""

import json
import time
from collections import Counter

import pytest
import stripe

from tests.stripe_simulator import SECRET


def make_events(client) -> None:
    """Make three events: two customers, and a change of the second."""
    client.v1.customers.create({"email": "a@example.com"})
    customer = client.v1.customers.create({"email": "b@example.com"})
    client.v1.customers.update(customer.id, {"name": "B"})


def test_events_come_signed_and_say_their_mode(simulator, client, endpoint) -> None:
    simulator.paid_charge()
    endpoint.wait_for("checkout.session.completed", "payment_intent.succeeded", "charge.succeeded")
    event = next(each for each in endpoint.events if each.type == "checkout.session.completed")
    assert (event.livemode, event.api_version) == (False, stripe.api_version)
    assert "account" not in event.to_dict()
    assert "simulated" not in str(event.data.object)
    assert client.v1.events.retrieve(event.id).type == event.type


def test_events_are_released_in_any_order(simulator, client, endpoint) -> None:
    simulator.control("webhooks", hold=True)
    make_events(client)
    kinds = ["customer.created", "customer.created", "customer.updated"]
    assert simulator.control("held") == kinds
    assert endpoint.events == []
    released = simulator.control("release", order=[2, 1])
    assert [(each["type"], each["status"]) for each in released] == [
        ("customer.updated", 200),
        ("customer.created", 200),
    ]
    assert endpoint.kinds == ["customer.updated", "customer.created"]


def test_events_are_doubled_and_lost(simulator, client, endpoint) -> None:
    simulator.control("webhooks", copies=3, lose=["customer.updated"])
    make_events(client)
    endpoint.wait_until(lambda came: len(came) >= 6)
    assert Counter(endpoint.kinds) == {"customer.created": 6}
    (lost,) = client.v1.events.list({"types": ["customer.updated"]}).data
    simulator.control("webhooks", copies=1, lose=[])
    simulator.control("resend", event=lost.id, copies=2)
    came = endpoint.wait_until(lambda came: came.count("customer.updated") >= 2)
    assert came.count("customer.updated") == 2


def test_events_are_delayed(simulator, client, endpoint) -> None:
    simulator.control("webhooks", delay_seconds=0.3, jitter_seconds=0.1)
    before = time.monotonic()
    make_events(client)
    endpoint.wait_until(lambda came: len(came) == 3)
    assert time.monotonic() - before >= 0.3


def test_an_event_that_is_refused_comes_again(simulator, client, endpoint) -> None:
    simulator.control("webhooks", secret="whsec_of_somebody_else")
    client.v1.customers.create({"email": "a@example.com"})
    assert endpoint.events == []
    simulator.control("webhooks", secret=SECRET)
    endpoint.wait_for("customer.created")


def test_events_are_taken_by_hand(simulator, client) -> None:
    make_events(client)
    taken = simulator.take()
    assert [each["type"] for each in taken][-1] == "customer.updated"
    for each in taken:
        event = stripe.Webhook.construct_event(each["payload"], each["signature"], SECRET)
        assert (event.id, event.type) == (each["id"], each["type"])
    assert simulator.take() == []


@pytest.mark.parametrize(
    ("forgery", "status"),
    [
        ({}, 200),
        ({"changes": {"livemode": True}}, 200),
        ({"secret": "whsec_wrong"}, 400),
        ({"secret": ""}, 400),
        ({"timestamp": 1}, 400),
        ({"signature": "t=1,v1=00"}, 400),
    ],
)
def test_events_are_forged(simulator, client, endpoint, forgery, status) -> None:
    client.v1.customers.create({"email": "a@example.com"})
    endpoint.wait_for("customer.created")
    event = client.v1.events.list().data[0]
    sent = simulator.control("forge", event=event.id, **forgery)
    assert sent["status"] == status
    if changes := forgery.get("changes"):
        assert changes.items() <= json.loads(sent["payload"]).items()


def test_a_forgery_can_be_made_and_not_sent(simulator, client) -> None:
    forged = simulator.control("forge", changes={"id": "evt_1", "type": "x"}, send=False)
    event = stripe.Webhook.construct_event(forged["payload"], forged["signature"], SECRET)
    assert event.id == "evt_1"

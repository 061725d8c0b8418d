"""The stand-in's subscriptions: periods, changes of plan, dunning."""

import pytest
import stripe

MONTH = 30 * 24 * 3600


def invoices(client, subscription) -> list:
    """The subscription's invoices, oldest first."""
    return client.v1.invoices.list({"subscription": subscription.id}).data[::-1]


def change(client, subscription, price, **more):
    """Give the subscription another price."""
    item = {"id": subscription["items"].data[0].id, "price": price.id}
    return client.v1.subscriptions.update(subscription.id, {"items": [item], **more})


def halfway(simulator, client, **more):
    """A subscription of $20, half of whose month has passed."""
    subscription = simulator.subscribe(**more)
    simulator.control("age", id=subscription.id, seconds=MONTH // 2)
    return client.v1.subscriptions.retrieve(subscription.id)


def let_the_card_fail(client, subscription) -> None:
    """Make a card the subscription's that is declined from now on."""
    bad = client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": subscription.customer}
    )
    client.v1.subscriptions.update(subscription.id, {"default_payment_method": bad.id})


def test_checkout_begins_a_subscription(simulator, client) -> None:
    made = simulator.subscribe(subscription_data={"metadata": {"team": "7"}})
    subscription = client.v1.subscriptions.retrieve(
        made.id, {"expand": ["latest_invoice", "default_payment_method", "items.data.price"]}
    )
    assert (subscription.status, subscription.metadata["team"]) == ("active", "7")
    assert subscription.default_payment_method.card.last4 == "4242"
    (item,) = subscription["items"].data
    assert item.price.unit_amount == 2000
    assert item.current_period_end - item.current_period_start == MONTH
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    details = invoice.parent.subscription_details
    assert (details.subscription, details.metadata["team"]) == (made.id, "7")
    (line,) = invoice.lines.data
    assert (line.amount, line.pricing.price_details.price) == (2000, item.price.id)
    assert (line.period.start, line.period.end) == (
        item.current_period_start,
        item.current_period_end,
    )
    assert line.parent.subscription_item_details.proration is False
    (payment,) = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    intent = client.v1.payment_intents.retrieve(
        payment.payment.payment_intent, {"expand": ["latest_charge"]}
    )
    assert (intent.latest_charge.amount, intent.metadata.to_dict()) == (2000, {})


def test_a_card_that_asks_can_begin_a_subscription(simulator, client) -> None:
    lines = [{"price": simulator.monthly_price().id, "quantity": 1}]
    session = simulator.session("subscription", line_items=lines)
    assert simulator.pay(session.url, "pm_card_chargeCustomerFail").status_code == 402
    assert client.v1.subscriptions.list().data == []
    card = {"card": "pm_card_authenticationRequired"}
    assert "/authenticate" in simulator.pay(session.url, **card).headers["location"]
    assert simulator.web.post(f"{session.url}/authenticate", data=card).status_code == 303
    assert [each.status for each in client.v1.subscriptions.list().data] == ["active"]


def test_a_period_passes(simulator, client) -> None:
    subscription = simulator.subscribe(automatic_tax={"enabled": True})
    first = subscription["items"].data[0]
    simulator.control("renew", subscription=subscription.id)
    item = client.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
    assert item.current_period_start > first.current_period_start
    second = invoices(client, subscription)[1]
    assert (second.billing_reason, second.total, second.status) == (
        "subscription_cycle",
        2200,
        "paid",
    )
    # An invoice's period is the one that has passed; its line's is the one that is paid for.
    assert second.period_start == first.current_period_start
    assert second.lines.data[0].period.start == item.current_period_start


def test_an_upgrade_is_invoiced_at_once(simulator, client) -> None:
    subscription = halfway(simulator, client)
    changed = change(
        client, subscription, simulator.monthly_price(5000), proration_behavior="always_invoice"
    )
    assert changed["items"].data[0].price.unit_amount == 5000
    invoice = invoices(client, subscription)[1]
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert invoice.total == pytest.approx(1500, abs=1)
    back, rest = invoice.lines.data
    assert (back.amount, rest.amount) == (pytest.approx(-1000, abs=1), pytest.approx(2500, abs=1))
    assert back.parent.subscription_item_details.proration
    assert rest.period.end == changed["items"].data[0].current_period_end


def test_a_declined_upgrade_changes_nothing(simulator, client) -> None:
    subscription = halfway(simulator, client)
    let_the_card_fail(client, subscription)
    before = len(invoices(client, subscription))
    with pytest.raises(stripe.CardError) as refused:
        change(
            client,
            subscription,
            simulator.monthly_price(5000),
            proration_behavior="always_invoice",
            payment_behavior="error_if_incomplete",
        )
    assert refused.value.http_status == 402
    kept = client.v1.subscriptions.retrieve(subscription.id)
    assert (kept.status, kept["items"].data[0].price.unit_amount) == ("active", 2000)
    assert len(invoices(client, subscription)) == before

    change(client, subscription, simulator.monthly_price(6000), proration_behavior="always_invoice")
    kept = client.v1.subscriptions.retrieve(subscription.id)
    assert (kept.status, kept["items"].data[0].price.unit_amount) == ("past_due", 6000)


def test_prorations_wait_for_the_next_invoice_or_are_not_made(simulator, client) -> None:
    subscription = halfway(simulator, client)
    change(client, subscription, simulator.monthly_price(4000))
    assert len(invoices(client, subscription)) == 1
    simulator.control("renew", subscription=subscription.id)
    invoice = invoices(client, subscription)[1]
    assert invoice.total == pytest.approx(1000 + 4000, abs=1)
    assert len(invoice.lines.data) == 3
    change(client, subscription, simulator.monthly_price(1000), proration_behavior="none")
    simulator.control("renew", subscription=subscription.id)
    assert invoices(client, subscription)[2].total == 1000


def test_a_downgrade_that_is_invoiced_leaves_credit(simulator, client) -> None:
    subscription = halfway(simulator, client)
    change(client, subscription, simulator.monthly_price(500), proration_behavior="always_invoice")
    invoice = invoices(client, subscription)[1]
    assert (invoice.total, invoice.amount_due) == (pytest.approx(-750, abs=1), 0)
    assert (invoice.status, invoice.ending_balance) == ("paid", invoice.total)
    assert client.v1.customers.retrieve(subscription.customer).balance == invoice.total
    simulator.control("renew", subscription=subscription.id)
    assert invoices(client, subscription)[2].amount_due == 0


def test_a_new_cycle_can_begin_with_a_change(simulator, client) -> None:
    subscription = halfway(simulator, client)
    changed = change(
        client, subscription, simulator.monthly_price(5000), billing_cycle_anchor="now"
    )
    item = changed["items"].data[0]
    assert item.current_period_end > subscription["items"].data[0].current_period_end
    assert invoices(client, subscription)[1].total == pytest.approx(4000, abs=1)


def test_an_item_without_its_id_is_refused(simulator, client) -> None:
    subscription = simulator.subscribe()
    new = [{"price": simulator.monthly_price(3000).id}]
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.update(subscription.id, {"items": new})


def test_an_end_is_asked_for_and_taken_back(simulator, client) -> None:
    subscription = simulator.subscribe()
    update = client.v1.subscriptions.update
    asked = update(subscription.id, {"cancel_at_period_end": True})
    assert asked.cancel_at == asked["items"].data[0].current_period_end
    assert update(subscription.id, {"cancel_at_period_end": False}).cancel_at is None
    simulator.control("renew", subscription=subscription.id)
    update(subscription.id, {"cancel_at_period_end": True})
    assert simulator.control("renew", subscription=subscription.id)["status"] == "canceled"
    assert client.v1.subscriptions.list().data == []
    assert len(client.v1.subscriptions.list({"status": "all"}).data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.cancel(subscription.id)


def test_an_unpaid_period_is_tried_again_until_it_is_paid(simulator, client) -> None:
    subscription = simulator.subscribe()
    let_the_card_fail(client, subscription)
    simulator.take()
    assert simulator.control("renew", subscription=subscription.id)["status"] == "past_due"
    invoice = invoices(client, subscription)[1]
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert invoice.next_payment_attempt
    simulator.control("retry_invoice", invoice=invoice.id)
    assert client.v1.invoices.retrieve(invoice.id).attempt_count == 2
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(invoice.id)

    client.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})

    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
    kinds = [event["type"] for event in simulator.take()]
    assert kinds.count("invoice.payment_failed") == 3
    assert "invoice.paid" in kinds


@pytest.mark.parametrize("outcome", ["canceled", "unpaid"])
def test_dunning_ends(simulator, client, outcome) -> None:
    subscription = simulator.subscribe()
    let_the_card_fail(client, subscription)
    simulator.control("renew", subscription=subscription.id)
    simulator.control("give_up", subscription=subscription.id, outcome=outcome)
    assert client.v1.subscriptions.retrieve(subscription.id).status == outcome
    invoice = invoices(client, subscription)[1]
    assert invoice.status == "open"
    client.v1.invoices.void_invoice(invoice.id)
    assert client.v1.invoices.retrieve(invoice.id).status == "void"


def test_a_subscription_is_made_without_checkout(simulator, client) -> None:
    customer = client.v1.customers.create({"email": "a@example.com"}).id
    order = {"customer": customer, "items": [{"price": simulator.monthly_price().id}]}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.create({**order, "payment_behavior": "error_if_incomplete"})
    assert client.v1.subscriptions.create(order).status == "incomplete"
    method = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    order |= {"default_payment_method": method.id}
    assert client.v1.subscriptions.create(order).status == "active"


def test_events_tell_what_was_before(simulator, client) -> None:
    subscription = simulator.subscribe()
    simulator.take()
    client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    (event,) = [each for each in simulator.take() if each["type"].endswith("updated")]
    assert '"previous_attributes": {"cancel_at": null' in event["payload"]

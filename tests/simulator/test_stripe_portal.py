"""The stand-in's customer portal, by the forms that its buttons send."""

import pytest
import stripe


@pytest.fixture
def portal(simulator, client):
    """The portal of a customer with a subscription."""
    subscription = simulator.subscribe()
    return client.v1.billing_portal.sessions.create(
        {"customer": subscription.customer, "return_url": "http://127.0.0.1/billing"}
    )


def test_cards_are_added_chosen_and_removed(simulator, client, portal) -> None:
    assert "No card is kept" not in simulator.web.get(portal.url).text
    answer = simulator.web.post(f"{portal.url}/add", data={"card": "pm_card_mastercard"})
    assert (answer.status_code, answer.headers["location"]) == (303, portal.url)
    new, old = client.v1.customers.payment_methods.list(portal.customer).data

    simulator.web.post(f"{portal.url}/default", data={"method": new.id})

    customer = client.v1.customers.retrieve(portal.customer)
    assert customer.invoice_settings.default_payment_method == new.id
    (subscription,) = client.v1.subscriptions.list({"customer": portal.customer}).data
    assert subscription.default_payment_method == new.id
    assert 'aria-label="Remove Visa' in simulator.web.get(portal.url).text
    simulator.web.post(f"{portal.url}/remove", data={"method": old.id})
    text = simulator.web.get(portal.url).text
    assert "Mastercard •••• 4444" in text
    assert 'aria-label="Remove Visa' not in text


def test_a_declined_card_is_not_added_and_the_page_says_so(simulator, portal) -> None:
    answer = simulator.web.post(f"{portal.url}/add", data={"card": "pm_card_chargeDeclined"})
    assert answer.status_code == 402
    assert 'role="alert">Your card was declined.' in answer.text


def test_a_subscription_is_cancelled_and_resumed(simulator, client, portal) -> None:
    (subscription,) = client.v1.subscriptions.list({"customer": portal.customer}).data
    about = {"subscription": subscription.id}
    for action, ends in (("cancel", True), ("resume", False)):
        simulator.web.post(f"{portal.url}/{action}", data=about)
        assert client.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end is ends


def test_invoices_and_the_way_back_are_there(simulator, client, portal) -> None:
    (invoice,) = client.v1.invoices.list({"customer": portal.customer}).data
    text = simulator.web.get(portal.url).text
    assert invoice.hosted_invoice_url in text
    assert invoice.invoice_pdf in text
    assert 'href="http://127.0.0.1/billing"' in text


def test_a_portal_needs_a_customer_and_a_whole_address(client, portal) -> None:
    for form in ({"customer": "cus_no"}, {"customer": portal.customer, "return_url": "/billing"}):
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.billing_portal.sessions.create(form)

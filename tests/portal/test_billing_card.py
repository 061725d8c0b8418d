"""The team's card: Stripe's portal and page for it, and what the billing page shows of it."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, Team, User
from billing.models import PaymentCustomer
from billing.payments.customers import get_or_create_customer
from tests.payments.conftest import StripeStandIn

pytestmark = pytest.mark.django_db


def saved_card_of(team: Team) -> tuple[str, str]:
    customer = PaymentCustomer.objects.get(team=team)
    return customer.card_brand, customer.card_last_four


def test_a_card_is_left_at_stripe_and_shown_on_return(
    stand_in: StripeStandIn, browser: Client, alices_team: Team
) -> None:
    answer = browser.post("/billing/card/add")
    assert answer.status_code == 303
    paid = stand_in.pay(answer["Location"], "pm_card_mastercard")
    assert paid.headers["location"] == "http://testserver/billing/card"
    page = browser.get("/billing/card", follow=True).content.decode()
    assert "Your card is Mastercard •••• 4444." in page
    assert AuditEntry.objects.filter(action="billing.card_setup_opened").count() == 1


def test_the_portal_is_stripes_and_what_changed_there_is_shown_on_return(
    stand_in: StripeStandIn, browser: Client, alices_team: Team
) -> None:
    answer = browser.post("/billing/portal")
    assert answer.status_code == 303
    stand_in.web.post(f"{answer['Location']}/add", data={"card": "pm_card_visa"})
    assert "Visa •••• 4242" in browser.get("/billing/card", follow=True).content.decode()
    (method,) = stand_in.get("payment_methods")["data"]
    stand_in.web.post(f"{answer['Location']}/remove", data={"method": method["id"]})
    page = browser.get("/billing/card", follow=True).content.decode()
    assert "Your team has no saved card." in page
    assert "Visa" not in page
    assert AuditEntry.objects.filter(action="billing.portal_opened").count() == 1


def test_every_change_of_the_card_is_heard_of(
    stand_in: StripeStandIn, browser: Client, alices_team: Team
) -> None:
    page_url = browser.post("/billing/card/add")["Location"]
    stand_in.pay(page_url, "pm_card_visa")
    told = stand_in.deliver_all()
    assert {event.type for event in told if event.state == "handled"} >= {
        "payment_method.attached",
        "checkout.session.completed",
    }
    assert saved_card_of(alices_team) == ("visa", "4242")
    portal = browser.post("/billing/portal")["Location"]
    stand_in.web.post(f"{portal}/add", data={"card": "pm_card_mastercard"})
    methods = {
        each["card"]["last4"]: each["id"] for each in stand_in.get("payment_methods")["data"]
    }
    stand_in.web.post(f"{portal}/default", data={"method": methods["4242"]})
    stand_in.deliver(*stand_in.events("customer.updated")[-1:])
    assert saved_card_of(alices_team) == ("visa", "4242")
    stand_in.web.post(f"{portal}/remove", data={"method": methods["4242"]})
    stand_in.deliver(*stand_in.events("payment_method.detached")[-1:])
    assert saved_card_of(alices_team) == ("mastercard", "4444")


def test_a_card_removed_behind_another_changes_nothing(
    stand_in: StripeStandIn, browser: Client, alices_team: Team
) -> None:
    portal = browser.post("/billing/portal")["Location"]
    for card in ("pm_card_visa", "pm_card_mastercard"):
        stand_in.web.post(f"{portal}/add", data={"card": card})
    stand_in.deliver_all()
    before = saved_card_of(alices_team)
    other = next(
        each
        for each in stand_in.get("payment_methods")["data"]
        if each["card"]["last4"] != before[1]
    )
    stand_in.web.post(f"{portal}/remove", data={"method": other["id"]})
    (event,) = stand_in.deliver(*stand_in.events("payment_method.detached"))
    assert event.state == "ignored"
    assert saved_card_of(alices_team) == before


def test_strangers_customers_are_no_business_of_ours(
    stand_in: StripeStandIn, alices_team: Team, alice: User
) -> None:
    get_or_create_customer(alices_team, alice)
    stranger = stand_in.create("customers", email="stranger@example.com")["id"]
    stand_in.create("payment_methods/pm_card_visa/attach", customer=stranger)
    events = stand_in.deliver(*stand_in.events("payment_method.attached"))
    assert [event.state for event in events] == ["ignored"]
    assert saved_card_of(alices_team) == ("", "")


@pytest.mark.parametrize("path", ["/billing/portal", "/billing/card/add"])
def test_while_stripe_is_away_the_page_says_so(
    browser: Client, settings: Any, path: str, stand_in: StripeStandIn
) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9/stripe"
    page = browser.post(path, follow=True).content.decode()
    assert "Stripe isn&#x27;t responding." in page
    settings.STRIPE_SECRET_KEY = ""
    page = browser.post(path, follow=True).content.decode()
    assert "Payments aren’t set up on this service" in page
    assert not AuditEntry.objects.filter(action__startswith="billing.").exists()


def test_the_way_back_from_stripe_holds_while_it_is_away(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User, settings: Any
) -> None:
    assert browser.get("/billing/card")["Location"] == "/billing"
    get_or_create_customer(alices_team, alice)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9/stripe"
    page = browser.get("/billing/card", follow=True).content.decode()
    assert "Your changes will appear shortly." in page

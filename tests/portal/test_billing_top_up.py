"""Buying credits: what is sold, one form for one order, and what is said where Stripe is away."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from accounts.models import AuditEntry, Membership, Role, Team, User
from billing.models import Order
from tests.cast import signed_in
from tests.payments.conftest import StripeStandIn

pytestmark = pytest.mark.django_db


def form_of(browser: Client) -> str:
    """Return the number of the order that the page's form will be."""
    return order_number_in(browser.get("/billing").content.decode())


def order_number_in(page: str) -> str:
    found = re.search(r'name="order" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def post_top_up(browser: Client, order: str, amount: str = "2500", own: str = "") -> Any:
    return browser.post("/billing/top-up", {"order": order, "amount": amount, "own": own})


def sessions(stand_in: StripeStandIn) -> list[Any]:
    found: list[Any] = stand_in.get("checkout/sessions", limit=100)["data"]
    return found


def test_an_amount_leads_to_stripes_page_for_it(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    number = form_of(browser)
    answer = post_top_up(browser, number)
    assert answer.status_code == 303
    (session,) = sessions(stand_in)
    assert answer["Location"] == session["url"]
    assert session["amount_total"] == 2500
    order = Order.objects.get()
    assert (str(order.pk), order.team, order.user) == (number, alices_team, alice)
    assert (order.state, order.amount_cents) == ("open", 2500)
    assert session["success_url"] == f"http://testserver/billing/orders/{number}"
    entry = AuditEntry.objects.get(action="credits.ordered")
    assert (entry.actor, entry.subject, entry.ip_address) == (alice, order.number, "127.0.0.1")
    assert entry.detail == {"amount_dollars": "25"}


@pytest.mark.parametrize(
    ("own", "cents"),
    [("5", 500), ("12.5", 1250), ("$12.34", 1234), ("1,000", 100_000), (" 10000.00 ", 1_000_000)],
)
def test_an_own_amount_may_have_cents(
    stand_in: StripeStandIn, browser: Client, own: str, cents: int
) -> None:
    assert post_top_up(browser, form_of(browser), "own", own).status_code == 303
    assert Order.objects.get().amount_cents == cents


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("4.99", "Choose an amount from $5 to $10,000."),
        ("10000.01", "Choose an amount from $5 to $10,000."),
        ("0", "Choose an amount from"),
        *[
            (text, "Enter an amount in dollars, such as 25 or 12.50.")
            for text in ("", "12,50", "-20", "1e3", "12.345", "٢٥", "a lot", "1,00", "NaN")
        ],
    ],
)
def test_what_is_not_sold_is_said_beside_the_amount(
    stand_in: StripeStandIn, browser: Client, own: str, said: str
) -> None:
    answer = post_top_up(browser, form_of(browser), "own", own)
    assert answer.status_code == 422
    beside = answer.content.decode().partition('id="id_own_error"')[2].partition("</div>")[0]
    assert said in beside
    assert Order.objects.count() == 0
    assert stand_in.control("calls") == []


@pytest.mark.parametrize("amount", ["", "2501", "own2", "-1"])
def test_an_amount_that_is_not_offered_is_refused(
    stand_in: StripeStandIn, browser: Client, amount: str
) -> None:
    answer = post_top_up(browser, form_of(browser), amount)
    assert answer.status_code == 422
    assert 'id="id_amount_error"' in answer.content.decode()
    assert Order.objects.count() == 0


@pytest.mark.parametrize("order", ["", "no-number", "\0"])
def test_a_form_without_its_number_is_shown_anew(
    stand_in: StripeStandIn, browser: Client, order: str
) -> None:
    answer = post_top_up(browser, order)
    assert answer.status_code == 422
    assert "The form was incomplete." in answer.content.decode()
    assert Order.objects.count() == 0


def test_the_operator_decides_what_is_sold(
    stand_in: StripeStandIn, browser: Client, settings: Any
) -> None:
    settings.TOP_UP_MINIMUM_DOLLARS = "20"
    settings.TOP_UP_PRESETS_DOLLARS = ["10", "20", "30.50"]
    page = browser.get("/billing").content.decode()
    labels = re.findall(r'class="amount">.*?<span>([^<]+)</span>', page, re.DOTALL)
    assert labels == ["$20", "$30.50", "Other amount"]
    assert "From $20 to $10,000." in page
    assert post_top_up(browser, form_of(browser), "3050").status_code == 303


def test_a_form_sent_again_is_the_same_order_until_it_is_paid_and_after(
    stand_in: StripeStandIn, browser: Client
) -> None:
    number = form_of(browser)
    first = post_top_up(browser, number)
    assert post_top_up(browser, number)["Location"] == first["Location"]
    stand_in.pay(first["Location"])
    browser.get(f"/billing/orders/{number}")
    again = post_top_up(browser, number)  # the browser's back button, and a click
    assert (again.status_code, again["Location"]) == (302, f"/billing/orders/{number}")
    assert len(sessions(stand_in)) == 1
    assert len(stand_in.get("charges")["data"]) == 1
    assert AuditEntry.objects.filter(action="credits.ordered").count() == 1


@pytest.mark.django_db(transaction=True)
def test_twenty_clicks_at_once_are_one_order_and_one_session(
    stand_in: StripeStandIn, alice: User
) -> None:
    number = form_of(signed_in(alice))
    browsers = [signed_in(alice) for _ in range(20)]

    def click(browser: Client) -> Any:
        try:
            return post_top_up(browser, number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(click, browsers))

    assert {answer.status_code for answer in answers} == {303}
    assert len({answer["Location"] for answer in answers}) == 1
    assert len(sessions(stand_in)) == 1
    assert Order.objects.count() == 1


def test_a_form_sent_again_with_another_amount_becomes_a_form_of_its_own(
    stand_in: StripeStandIn, browser: Client
) -> None:
    number = form_of(browser)
    post_top_up(browser, number)
    answer = post_top_up(browser, number, "5000")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "This form was already submitted with another amount." in page
    fresh = order_number_in(page)
    assert fresh != number
    assert post_top_up(browser, fresh, "5000").status_code == 303
    assert sorted(each.amount_cents for each in Order.objects.all()) == [2500, 5000]


def test_another_teams_order_is_not_gone_on_with(
    stand_in: StripeStandIn, browser: Client, charlie: User
) -> None:
    number = form_of(browser)
    post_top_up(browser, number)
    answer = post_top_up(signed_in(charlie), number)
    assert answer.status_code == 422
    assert len(sessions(stand_in)) == 1


@pytest.mark.parametrize("trouble", ["error_before", "rate_limit"])
def test_while_stripe_is_away_nothing_is_charged_and_the_form_goes_on(
    stand_in: StripeStandIn, browser: Client, trouble: str
) -> None:
    number = form_of(browser)
    stand_in.control("fault", next=[trouble] * 20, call="POST /v1/checkout")
    answer = post_top_up(browser, number)
    page = answer.content.decode()
    assert answer.status_code == 503
    assert "Stripe isn&#x27;t responding. Nothing was charged." in page
    assert order_number_in(page) == number
    assert re.search(r'value="2500"[^>]*checked', page)
    stand_in.control("fault", next=[], call="POST /v1/checkout")
    after = post_top_up(browser, number)
    assert after.status_code == 303
    assert len(sessions(stand_in)) == 1


def test_a_stripe_that_nobody_answers_for_is_away_too(
    stand_in: StripeStandIn, browser: Client, settings: Any
) -> None:
    number = form_of(browser)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9/stripe"
    answer = post_top_up(browser, number)
    assert answer.status_code == 503
    assert "Nothing was charged" in answer.content.decode()


def test_without_a_key_nothing_is_ordered_at_stripe(browser: Client, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    answer = post_top_up(browser, str(uuid.uuid4()))
    assert answer.status_code == 503
    assert "Payments aren’t set up on this service" in answer.content.decode()


def test_a_developer_buys_nothing(stand_in: StripeStandIn, alices_team: Team, bob: User) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    assert post_top_up(browser, str(uuid.uuid4())).status_code == 403
    Membership.objects.filter(team=alices_team, user=bob).update(role=Role.BILLING)
    assert post_top_up(browser, str(uuid.uuid4())).status_code == 303
    assert Order.objects.get().team == alices_team


def test_an_amount_in_the_address_is_chosen_already(browser: Client, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_1"
    page = browser.get("/billing?amount=%2450.00").content.decode()
    assert re.search(r'value="5000"[^>]*checked', page)
    page = browser.get("/billing?amount=12.34").content.decode()
    assert re.search(r'value="own"[^>]*checked', page)
    assert 'value="12.34"' in page
    assert browser.get("/billing?amount=<script>").status_code == 200

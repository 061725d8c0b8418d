"""An order's page: it asks Stripe, credits once, and says truly how the order stands."""

import re
import uuid
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from accounts.models import Team, User
from billing.models import LedgerAlert, Order
from billing.payments import orders
from billing.usage.balances import balance_of
from portal.billing.presenters.orders import MOST_POLLS
from tests.cast import signed_in
from tests.payments.conftest import StripeStandIn, checkout
from tests.portal.serving import DOLLAR

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DECLINED = "pm_card_chargeDeclined"
BANK_DEBIT = "pm_usBankAccount_success"


def look(browser: Client, order: Order, more: str = "") -> str:
    answer = browser.get(f"/billing/orders/{order.pk}{more}")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def is_polling(page: str) -> bool:
    return "hx-trigger" in page.partition('id="order-state"')[2].partition(">")[0]


def test_a_paid_order_is_credited_by_the_look_at_it_and_once(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice, 1250)
    stand_in.pay(page_url)
    for _ in range(3):
        page = look(browser, order)
        assert "<strong>Paid.</strong> $12.50 of credits were added" in page
        assert "for a balance of $12.50" in page
        assert not is_polling(page)
    stand_in.deliver_all()
    assert balance_of(alices_team).posted_nanos == 1250 * DOLLAR // 100


def test_the_look_alone_credits_nothing(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, _ = checkout(alices_team, alice)
    page = look(browser, order)
    assert "<strong>Not paid yet.</strong> Nothing was charged." in page
    assert "Continue to payment" in page
    assert balance_of(alices_team).posted_nanos == 0


def test_a_declined_card_is_told_and_another_one_pays(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url, DECLINED)
    stand_in.deliver_all()
    page = look(browser, order)
    assert "The last attempt was declined:" in page
    assert "Your card was declined." in page
    assert "Nothing was charged. Try again, or use another card." in page
    answer = browser.post(f"/billing/orders/{order.pk}/pay")
    assert (answer.status_code, answer["Location"]) == (303, page_url)
    stand_in.pay(page_url)
    assert "<strong>Paid.</strong>" in look(browser, order)


def test_a_delayed_payment_is_processing_until_the_money_is_there(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url, BANK_DEBIT)
    page = look(browser, order)
    assert "The payment is being processed." in page
    assert "This may take a minute; you can close this page." in page
    assert is_polling(page)
    order.refresh_from_db()
    stand_in.control("settle", session=order.session_id, succeeds=True)
    assert "being processed" in look(browser, order, "/state?polls=1")
    page = look(browser, order, "/state?polls=5")
    assert "<strong>Paid.</strong>" in page
    assert not is_polling(page)


def test_the_page_stops_asking_after_a_while(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url, BANK_DEBIT)
    path, polls = "", 0
    page = look(browser, order)
    while found := re.search(r'hx-get="[^"]+(/state\?polls=\d+)"', page):
        path, polls = found[1], polls + 1
        page = look(browser, order, path)
    assert polls == MOST_POLLS
    assert "Some payment methods, such as bank debits, take longer" in page
    assert "Refresh" in page


@pytest.mark.parametrize("polls", ["", "x", "-1", "999999999999999999", "٣"])
def test_a_made_up_count_of_looks_is_the_last_one(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User, polls: str
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url, BANK_DEBIT)
    assert not is_polling(look(browser, order, f"/state?polls={polls}"))


def test_a_delayed_payment_that_fails_says_why_and_leads_to_another_try(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice, 1250)
    stand_in.pay(page_url, BANK_DEBIT)
    order.refresh_from_db()
    stand_in.control("settle", session=order.session_id, succeeds=False)
    page = look(browser, order)
    assert "<strong>The payment failed.</strong>" in page
    assert "Nothing was charged." in page
    assert 'href="/billing?amount=%2412.50#top-up"' in page
    assert balance_of(alices_team).posted_nanos == 0


def test_an_expired_order_says_so(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, _ = checkout(alices_team, alice)
    order.refresh_from_db()
    stand_in.control("expire", session=order.session_id)
    assert "<strong>This order has expired.</strong>" in look(browser, order)
    answer = browser.post(f"/billing/orders/{order.pk}/pay")
    assert (answer.status_code, answer["Location"]) == (302, f"/billing/orders/{order.pk}")


def test_while_stripe_is_away_the_page_says_so_and_waits(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User, settings: Any
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url)
    base = settings.STRIPE_API_BASE
    settings.STRIPE_API_BASE = "http://127.0.0.1:9/stripe"
    page = look(browser, order)
    assert "Stripe isn’t responding." in page
    assert "If you’ve paid, credits are added once it responds" in page
    assert is_polling(page)
    settings.STRIPE_API_BASE = base
    assert "<strong>Paid.</strong>" in look(browser, order)


def test_a_payment_of_another_sum_is_for_people_to_look_at(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url)
    Order.objects.update(amount_cents=900)
    assert "This payment is under review." in look(browser, order)
    assert LedgerAlert.objects.filter(kind="payment_mismatch").exists()
    assert balance_of(alices_team).posted_nanos == 0


def test_refunds_stand_with_their_order(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url)
    orders.confirm(order)
    for state in ("pending", "succeeded", "failed"):
        order.refunds.create(
            amount_cents=250,
            tax_cents=50,
            credit_nanos=DOLLAR,
            reason="staff's own words",
            state=state,
        )
    page = look(browser, order)
    assert "$3.00, on its way to the card" in page
    assert "$3.00, refunded to the card" in page
    assert "$3.00, couldn’t be returned to the card: the credits were restored" in page
    assert "staff's own words" not in page


def test_who_leaves_stripes_page_is_told_that_nothing_was_charged(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    answer = browser.get(f"/billing/orders/{order.pk}/left", follow=True)
    assert answer.redirect_chain == [("/billing", 302)]
    assert "You left the payment page. Nothing was charged." in answer.content.decode()
    stand_in.pay(page_url)  # in another window
    answer = browser.get(f"/billing/orders/{order.pk}/left", follow=True)
    assert answer.redirect_chain == [(f"/billing/orders/{order.pk}", 302)]
    assert "<strong>Paid.</strong>" in answer.content.decode()


def test_receipt_and_invoice_are_stripes_which_is_asked_where_they_are(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url)
    order = orders.confirm(order)
    receipt = browser.get(f"/billing/orders/{order.pk}/receipt")
    assert receipt["Location"] == stand_in.get(f"charges/{order.charge_id}")["receipt_url"]
    invoice = browser.get(f"/billing/orders/{order.pk}/invoice")
    assert invoice["Location"] == stand_in.get(f"invoices/{order.invoice_id}")["invoice_pdf"]
    assert stand_in.web.get(invoice["Location"]).content.startswith(b"%PDF")


def test_where_there_is_no_document_it_is_said(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User
) -> None:
    order, page_url = checkout(alices_team, alice)
    assert browser.get(f"/billing/orders/{order.pk}/receipt").status_code == 404
    assert browser.get(f"/billing/orders/{order.pk}/invoice").status_code == 404
    stand_in.pay(page_url)
    orders.confirm(order)
    stand_in.control("fault", next=["error_before"] * 4)
    answer = browser.get(f"/billing/orders/{order.pk}/receipt", follow=True)
    assert answer.redirect_chain == [(f"/billing/orders/{order.pk}", 302)]
    assert "Stripe couldn&#x27;t provide this document." in answer.content.decode()


@pytest.mark.parametrize("page", ["", "/state", "/left", "/receipt", "/invoice"])
def test_another_teams_order_is_not_there(
    stand_in: StripeStandIn, alices_team: Team, alice: User, charlie: User, page: str
) -> None:
    order, page_url = checkout(alices_team, alice)
    stand_in.pay(page_url)
    calls = stand_in.control("calls")
    outsider = signed_in(charlie)
    assert outsider.get(f"/billing/orders/{order.pk}{page}").status_code == 404
    assert outsider.post(f"/billing/orders/{order.pk}/pay").status_code == 404
    assert outsider.get(f"/billing/orders/{uuid.uuid4()}{page}").status_code == 404
    assert stand_in.control("calls") == calls


def test_going_on_while_stripe_is_away_says_that_nothing_was_charged(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, alice: User, settings: Any
) -> None:
    order, _ = checkout(alices_team, alice)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9/stripe"
    answer = browser.post(f"/billing/orders/{order.pk}/pay", follow=True)
    assert "Stripe isn&#x27;t responding. Nothing was charged." in answer.content.decode()


def test_forms_may_lead_to_stripes_pages_and_to_no_other(
    stand_in: StripeStandIn, browser: Client
) -> None:
    policy = browser.get("/billing")["Content-Security-Policy"]
    allowed = re.search(r"form-action ([^;]+)", policy)
    assert allowed is not None
    assert allowed[1].split() == ["'self'", *django_settings.CHECKOUT_ORIGINS]

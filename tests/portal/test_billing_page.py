"""The billing page: what the balance is made of, how it is filled, and where the receipts are."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Role, Team, User
from billing.ledger import postings
from billing.models import CreditAccount, Order, PaymentCustomer, PlanOffer
from portal.billing.presenters.page import MOST_PARTS
from tests.cast import IssuedKey, signed_in
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import subscribed
from tests.portal.serving import DOLLAR, customer_of, serve

pytestmark = pytest.mark.django_db

CHRISTMAS = datetime(2099, 12, 24, 12, tzinfo=UTC)
NEW_YEAR = datetime(2099, 12, 31, 12, tzinfo=UTC)


def billing_html(browser: Client, path: str = "/billing", status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status
    return re.sub(r"\s+", " ", answer.content.decode())


def parts_of(page: str) -> list[str]:
    """Return the balance's lines as text."""
    table = page.partition('class="balance-parts"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2])
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in rows]


def test_the_balance_is_shown_by_kind_and_expiry_and_adds_up(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    postings.top_up(alices_account, 20 * DOLLAR, reference="pi_1", memo="Order 1")
    postings.grant(alices_account, 3 * DOLLAR, reference="later", expires_at=NEW_YEAR)
    postings.grant(alices_account, 2 * DOLLAR, reference="sooner", expires_at=CHRISTMAS)
    customer = customer_of(alices_account, alices_key, 5 * DOLLAR)
    serve(customer, output_nanos=DOLLAR // 2)

    page = billing_html(browser)

    assert parts_of(page) == [
        "Granted until 2099-12-24 $1.50",
        "Granted until 2099-12-31 $3.00",
        "Granted no expiry Welcome $5.00",
        "Bought no expiry Order 1 $20.00",
        "Balance $29.50",
    ]
    assert "Spent next: granted credits, which expire on 2099-12-24." in page


def test_what_is_held_is_not_available(browser: Client, alices_account: CreditAccount) -> None:
    postings.grant(alices_account, 2 * DOLLAR, reference="grant")
    CreditAccount.objects.filter(pk=alices_account.pk).update(held_nanos=DOLLAR // 4)
    page = billing_html(browser)
    assert "$1.75" in page
    assert "$0.25 reserved for running requests" in page
    assert parts_of(page)[-2:] == ["Reserved -$0.25", "Balance $1.75"]


def test_many_grants_are_summed_up_after_the_first(
    browser: Client, alices_account: CreditAccount
) -> None:
    for day in range(1, MOST_PARTS + 4):
        expires_at = datetime(2099, 1, day, tzinfo=UTC)
        postings.grant(alices_account, DOLLAR, reference=f"grant {day}", expires_at=expires_at)
    postings.top_up(alices_account, DOLLAR, reference="pi_1")
    parts = parts_of(billing_html(browser))
    assert len(parts) == MOST_PARTS + 3
    assert parts[-3:] == [
        "Granted expire later $3.00",
        "Bought no expiry $1.00",
        f"Balance ${MOST_PARTS + 4}.00",
    ]


def test_a_team_without_an_account_reads_how_to_begin(browser: Client) -> None:
    page = billing_html(browser)
    assert "No credits yet." in page
    assert "No orders yet" in page
    assert "No transactions yet" in page


def test_the_page_never_asks_stripe(
    stand_in: StripeStandIn, browser: Client, alices_team: Team
) -> None:
    PaymentCustomer.objects.create(
        team=alices_team,
        stripe_id="cus_1",
        payment_method_id="pm_1",
        card_brand="amex",
        card_last_four="0005",
    )
    page = billing_html(browser)
    assert "American Express •••• 0005" in page
    assert stand_in.control("calls") == []


def test_without_a_key_nothing_is_sold_and_the_page_says_so(browser: Client, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    page = billing_html(browser)
    assert "Payments aren’t set up on this service" in page
    assert "Continue to payment" not in page
    assert "Payment method" not in page
    assert "Test mode" not in page


@pytest.mark.parametrize(
    ("key", "is_marked"), [("sk_test_1", True), ("rk_test_1", True), ("sk_live_1", False)]
)
def test_test_mode_is_plainly_marked(
    browser: Client, settings: Any, key: str, is_marked: bool
) -> None:
    settings.STRIPE_SECRET_KEY = key
    for path in ("/billing", "/billing/orders"):
        assert ("Test mode: no real money." in billing_html(browser, path)) is is_marked


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.BILLING, 200), (Role.DEVELOPER, 403)],
)
def test_who_may_see_billing_sees_it(alices_team: Team, bob: User, role: str, status: int) -> None:
    Membership.objects.filter(team=alices_team, user=bob).update(role=role)
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    assert browser.get("/billing").status_code == status
    assert ('href="/billing"' in browser.get("/usage").content.decode()) is (status == 200)


def test_the_newest_transactions_are_listed_without_usage(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    customer = customer_of(alices_account, alices_key, 5 * DOLLAR)
    serve(customer, output_nanos=DOLLAR)
    postings.adjust(alices_account, -DOLLAR, reference="adjustment", memo="A correction")
    page = billing_html(browser).partition('id="transactions"')[2]
    amounts = re.findall(r'<td class="number(?: credit)?">([^<]+)</td>', page)
    assert amounts == ["-$1.00", "+$5.00"]
    assert "A correction" in page
    assert 'href="/statement"' in page


def test_orders_are_listed_with_state_tax_and_documents(
    browser: Client, alices_team: Team, alice: User
) -> None:
    paid = an_order(alices_team, alice, "paid", amount_cents=2500, tax_cents=475)
    paid.refunds.create(
        amount_cents=500, tax_cents=95, credit_nanos=5 * DOLLAR, reason="x", state="pending"
    )
    failed = an_order(alices_team, alice, "failed", amount_cents=700)
    an_order(alices_team, alice, "expired", amount_cents=900)
    page = billing_html(browser).partition('id="orders"')[2]
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2].partition("</tbody>")[0])
    for row, number in zip(rows, (failed.number, paid.number), strict=True):
        assert number in row
    assert "Failed" in rows[0]
    for text in (
        "$25.00",
        "$4.75",
        "Partially refunded",
        "$5.95 refunded",
        "Receipt",
        "Invoice (PDF)",
    ):
        assert text in rows[1]
    assert "$9.00" not in page


def test_all_orders_are_a_click_away_and_go_page_by_page(
    browser: Client, alices_team: Team, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [an_order(alices_team, alice, "paid").number for _ in range(7)]
    assert 'href="/billing/orders"' in billing_html(browser)
    monkeypatch.setattr("portal.ui.paging.PAGE_ROWS", 3)
    path, seen = "/billing/orders", []
    while path:
        page = billing_html(browser, path)
        seen += re.findall(r"<td><code>(\w+)</code>", page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older[1] if older else ""
    assert seen == made[::-1]


def test_what_a_plan_cost_is_listed_with_its_invoice(
    stand_in: StripeStandIn,
    browser: Client,
    alices_team: Team,
    alice: User,
    pro: PlanOffer,
    charlie: User,
) -> None:
    assert "Payments for plans" not in billing_html(browser)
    subscribed(stand_in, alices_team, alice, pro)
    page = billing_html(browser).partition('id="plan-payments"')[2].partition("</section>")[0]
    assert "Pro" in page
    path = re.search(r'href="(/billing/invoices/[^"]+)"', page)
    assert path is not None
    invoice = stand_in.get(f"invoices/{path[1].rsplit('/', 1)[-1]}")
    assert browser.get(path[1])["Location"] == invoice["invoice_pdf"]
    assert signed_in(charlie).get(path[1]).status_code == 404
    stand_in.control("fault", next=["error_before"] * 4)
    said = browser.get(path[1], follow=True).content.decode()
    assert "Stripe couldn&#x27;t provide this document." in said


def test_a_disputed_order_is_marked(browser: Client, alices_team: Team, alice: User) -> None:
    order = an_order(alices_team, alice, "paid", amount_cents=2500)
    order.disputes.create(stripe_id="dp_1", amount_cents=2500, reason="fraudulent", status="lost")
    assert "Disputed" in billing_html(browser)
    page = billing_html(browser, f"/billing/orders/{order.pk}")
    assert "under review by the bank" in page
    order.disputes.update(is_withdrawn=True)
    page = billing_html(browser, f"/billing/orders/{order.pk}")
    assert "its credits were reversed" in page


def test_another_teams_orders_are_not_listed(
    browser: Client, charlies_team: Team, charlie: User
) -> None:
    order = an_order(charlies_team, charlie, "paid")
    for path in ("/billing", "/billing/orders"):
        assert order.number not in billing_html(browser, path)


def test_the_dashboard_leads_to_more_credits(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    serve(customer_of(alices_account, alices_key, 5 * DOLLAR))
    page = billing_html(browser, "/dashboard")
    assert 'href="/billing#top-up"' in page
    assert "balance is low" not in page
    postings.adjust(alices_account, -1, reference="a nano too little", memo="Less")
    assert "Your balance is low." in billing_html(browser, "/dashboard")
    postings.adjust(alices_account, 1 - 5 * DOLLAR, reference="the rest", memo="None")
    assert "You have no credits." in billing_html(browser, "/dashboard")


def test_a_developer_is_told_whom_to_ask(
    alices_team: Team, alices_account: CreditAccount, bob: User
) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    page = billing_html(browser, "/dashboard")
    assert "Ask an owner or admin of the team to add credits." in page
    assert "/billing" not in page


def test_the_address_that_the_api_names_is_the_pages() -> None:
    assert f"{django_settings.BASE_URL}{reverse('billing')}" == django_settings.BILLING_URL


def an_order(team: Team, user: User, state: str, **fields: Any) -> Order:
    """Make an order's row as it is in that state."""
    order = Order(
        team=team, user=user, state=state, is_live=False, **{"amount_cents": 1000, **fields}
    )
    order.credit_nanos = order.amount_cents * DOLLAR // 100
    order.payment_intent_id = f"pi_{order.pk.hex}"
    order.charge_id = f"ch_{order.pk.hex}"
    order.invoice_id = f"in_{order.pk.hex}"
    order.save()
    return order

"""From an empty purse to credits, by way of Stripe's page: paid, declined, asked for, left."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.conftest import WIDE, cookies_of
from tests.browser.test_everything import PHONE, Visitor, overflow_of
from tests.browser.watch import accessibility_faults
from tests.stack import Stack
from tests.support.sampling import one_of
from tests.support.waiting import eventually


class Buyer:
    """A new customer with a dollar, signed in, and how they get about."""

    def __init__(self, page: Page, site: Stack, email: str, visitor: Visitor) -> None:
        made = json.loads(site.manage("create_customer", email, "--credit", "1", "--json"))
        self.page = page
        self.site = site
        self.email = email
        self.api_key = made["api_key"]
        self.visitor = visitor
        page.context.add_cookies(cookies_of(site, email, made["password"]))  # type: ignore[arg-type]

    def order(self, preset: str = "$10") -> None:
        """Go from the dashboard to Stripe's page for an amount."""
        self.page.goto("/dashboard")
        self.visitor.link("Add credits")
        self.page.wait_for_url("**/billing#top-up")
        self.choose(preset)
        self.visitor.button("Continue to payment")
        self.page.wait_for_url("**/stripe/checkout/**")

    def choose(self, preset: str) -> None:
        """Choose an amount, with the arrow keys where there is no mouse."""
        radio = self.page.get_by_role("radio", name=preset, exact=True)
        if self.visitor.is_by_keyboard:
            self.visitor.tab_to(self.page.locator("input[name=amount]:checked"))
            self.page.keyboard.press("ArrowLeft")
        else:
            radio.check()
        expect(radio).to_be_checked()

    def pay(self, card: str = "pm_card_visa", verb: str = "Pay") -> None:
        """Pay on Stripe's page with a test card."""
        if card != "pm_card_visa":
            self.page.locator(f"input[value={card}]").check()
        self.visitor.press(self.page.get_by_role("button", name=re.compile(f"^{verb}")))

    def orders(self) -> list[tuple[Any, ...]]:
        """Return the team's orders: state, cents, whether there is a session."""
        return self.site.sql(
            "SELECT o.state, o.amount_cents, o.session_id IS NOT NULL FROM billing_order o"
            " JOIN accounts_user u ON u.id = o.user_id WHERE u.email = %s ORDER BY o.created_at",
            self.email,
        )

    def expect_balance(self, text: str) -> None:
        """See the balance on the billing page."""
        self.page.goto("/billing")
        expect(self.page.locator(".balance-figure")).to_have_text(text)


@pytest.fixture
def buyer(page: Page, site: Stack, request: pytest.FixtureRequest) -> Buyer:
    """A customer at a wide page, with a mouse."""
    visitor = Visitor(page, by_keyboard=False, has_menu=False)
    return Buyer(page, site, f"{request.node.name.replace('_', '-')}@example.com", visitor)


@pytest.mark.parametrize(
    ("viewport", "by_keyboard"),
    one_of(
        "credits are bought",
        pytest.param(WIDE, False, id="wide"),
        pytest.param(PHONE, False, id="phone"),
        pytest.param(WIDE, True, id="keyboard"),
    ),
)
def test_credits_are_bought_and_the_balance_shows_them(
    new_page: Callable[..., Page],
    site: Stack,
    request: pytest.FixtureRequest,
    viewport: dict[str, int],
    by_keyboard: bool,
) -> None:
    page = new_page(viewport=viewport)
    visitor = Visitor(page, by_keyboard=by_keyboard, has_menu=viewport == PHONE)
    buyer = Buyer(page, site, f"buyer-{request.node.callspec.id}@example.com", visitor)

    buyer.order("$10")
    buyer.pay()
    page.wait_for_url("**/billing/orders/*")
    expect(page.locator(".alert.good")).to_contain_text("$10.00 of credits were added")
    assert overflow_of(page) <= 0
    assert accessibility_faults(page) == []

    visitor.press(page.locator(".page-head").get_by_role("link", name="Billing"))
    expect(page.locator(".balance-figure")).to_have_text("$11.00")
    row = page.get_by_role("region", name="Orders").get_by_role("row").nth(1)
    expect(row).to_contain_text("Paid")
    assert overflow_of(page) <= 0
    assert accessibility_faults(page) == []
    _see_the_card(page)
    with page.context.expect_page() as opened:
        visitor.press(row.get_by_role("link", name="Receipt"))
    expect(opened.value.get_by_role("heading", name="Receipt")).to_be_visible()
    site.check_ledger()


def test_a_declined_card_is_told_and_another_pays(buyer: Buyer) -> None:
    buyer.order()
    buyer.pay("pm_card_chargeDeclined")
    expect(buyer.page.get_by_role("alert")).to_contain_text("declined")
    buyer.expect_balance("$1.00")
    buyer.visitor.press(buyer.page.get_by_role("region", name="Orders").get_by_role("link").first)
    expect(buyer.page.get_by_role("alert")).to_contain_text("The last attempt was declined:")
    buyer.visitor.button("Continue to payment")
    buyer.page.wait_for_url("**/stripe/checkout/**")
    buyer.pay("pm_card_mastercard")
    expect(buyer.page.locator(".alert.good")).to_contain_text("$10.00 of credits were added")
    buyer.expect_balance("$11.00")
    assert buyer.orders() == [("paid", 1000, True)]


def test_a_bank_that_asks_is_answered(buyer: Buyer) -> None:
    buyer.order()
    buyer.pay("pm_card_authenticationRequired")
    buyer.visitor.button("Complete authentication")
    expect(buyer.page.locator(".alert.good")).to_contain_text("$10.00 of credits were added")
    buyer.expect_balance("$11.00")


def test_who_goes_back_is_told_that_nothing_was_charged(buyer: Buyer) -> None:
    buyer.order()
    buyer.page.get_by_text("Go back without paying").click()
    buyer.page.wait_for_url("**/billing")
    expect(
        buyer.page.get_by_text("You left the payment page. Nothing was charged.")
    ).to_be_visible()
    buyer.expect_balance("$1.00")


def test_after_the_browsers_back_button_twenty_clicks_are_one_order(buyer: Buyer) -> None:
    buyer.order()
    buyer.page.go_back()
    button = buyer.page.get_by_role("button", name="Continue to payment")
    button.evaluate("button => { for (let i = 0; i < 20; i++) button.click(); }")
    buyer.page.wait_for_url("**/stripe/checkout/**")
    # No browser stores the page, so going back shows a new form, and that is another order.
    assert buyer.orders() == [("open", 1000, True)] * 2
    buyer.pay()
    expect(buyer.page.locator(".alert.good")).to_contain_text("Paid.")
    buyer.expect_balance("$11.00")


def test_a_delayed_payment_appears_by_itself(buyer: Buyer, site: Stack) -> None:
    buyer.order()
    buyer.pay("pm_usBankAccount_success")
    buyer.page.wait_for_url("**/billing/orders/*")
    expect(buyer.page.get_by_text("The payment is being processed.")).to_be_visible()
    number = buyer.page.url.rsplit("/", 1)[-1]
    ((session,),) = site.sql("SELECT session_id FROM billing_order WHERE id = %s", number)
    site.stripe.control("settle", session=session, succeeds=True)
    expect(buyer.page.locator(".alert.good")).to_contain_text("Paid.", timeout=20_000)


def test_an_own_amount_out_of_bounds_is_told_beside_the_field(buyer: Buyer) -> None:
    buyer.page.goto("/billing")
    field = buyer.page.get_by_label("Amount in US dollars")
    expect(field).to_be_hidden()
    buyer.choose("Other amount")
    field.fill("4.99")
    buyer.visitor.button("Continue to payment")
    expect(buyer.page.locator("#id_own_error")).to_contain_text("Choose an amount from $5")
    field.fill("12.50")
    buyer.visitor.button("Continue to payment")
    buyer.page.wait_for_url("**/stripe/checkout/**")
    expect(buyer.page.get_by_role("button", name="Pay $12.50")).to_be_visible()


def test_cards_are_managed_at_stripe(buyer: Buyer) -> None:
    buyer.page.goto("/billing")
    buyer.visitor.button("Add a card")
    buyer.page.wait_for_url("**/stripe/checkout/**")
    buyer.pay("pm_card_mastercard", verb="Save card")
    expect(buyer.page.get_by_text("Your card is Mastercard •••• 4444.")).to_be_visible()
    buyer.visitor.button("Manage cards and billing details")
    buyer.page.wait_for_url("**/stripe/portal/**")
    buyer.page.get_by_role("button", name=re.compile("^Remove")).click()
    buyer.page.get_by_text("Return to the service").click()
    expect(buyer.page.get_by_text("Your team has no saved card.")).to_be_visible()


def test_a_call_that_runs_low_buys_more_by_itself(buyer: Buyer, site: Stack) -> None:
    buyer.order()
    buyer.pay()
    expect(buyer.page.locator(".alert.good")).to_contain_text("Paid.")
    buyer.page.goto("/billing")
    _see_the_card(buyer.page)
    buyer.page.get_by_label("Buy credits when my balance is low").check()
    buyer.page.get_by_label("When balance falls below").fill("10.99")
    buyer.page.get_by_label("Buy", exact=True).fill("20")
    buyer.page.get_by_label("Monthly limit").fill("40")
    buyer.page.locator("#auto-top-up").get_by_role("button", name="Save").click()
    expect(buyer.page.locator("#auto-top-up .badge")).to_have_text("On")
    assert [order[:2] for order in buyer.orders()] == [("paid", 1000)]

    client = OpenAI(base_url=f"{site.base_url}/v1", api_key=buyer.api_key, max_retries=0)
    client.chat.completions.create(
        model="glm-5.2",
        messages=[{"role": "user", "content": "Hello!"}],
        max_tokens=8000,
        extra_body={"simulate": {"tokens": 8000}},
    )

    def is_topped_up() -> bool:
        row = _reloaded(buyer.page).locator("#orders tr").filter(has_text="auto top-up")
        return row.get_by_text("Paid", exact=True).count() == 1

    eventually(is_topped_up, seconds=100, what="nothing was bought")  # a lease, at worst
    _reloaded(buyer.page)  # the page that first said so may have read the balance before
    row = buyer.page.get_by_role("region", name="Orders").get_by_role("row").nth(1)
    expect(row).to_contain_text("$20.00")
    expect(row).to_contain_text("Paid")
    expect(buyer.page.locator(".balance-figure")).to_have_text("$30.97")
    expect(buyer.page.locator("#auto-top-up")).to_contain_text("$20.00 of $40.00")
    site.check_ledger()


def test_a_plan_is_subscribed_to_raised_and_cancelled(buyer: Buyer, site: Stack) -> None:
    plan = buyer.page.locator("#plan")
    buyer.page.goto("/billing")
    plan.get_by_role("link", name=re.compile("^Choose ")).first.click()
    buyer.visitor.button("Continue to payment")
    buyer.page.wait_for_url("**/stripe/checkout/**")
    buyer.pay(verb="Subscribe")
    buyer.page.wait_for_url(re.compile(re.escape(site.base_url)))
    buyer.page.goto("/billing")
    eventually(lambda: _reloaded(buyer.page).locator("#plan", has_text="renews on").count())
    plan.get_by_role("link", name=re.compile("^Upgrade to ")).first.click()
    buyer.page.get_by_role("button", name=re.compile("and upgrade$")).click()
    expect(buyer.page.locator(".alert.good").first).to_be_visible()
    eventually(lambda: _reloaded(buyer.page).locator("#plan", has_text="renews on").count())
    plan.get_by_role("link", name="Cancel plan").click()
    buyer.page.get_by_role("button", name="Cancel plan").click()
    expect(plan).to_contain_text("Nothing more is charged.")
    site.check_ledger()


def test_what_staff_refund_is_shown_with_its_order(
    buyer: Buyer, new_page: Callable[..., Page], site: Stack
) -> None:
    buyer.order()
    buyer.pay()
    expect(buyer.page.locator(".alert.good")).to_contain_text("Paid.")
    order_url = buyer.page.url

    staff = new_page(viewport=WIDE)
    staff.goto(f"/admin/billing/order/{order_url.rsplit('/', 1)[-1]}/change/")
    staff.locator("input[name=login]").fill(site.demo["staff"]["email"])
    staff.locator("input[name=password]").fill(site.demo["staff"]["password"])
    staff.locator("input[name=password]").press("Enter")
    staff.get_by_role("link", name="Refund…").click()
    staff.locator("input[name=amount]").fill("4")
    staff.locator("textarea[name=reason]").fill("Bought by mistake")
    staff.get_by_role("button", name="Refund", exact=True).click()
    staff.wait_for_url("**/admin/billing/refund/**")

    buyer.expect_balance("$7.00")
    row = buyer.page.get_by_role("region", name="Orders").get_by_role("row").nth(1)
    expect(row).to_contain_text("Partially refunded")
    expect(row).to_contain_text("$4.00 refunded")
    buyer.page.goto(order_url)
    expect(buyer.page.locator(".facts")).to_contain_text("$4.00, refunded to the card")
    assert "Bought by mistake" not in buyer.page.content()
    site.check_ledger()


def _see_the_card(page: Page) -> None:
    """Wait until the billing page knows the card, which its event tells: a round late at worst."""
    eventually(
        lambda: _reloaded(page).get_by_text("Visa •••• 4242").count(), seconds=40, what="no card"
    )


def _reloaded(page: Page) -> Page:
    page.reload()
    return page

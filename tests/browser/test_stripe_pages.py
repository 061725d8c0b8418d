"""The stand-in's own pages in a browser: clicked through, usable on a phone and without a mouse."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.watch import Watch, accessibility_faults
from tests.stripe_simulator import StripeSimulator, running_simulator
from tests.support.sampling import one_of


@pytest.fixture(scope="module")
def simulator() -> Iterator[StripeSimulator]:
    """A stand-in without an endpoint."""
    with running_simulator() as url:
        yield StripeSimulator(f"{url}/stripe")


SIZES = (pytest.param(("light", 1280), id="wide"), pytest.param(("dark", 390), id="phone"))


@pytest.fixture(params=one_of("the stand-in's pages", *SIZES))
def page(request: pytest.FixtureRequest, browser: Browser, simulator: StripeSimulator):
    """A page on which nothing but the stand-in may be loaded."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    watch = Watch(simulator.url.removesuffix("/stripe"))
    watch.over(page)
    yield page
    context.close()
    assert watch.faults == []


@pytest.fixture
def back(simulator: StripeSimulator) -> str:
    """Where the pages lead back to: some page that is there."""
    return f"{simulator.url.removesuffix('/stripe')}/healthz"


def look(page: Page) -> None:
    """Fail where the page is not marked, not accessible, or wider than the window."""
    expect(page.get_by_text("Test mode: no money moves")).to_be_visible()
    assert accessibility_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_person_pays_after_a_decline_and_3_d_secure(page: Page, simulator, back) -> None:
    session = simulator.top_up(2500, automatic_tax={"enabled": True}, success_url=back)
    page.goto(session.url)
    look(page)
    page.get_by_label("Email").fill("ada@example.com")
    page.get_by_label("Is declined").check()
    page.get_by_role("button", name="Pay $27.50").click()
    expect(page.get_by_role("alert")).to_contain_text("declined")
    look(page)
    page.get_by_label("3-D Secure, always").check()
    page.get_by_role("button", name="Pay $27.50").click()
    look(page)
    page.get_by_role("button", name="Fail authentication").click()
    expect(page.get_by_role("alert")).to_contain_text("unable to authenticate")
    page.get_by_label("3-D Secure, always").check()
    page.get_by_role("button", name="Pay $27.50").click()
    page.get_by_role("button", name="Complete authentication").click()
    page.wait_for_url(back)
    page.goto(session.url)
    expect(page.get_by_text("This page is complete.")).to_be_visible()


def test_a_person_goes_back(page: Page, simulator, back) -> None:
    page.goto(simulator.top_up(cancel_url=back).url)
    page.get_by_role("link", name="Go back without paying").click()
    page.wait_for_url(back)


def test_a_person_subscribes_by_keyboard_and_manages_it(page: Page, simulator, back) -> None:
    lines = [{"price": simulator.monthly_price().id, "quantity": 1}]
    session = simulator.session("subscription", line_items=lines, success_url=back)
    page.goto(session.url)
    look(page)
    page.get_by_role("button", name="Subscribe for $20.00").press("Enter")
    page.wait_for_url(back)
    customer = simulator.client.v1.checkout.sessions.retrieve(session.id).customer
    portal = simulator.client.v1.billing_portal.sessions.create(
        {"customer": customer, "return_url": back}
    )
    page.goto(portal.url)
    look(page)
    page.get_by_role("button", name="Cancel subscription").click()
    page.get_by_role("button", name="Resume subscription").click()
    page.get_by_label("Test card").select_option("pm_card_mastercard")
    page.get_by_role("button", name="Add card").click()
    page.get_by_role("button", name="Make default Mastercard •••• 4444").click()
    page.get_by_role("button", name="Remove Visa •••• 4242").click()
    expect(page.get_by_text("Visa •••• 4242", exact=True)).to_have_count(0)
    page.get_by_role("link", name="SIM-").first.click()
    look(page)
    page.go_back()
    page.get_by_role("link", name="Return to the service").click()
    page.wait_for_url(back)

"""The catalogue as staff click through it: an upstream, its test, its models, a price.

Each takes less than ten clicks, as `platform/docs/operations.md` says, and no page is too wide or
has a serious fault of accessibility.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import WIDE, cookies_of
from tests.browser.watch import faults_by_scheme
from tests.stack import Stack

PHONE = {"width": 390, "height": 844}
LIST = "model,input,output,context_tokens\n{0}-large,1.25,10,8000\n{0}-small,0.5,2,8000"


class Clicks:
    """A page whose clicks are counted, and where each page is looked at."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0
        self.faults: list[str] = []

    def press(self, role: str, name: str) -> None:
        """Click a button or a link."""
        target = self.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        target.locator("visible=true").first.click()
        self.count += 1
        self.page.wait_for_load_state()

    def open(self, name: str) -> None:
        """Click a row of a list."""
        self.page.locator("#result_list").get_by_role("link", name=name, exact=True).click()
        self.count += 1
        self.page.wait_for_url("**/change/**")

    def act(self, name: str) -> None:
        """Click one of a page's actions, which are in a menu on a phone."""
        menu = self.page.locator("a", has_text="more_horiz").locator("visible=true")
        if menu.count():
            menu.first.click()
            self.count += 1
        self.press("link", name)

    def done(self) -> None:
        """End a flow, and see that it was short."""
        assert self.count < 10
        self.count = 0

    def look(self) -> None:
        """Collect what is wrong with the page as it is now."""
        place = self.page.url.partition("/admin/")[2]
        width = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        self.faults += [f"{place}: {width} px too wide"] if width > 0 else []
        self.faults += [f"{place}: {fault}" for fault in faults_by_scheme(self.page)]


@pytest.mark.parametrize(
    "viewport", [pytest.param(WIDE, id="wide"), pytest.param(PHONE, id="phone")]
)
def test_a_newcomer_adds_an_upstream_its_models_and_a_price(
    new_page: Callable[..., Page],
    site: Stack,
    request: pytest.FixtureRequest,
    viewport: dict[str, int],
) -> None:
    name = f"maker-{request.node.callspec.id}"
    page = new_page(viewport=viewport, cookies=cookies_of(site, **site.demo["staff"]))
    clicks = Clicks(page)
    (base_url,) = site.sql("SELECT base_url FROM api_upstream ORDER BY id LIMIT 1")[0]

    # An upstream, and its key.
    page.goto("/admin/api/upstream/add/")
    page.locator("[name=name]").fill(name)
    page.locator("[name=base_url]").fill(base_url)
    page.locator("[name=new_key]").fill("sk-maker-0123456789abcdef")
    clicks.press("button", "Save")
    clicks.open(name)
    assert "0123456789abcdef" not in page.content()
    clicks.act("Test")
    clicks.press("button", "Run the test")
    expect(page.get_by_text("Good: Answered")).to_be_visible()
    clicks.look()
    clicks.done()

    # Its models, with prices.
    clicks.press("link", "Back")
    clicks.act("Import models")
    page.locator("[name=text]").fill(LIST.format(name))
    clicks.press("button", "Preview")
    expect(page.get_by_text("New: 2")).to_be_visible()
    clicks.look()
    clicks.press("button", "Import")
    page.wait_for_url("**/admin/api/model/**")
    clicks.done()

    # A price.
    clicks.open(f"{name}-large")
    clicks.act("Set price")
    expect(page.locator("[name=input_nanos_per_million]")).to_have_value("1.63")
    page.locator("[name=input_nanos_per_million]").fill("1")
    clicks.press("button", "Review")
    expect(page.get_by_text(f"{name} charges $1.25").first).to_be_visible()
    clicks.look()
    page.locator("[name=input_nanos_per_million]").fill("1.80")
    clicks.press("button", "Review")
    expect(page.get_by_text("input tokens $1.63 \N{RIGHTWARDS ARROW} $1.80").first).to_be_visible()
    clicks.look()
    clicks.press("button", "Publish")
    page.wait_for_url("**/admin/billing/priceversion/")
    clicks.done()

    page.goto("/admin/api/model/export")
    expect(page.get_by_text(f'name = "{name}-large"').first).to_be_visible()
    clicks.look()
    assert clicks.faults == []

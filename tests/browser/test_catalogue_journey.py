"""The catalogue as staff click through it: an upstream, its test, its models, a price.

Each takes the clicks that `platform/docs/operations.md` says, fewer than ten, and no page is too
wide or has a serious fault of accessibility.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.clicks import Clicks
from tests.browser.conftest import WIDE, cookies_of
from tests.stack import Stack

PHONE = {"width": 390, "height": 844}
LIST = "model,input,output,context_tokens\n{0}-large,1.25,10,8000\n{0}-small,0.5,2,8000"


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

    is_wide = viewport == WIDE

    # An upstream, and its key.
    if is_wide:
        page.goto("/admin/")
        clicks.click(page.locator("a[href$='/admin/api/upstream/']"))
        clicks.click(page.locator("a[href$='/admin/api/upstream/add/']"))
    else:
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
    clicks.done("add an upstream and test it", is_wide=is_wide)

    # Its models, with prices.
    clicks.press("link", "Back")
    clicks.act("Import models")
    page.locator("[name=text]").fill(LIST.format(name))
    clicks.press("button", "Preview")
    expect(page.get_by_text("New: 2")).to_be_visible()
    clicks.look()
    clicks.press("button", "Import")
    page.wait_for_url("**/admin/api/model/**")
    clicks.done("import its models", is_wide=is_wide)

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
    clicks.done("set a model's price and publish it", is_wide=is_wide)

    page.goto("/admin/api/model/export")
    expect(page.get_by_text(f'name = "{name}-large"').first).to_be_visible()
    clicks.look()
    assert clicks.faults == []

"""The public pages in a real browser: search, keyboard, tabs, copying, a phone, light and dark."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect


def test_search_finds_while_one_types_and_without_a_script(
    page: Page, new_page: Callable[..., Page]
) -> None:
    page.goto("/docs")
    page.keyboard.press("/")
    field = page.get_by_role("searchbox")
    expect(field).to_be_focused()
    page.keyboard.type("retry-after")
    quick = page.locator(".docs-quick")
    expect(quick.get_by_role("link", name="Which errors to retry")).to_be_visible()
    page.keyboard.press("Escape")
    expect(quick).to_be_empty()
    field.fill("retry-after")
    field.press("Enter")
    page.wait_for_url("**/docs/search?q=retry-after")
    page.get_by_role("link", name="Which errors to retry").click()
    page.wait_for_url("**/docs/errors#retry")
    expect(page.get_by_role("heading", name="Which errors to retry")).to_be_in_viewport()

    plain = new_page(java_script_enabled=False)
    plain.goto("/docs")
    plain.get_by_role("searchbox").fill("insufficient_quota")
    plain.get_by_role("searchbox").press("Enter")
    expect(plain.get_by_role("link", name="All errors")).to_be_visible()


def test_the_keyboard_reads_page_after_page(page: Page) -> None:
    page.goto("/docs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    tab = page.get_by_role("tab", name="curl")
    tab.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Python")).to_contain_text("from openai import OpenAI")
    page.get_by_role("navigation", name="Next pages").get_by_role("link").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/docs/authentication")
    expect(
        page.get_by_role("navigation", name="Documentation", exact=True).locator("[aria-current]")
    ).to_have_text("Authentication")


def test_code_is_copied_as_it_stands(new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/docs/streaming")
    expect(page.locator("code.hljs").first).to_be_visible()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("from openai import OpenAI\n\nclient = OpenAI(base_url=")
    compile(copied, "copied", "exec")


def test_the_models_are_filtered_by_a_choice(page: Page) -> None:
    page.goto("/docs/models")
    page.get_by_label("Type").select_option("image")
    page.wait_for_url("**/docs/models?*kind=image*")
    table = page.get_by_role("region", name="Models", exact=True)
    expect(table.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("rowheader", name="GLM-Image")).to_be_visible()
    expect(page.get_by_role("rowheader", name="GPT Image 1")).to_be_visible()


def test_examples_name_the_customers_own_key(customer_page: Page) -> None:
    customer_page.goto("/docs")
    # The newest key's: the demo's, or one that another test made.
    expect(customer_page.get_by_role("tabpanel", name="curl")).to_contain_text(
        re.compile(r"sk-tg-YOUR_KEY_\w+")
    )


def test_a_phone_has_the_pages_in_a_menu(new_page: Callable[..., Page]) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto("/docs/errors")
    page.get_by_text("All pages").click()
    page.get_by_role("navigation", name="Documentation, menu").get_by_role(
        "link", name="Pricing"
    ).click()
    page.wait_for_url("**/docs/pricing")

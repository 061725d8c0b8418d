"""A key's life in the browser: made, copied, used, rotated, revoked; by keyboard; on a phone."""

import re
from collections.abc import Callable

import openai
import pytest
from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watch import accessibility_faults
from tests.stack import Stack
from tests.support.waiting import eventually

HELLO = [{"role": "user", "content": "Hello!"}]
PLAINTEXT = re.compile(r"sk-tg-[0-9A-Za-z]{38}")


def call(site: Stack, key: str) -> None:
    client = OpenAI(base_url=f"{site.base_url}/v1", api_key=key, max_retries=0)
    assert client.chat.completions.create(model="glm-5.2", messages=HELLO).choices


def refused(site: Stack, key: str) -> bool:
    try:
        call(site, key)
    except openai.AuthenticationError as error:
        return error.status_code == 401
    return False


def make_key(page: Page, name: str) -> str:
    """Make a key by the form and return its plaintext."""
    page.goto("/settings/apikeys/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create key").click()
    return page.locator("#plaintext").inner_text()


def test_a_key_is_made_copied_used_rotated_and_revoked(customer_page: Page, site: Stack) -> None:
    page = customer_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/settings/apikeys")
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Name", exact=True).fill("Journey")
    page.get_by_text("Advanced").click()
    page.get_by_label("Search models").fill("glm-5.2")
    page.get_by_label("glm-5.2", exact=True).check()
    page.get_by_label("Per day").fill("1")
    page.get_by_role("button", name="Create key").click()

    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    key = page.evaluate("navigator.clipboard.readText()")
    assert PLAINTEXT.fullmatch(key)
    page.get_by_role("tab", name="Python").click()
    expect(page.locator("#snippet-python")).to_contain_text(f"{site.base_url}/v1")
    expect(page.locator("#snippet-curl")).to_be_hidden()

    page.reload()  # sends the form again
    expect(page.get_by_role("heading", name="This key was already created")).to_be_visible()
    assert key not in page.content()

    call(site, key)
    page.goto("/settings/apikeys")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Journey"))
    expect(row.first).not_to_contain_text("Never used")
    expect(row.first.locator(".key-spent strong")).not_to_have_text("$0.00")

    page.get_by_role("link", name="Journey").click()
    site.manage("shell", "-c", "from billing.tasks import roll_up_usage; roll_up_usage()")
    page.reload()
    expect(page.get_by_role("img", name="Spending by day")).to_be_visible()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    successor = page.locator("#plaintext").inner_text()
    assert successor != key
    call(site, key)
    call(site, successor)

    page.get_by_role("link", name="I’ve copied it").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator(".alert.good")).to_contain_text("It no longer works")
    assert refused(site, successor)
    call(site, key)


def test_a_key_is_made_and_revoked_by_keyboard_alone(customer_page: Page, site: Stack) -> None:
    page = customer_page
    page.goto("/settings/apikeys/new")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    key = page.locator("#plaintext").inner_text()
    tab_to(page, "Copy the key")
    tab_to(page, "curl")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.locator("#snippet-python")).to_be_visible()
    tab_to(page, "I’ve copied it")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/apikeys/\d+$"))
    tab_to(page, "Revoke")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("link", name="Revoke")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".alert.good")).to_be_visible()
    assert refused(site, key)


def test_a_key_is_revoked_without_scripts(
    new_customer_page: Callable[..., Page], site: Stack
) -> None:
    page = new_customer_page(java_script_enabled=False)
    key = make_key(page, "Without scripts")
    page.get_by_role("link", name="I’ve copied it").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".alert.good")).to_be_visible()
    assert refused(site, key)


def test_a_key_is_frozen_and_unfrozen(customer_page: Page, site: Stack) -> None:
    page = customer_page
    key = make_key(page, "Winter")
    page.get_by_role("link", name="I’ve copied it").click()
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_text("Frozen since")).to_be_visible()
    with pytest.raises(openai.PermissionDeniedError) as frozen:
        call(site, key)
    assert frozen.value.code == "key_frozen"
    page.get_by_role("button", name="Unfreeze").click()
    expect(page.locator(".alert.good")).to_contain_text("It works again")
    call(site, key)


def test_the_dialog_makes_a_key_of_a_name(customer_page: Page, site: Stack) -> None:
    page = customer_page
    page.goto("/settings/apikeys")
    page.get_by_role("link", name="Create key").click()
    dialog = page.get_by_role("dialog", name="Create key")
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Per month")).to_be_hidden()
    assert accessibility_faults(page) == []
    page.keyboard.type("Of the dialog")
    page.keyboard.press("Enter")
    call(site, page.locator("#plaintext").inner_text())


def test_the_own_day_is_asked_for_where_it_is_chosen(customer_page: Page) -> None:
    page = customer_page
    page.goto("/settings/apikeys/new")
    page.get_by_text("Advanced").click()
    expect(page.get_by_label("Expiry date")).to_be_hidden()
    page.get_by_label("Expires").select_option("day")
    expect(page.get_by_label("Expiry date")).to_be_visible()


def test_pages_are_accessible_and_fit_a_phone(
    new_customer_page: Callable[..., Page], site: Stack
) -> None:
    page = new_customer_page(viewport={"width": 390, "height": 844}, color_scheme="dark")

    def check() -> None:
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url

    key = make_key(page, "A name as long as names of things that grow over years may come to be")
    check()
    call(site, key)
    page.get_by_role("link", name="I’ve copied it").click()
    check()
    url = page.url
    site.manage("shell", "-c", "from billing.tasks import roll_up_usage; roll_up_usage()")
    for path in (url, f"{url}/edit", f"{url}/rotate", f"{url}/revoke", "/settings/apikeys/new"):
        page.goto(path)
        check()
    page.get_by_text("Advanced").click()
    check()
    page.get_by_label("Requests per minute").fill("a lot")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("Enter a name.")).to_be_visible()
    check()
    page.goto("/settings/apikeys?show=all")
    check()
    page.goto(url)
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is called so has the focus."""

    def has_focus() -> bool:
        page.keyboard.press("Tab")
        text = "(e => e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)"
        return bool(page.evaluate(text) == name)

    eventually(has_focus, every=0, what=f"Tab does not come to {name!r}")

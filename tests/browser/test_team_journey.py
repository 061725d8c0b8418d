"""A team from its making to a member's removal, as two people in two browsers see it."""

import json
import re
import secrets
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from playwright.sync_api import Page, expect

from tests.browser.watch import accessibility_faults
from tests.stack import Stack
from tests.support.sampling import one_of
from tests.support.waiting import eventually


def link_to(site: Stack, address: str) -> str:
    """Return the invitation's link in the latest email to the address."""

    def find() -> str | None:
        for path in sorted((site.folder / "mail").glob("*.log"), reverse=True):
            for raw in path.read_bytes().split(b"-" * 79):
                email = message_from_bytes(raw, _class=EmailMessage, policy=policy.default)
                if email["To"] == address:
                    body = email.get_body(preferencelist=("plain",))
                    assert body is not None
                    found = re.search(r"https?://\S+(/invitations/\S+)", body.get_content())
                    if found:
                        return found[1]
        return None

    return str(eventually(find, what=f"no email to {address}"))


def new_customer(site: Stack) -> tuple[str, str]:
    """Return address and password of a new user."""
    email = f"guest-{secrets.token_hex(4)}@example.com"
    made = json.loads(site.manage("create_customer", email, "--json"))
    return email, str(made["password"])


def make_team(page: Page) -> str:
    name = f"Atlas {secrets.token_hex(4)}"
    page.goto("/team")
    page.get_by_role("link", name="New team").click()
    page.get_by_label("Team name").fill(name)
    page.get_by_role("button", name="Create team").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    return name


def accept(page: Page, link: str, email: str, password: str) -> None:
    """Follow the email signed out, signs in, comes back and joins."""
    page.goto(link)
    page.get_by_role("link", name="Sign in").click()
    page.locator("input[name=login]").fill(email)
    page.locator("input[name=password]").fill(password)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url(f"**{link}")
    page.get_by_role("button", name="Join the team").click()


@pytest.mark.parametrize("width", one_of("an invitation", 1280, 390))
def test_invited_accepted_promoted_and_removed(
    customer_page: Page, new_page: Callable[..., Page], site: Stack, width: int
) -> None:
    owner = customer_page
    owner.set_viewport_size({"width": width, "height": 844})
    name = make_team(owner)
    email, password = new_customer(site)

    owner.get_by_label("Email address").fill(email)
    owner.get_by_role("button", name="Send invitation").click()
    expect(owner.get_by_text(f"on its way to {email}")).to_be_visible()

    guest = new_page(viewport={"width": width, "height": 844})
    accept(guest, link_to(site, email), email, password)
    expect(guest.get_by_role("heading", level=1)).to_have_text(name)
    expect(guest.get_by_role("link", name="Audit log")).to_have_count(0)

    owner.goto("/team")
    owner.get_by_role("link", name=f"Manage {email}").click()
    owner.get_by_role("radio", name="Admin").check()
    owner.get_by_role("button", name="Save role").click()
    expect(owner.get_by_text(f"{email} is now admin here.")).to_be_visible()

    guest.reload()
    guest.get_by_role("link", name="Audit log").click()
    entries = guest.get_by_role("row")
    expect(entries.nth(1)).to_contain_text("Role changed")
    expect(entries.nth(1)).to_contain_text("developer → admin")
    expect(entries.nth(2)).to_contain_text("Joined")
    expect(entries.nth(3)).to_contain_text("Invited")
    guest.get_by_label("Action").select_option("Joined")
    guest.get_by_role("button", name="Filter").click()
    expect(guest.get_by_role("row")).to_have_count(2)

    owner.get_by_role("link", name=f"Manage {email}").click()
    owner.get_by_role("button", name="Remove", exact=True).click()
    owner.get_by_role("button", name="Remove member").click()
    expect(owner.get_by_text(f"{email} was removed from the team.")).to_be_visible()
    guest.goto("/team")
    expect(guest.get_by_role("heading", level=1)).not_to_have_text(name)


def test_the_keyboard_alone_invites_and_withdraws(customer_page: Page, site: Stack) -> None:
    page = customer_page
    make_team(page)
    press = page.keyboard.press
    page.get_by_label("Email address").focus()
    page.keyboard.type(f"{secrets.token_hex(4)}@example.com")
    press("Tab")
    page.keyboard.type("Billing")
    press("Tab")
    press("Enter")
    expect(page.get_by_text("on its way to")).to_be_visible()
    expect(page.get_by_role("region", name="Pending invitations")).to_contain_text("Billing")
    page.get_by_role("button", name=re.compile("Resend")).focus()
    press("Tab")
    press("Enter")
    expect(page.get_by_text("is withdrawn")).to_be_visible()


def test_an_error_stands_at_its_field_and_a_dialog_closes_with_escape(customer_page: Page) -> None:
    page = customer_page
    make_team(page)
    page.get_by_role("button", name="Send invitation").click()
    address = page.get_by_label("Email address")
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(address).to_have_accessible_description(re.compile("This field is required"))
    page.goto("/team/settings")
    page.get_by_role("button", name="Leave", exact=True).press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Leave", exact=True).click()
    page.get_by_role("button", name="Leave team").click()
    expect(page.get_by_text("A team needs an owner")).to_be_visible()


def test_an_invitation_is_accessible_and_fits_a_telephone_whoever_opens_it(
    customer_page: Page, new_page: Callable[..., Page], site: Stack
) -> None:
    page = customer_page
    page.emulate_media(color_scheme="dark")
    make_team(page)
    email, password = new_customer(site)
    page.get_by_label("Email address").fill(email)
    page.get_by_role("button", name="Send invitation").click()
    link = link_to(site, email)

    def check(visitor: Page) -> None:
        visitor.goto(link)
        assert accessibility_faults(visitor) == []
        for width in (1280, 390):
            visitor.set_viewport_size({"width": width, "height": 844})
            overflow = visitor.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0

    guest = new_page(color_scheme="dark")
    check(guest)
    check(page)  # to whom it was not sent
    accept(guest, link, email, password)
    check(guest)


def test_the_archive_is_downloaded(customer_page: Page) -> None:
    page = customer_page
    page.goto("/settings/data")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download archive").click()
    assert re.fullmatch(r"data-[\d-]+\.zip", download.value.suggested_filename)
    assert download.value.path().read_bytes()[:2] == b"PK"

"""An operator gives the service a brand: a draft, its previews, its publication, and back."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import cookies_of
from tests.browser.watch import faults_by_scheme
from tests.portal.pictures import SVG
from tests.stack import Stack

PHONE = {"width": 390, "height": 844}
LARGE = {"width": 1440, "height": 900}
EMAIL, PASSWORD = "brand-operator@example.com", "correct horse battery"
APPOINT = f"""
from django.contrib.auth.models import Group
from allauth.account.models import EmailAddress
from accounts.models import User
user = User.objects.create_user("{EMAIL}", "{PASSWORD}", is_staff=True, name="Brand operator")
EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
user.groups.set([Group.objects.get(name="Operator")])
"""
LIGHT, DARK = "rgb(91, 42, 134)", "rgb(201, 167, 236)"
HEADLINE = "Awake when you are"


@pytest.fixture
def operator_page(new_page: Callable[..., Page], site: Stack) -> Iterator[Page]:
    """A page of an operator. The service has its own brand again afterwards."""
    [before] = site.sql("SELECT name, tagline, contact_email FROM api_service")
    if not site.sql("SELECT 1 FROM accounts_user WHERE email = %s", EMAIL):
        site.manage("shell", "-v", "0", "-c", APPOINT)
    yield new_page(viewport=LARGE, cookies=cookies_of(site, EMAIL, PASSWORD))
    site.sql("DELETE FROM portal_branddraft")
    site.sql("DELETE FROM portal_brand")
    restore = (
        "UPDATE api_service SET name = %s, tagline = %s, contact_email = %s, brand_digest = ''"
    )
    site.sql(restore, *before)


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the page in light and dark, wide and on a phone."""
    found = faults_by_scheme(page)
    for viewport in (PHONE, LARGE):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        page.wait_for_timeout(200)
        width: Any = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        found += [f"{width} px too wide at {viewport}"] if width > 0 else []
    return found


def test_an_operator_drafts_previews_publishes_and_resets_the_brand(
    operator_page: Page, new_page: Callable[..., Page]
) -> None:
    page, visitor = operator_page, new_page(viewport=LARGE)
    draft_brand(page)
    look_at_previews(page, visitor)
    draft_email(page)

    page.goto("/admin/brand")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Published:")).to_be_visible()
    look_as_visitor(visitor)
    assert faults_of(page) == [], "the admin in the brand's colors"

    page.goto("/admin/brand")
    page.get_by_role("button", name="Reset to defaults").click()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Published:")).to_be_visible()
    visitor.goto("/")
    expect(visitor.get_by_role("heading", name=HEADLINE)).to_have_count(0)


def draft_brand(page: Page) -> None:
    """Save a draft, after a color that is too light."""
    page.goto("/admin/brand")
    page.get_by_label("Name", exact=False).first.fill("Moodlight")
    page.get_by_label("Headline").fill(HEADLINE)
    page.get_by_label("Points").fill("One key\nNo subscription")
    page.get_by_label("Accent in light").fill("#ffcc00")
    page.get_by_label("Accent in dark").fill("#c9a7ec")
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_text("Make it darker")).to_be_visible()
    assert faults_of(page) == []

    page.get_by_label("Accent in light").fill("#5b2a86")
    logo: Any = {"name": "logo.svg", "mimeType": "image/svg+xml", "buffer": SVG}
    page.get_by_label("Logo", exact=True).set_input_files(logo)
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_text("Draft saved.")).to_be_visible()
    assert faults_of(page) == []


def look_at_previews(page: Page, visitor: Page) -> None:
    """See the draft, which the visitor does not."""
    page.get_by_role("link", name="Preview", exact=True).click()
    wide = page.frame_locator("iframe").first
    expect(wide.get_by_role("heading", name=HEADLINE)).to_be_visible()
    assert faults_of(page) == []
    page.get_by_role("button", name="Dark").click()
    expect(page.frame_locator("iframe").last.locator("html")).to_have_attribute(
        "data-theme", "dark"
    )
    for name in ("home", "components"):
        page.goto(f"/admin/brand/preview/{name}?theme=light")
        assert faults_of(page) == [], name
    # An email's own page is in a sandbox where no script runs, axe's neither.
    email = page.request.get("/admin/brand/preview/email-email_code").text()
    visitor.set_content(email)
    assert faults_of(visitor) == [], "email"
    visitor.goto("/")
    expect(visitor.get_by_role("heading", name=HEADLINE)).to_have_count(0)


def draft_email(page: Page) -> None:
    """Save an email's words, after a placeholder that there is not."""
    page.goto("/admin/brand/emails/low_balance")
    page.get_by_label("Body").fill("{team} has {balanse} left.")
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_text("is not a placeholder of this email")).to_be_visible()
    page.get_by_label("Body").fill("{team} has {balance} left.\n\nAdd credits: {billing_url}")
    page.get_by_role("button", name="Save draft").click()
    expect(page.frame_locator("iframe").get_by_text("Acme has $1.50 left.")).to_be_visible()
    assert faults_of(page) == []


def look_as_visitor(visitor: Page) -> None:
    """See the published brand."""
    visitor.goto("/")
    expect(visitor.get_by_role("heading", name=HEADLINE)).to_be_visible()
    button = visitor.locator(".button.primary").locator("visible=true").first
    visitor.emulate_media(color_scheme="light")
    expect(button).to_have_css("background-color", LIGHT)
    visitor.emulate_media(color_scheme="dark")
    expect(button).to_have_css("background-color", DARK)
    for path in ("/", "/docs", "/accounts/login/"):
        visitor.goto(path)
        assert faults_of(visitor) == [], path
        icon = visitor.locator(".brand img").locator("visible=true").first
        assert icon.evaluate("image => image.complete && image.naturalWidth > 0"), path

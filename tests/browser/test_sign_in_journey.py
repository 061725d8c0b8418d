"""From a stranger to a member who is guarded by a second step or a passkey, wide and at 390 px."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import WIDE, sign_in
from tests.browser.watch import Watch, faults_by_scheme
from tests.stack import Stack
from tests.support.sampling import one_of
from tests.support.waiting import eventually

PASSWORD = "correct horse battery"
NARROW = {"width": 390, "height": 844}
SIZES = (pytest.param(WIDE, id="wide"), pytest.param(NARROW, id="narrow"))


def open_email(page: Page, to: str, subject: str) -> Page:
    """Open, in a tab of its own, the latest email to an address with such a subject."""
    tab = page.context.new_page()
    found = tab.get_by_role("row").filter(has_text=to).filter(has_text=subject)

    def has_come() -> bool:
        tab.goto("/dev/mail")
        return found.count() > 0

    eventually(has_come, seconds=20, every=0.3, what=f"no email {subject!r} to {to}")
    found.first.get_by_role("link").click()
    return tab


def code_for(page: Page, to: str) -> str:
    """Return the code of the latest email to an address."""
    tab = open_email(page, to, "is your code")
    heading = tab.get_by_role("heading", level=1).inner_text()
    # The email's own look, in its frame.
    expect(tab.frame_locator("iframe").locator(".code")).to_have_text(heading.split()[0])
    tab.close()
    return heading.split()[0]


def totp(secret: str, ahead: int = 0) -> str:
    """Return the current code, or the one that many 30-second periods later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


def new_customer(site: Stack, email: str) -> dict[str, str]:
    made: dict[str, Any] = json.loads(site.manage("create_customer", email, "--json"))
    return {"email": email, "password": made["password"]}


def sign_out(page: Page) -> None:
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Sign out").last.click()
    page.wait_for_url(re.compile(r"/$"))


def confirm_password(page: Page, password: str) -> None:
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Continue").click()


def no_faults(page: Page) -> None:
    """Fail where the page is not accessible in light or dark, or wider than the window."""
    assert faults_by_scheme(page) == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


@pytest.mark.parametrize("viewport", one_of("a stranger becomes a member", *SIZES))
def test_a_stranger_becomes_a_member_with_trial_credit(
    new_page: Callable[..., Page], viewport: dict[str, int]
) -> None:
    email = f"stranger{viewport['width']}@example.com"
    page = new_page(viewport=viewport)
    page.goto("/")
    page.get_by_role("link", name="Get started").first.click()
    no_faults(page)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill("12345678")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#id_password1_error")).to_contain_text("too common")
    no_faults(page)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()

    code = code_for(page, email)
    page.get_by_label("Code").fill("000000" if code != "000000" else "111111")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#id_code_error")).to_contain_text("Incorrect code")
    no_faults(page)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/dashboard")
    if viewport == NARROW:
        page.get_by_role("button", name="Menu").click()
    expect(page.locator(".rail-balance")).to_contain_text("$1.00")


def test_a_forgotten_password_is_replaced_by_mail(
    new_page: Callable[..., Page], site: Stack
) -> None:
    email = "forgetful@example.com"
    site.customer(email, "1")
    page = new_page(viewport=NARROW)
    page.goto("/accounts/login/")
    page.get_by_role("link", name="Forgot your password?").click()
    no_faults(page)
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Send link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your email")
    tab = open_email(page, email, "Choose a new password")
    tab.get_by_role("link", name="password/reset/key").click()
    no_faults(tab)
    tab.get_by_label("New Password", exact=True).fill(PASSWORD)
    tab.get_by_label("New Password (again)").fill(PASSWORD)
    tab.get_by_role("button", name="Save password").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Password saved")
    sign_in(tab, email, PASSWORD)


def test_staff_confirm_their_mailbox_before_their_first_second_factor(
    new_page: Callable[..., Page], site: Stack
) -> None:
    staff = new_customer(site, "staff-to-be@example.com")
    site.sql("UPDATE accounts_user SET is_staff = true WHERE email = %s", staff["email"])
    page = new_page(viewport=NARROW)
    sign_in(page, **staff)
    page.goto("/accounts/2fa/")
    page.get_by_role("link", name="Set up an app").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm your email address")
    no_faults(page)
    page.get_by_role("button", name="Send the code").click()
    tab = open_email(page, staff["email"], "is your staff code")
    code = tab.get_by_role("heading", level=1).inner_text().split()[0]
    tab.close()
    page.get_by_label("Code").fill("000000" if code != "000000" else "111111")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#id_code_error")).to_contain_text("Incorrect code")
    no_faults(page)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()
    confirm_password(page, staff["password"])
    secret = page.locator("#secret").inner_text()
    page.get_by_label("Authenticator code").fill(totp(secret))
    page.get_by_role("button", name="Turn on").click()
    # The recovery codes would do in its place, so they take the second factor itself.
    page.get_by_label("Code").fill(totp(secret, ahead=1))
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def test_an_authenticator_app_is_the_second_step(
    new_page: Callable[..., Page], site: Stack
) -> None:
    customer = new_customer(site, "totp@example.com")
    page = new_page(viewport=NARROW)
    sign_in(page, **customer)
    page.goto("/accounts/2fa/")
    page.get_by_role("link", name="Set up an app").click()
    confirm_password(page, customer["password"])
    expect(page.locator("img.qr")).to_be_visible()
    assert page.locator("img.qr").evaluate("image => image.naturalWidth > 0"), "the QR code"
    no_faults(page)
    secret = page.locator("#secret").inner_text()
    page.get_by_label("Authenticator code").fill("000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator("#id_code_error")).to_contain_text("Incorrect code")
    page.get_by_label("Authenticator code").fill(totp(secret))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    no_faults(page)
    open_email(page, customer["email"], "Two-step sign-in is on").close()
    recovery = page.locator("#codes").inner_text().split()[0]

    # An app's code works once, so the next one is taken; a recovery code in its place, too.
    for code in (totp(secret, ahead=1), recovery):
        sign_out(page)
        page.goto("/accounts/login/")
        page.get_by_label("Email").fill(customer["email"])
        page.get_by_label("Password", exact=True).fill(customer["password"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/accounts/2fa/authenticate/")
        no_faults(page)
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url("**/dashboard")
    page.goto("/accounts/2fa/")
    expect(page.get_by_text("9 left")).to_be_visible()
    no_faults(page)


@pytest.fixture
def named_host(browser: Browser, site: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page at localhost, as passkeys belong to a name, with an authenticator in the device.

    Wide, or of the size that the test gives as the fixture's parameter.
    """
    url, viewport = f"http://localhost:{site.port}", getattr(request, "param", WIDE)
    context = browser.new_context(base_url=url, viewport=viewport)
    page = context.new_page()
    watch = Watch(url)
    watch.over(page)
    device = context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True}
    options |= {"automaticPresenceSimulation": True}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield page
    context.close()
    assert watch.faults == []


@pytest.mark.parametrize("named_host", one_of("a passkey", *SIZES), indirect=True)
def test_a_passkey_signs_in_alone(named_host: Page, site: Stack) -> None:
    page, width = named_host, named_host.evaluate("innerWidth")
    customer = new_customer(site, f"passkey{width}@example.com")
    sign_in(page, **customer)
    page.goto("/accounts/2fa/")
    page.get_by_role("link", name="Add a passkey").click()
    confirm_password(page, customer["password"])
    no_faults(page)
    page.get_by_label("Name").fill("This <b>laptop</b>")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    no_faults(page)

    sign_out(page)
    page.goto("/accounts/login/")
    no_faults(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/dashboard")

    page.goto("/accounts/2fa/webauthn/")
    expect(page.get_by_text("This <b>laptop</b>").first).to_be_visible()
    expect(page.get_by_text("Passwordless")).to_be_visible()
    no_faults(page)
    page.get_by_role("link", name="Rename").click()
    page.get_by_role("link", name="Use your passkey").click()
    no_faults(page)
    page.get_by_role("button", name="Use your passkey").click()
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("strong", has_text="Laptop")).to_be_visible()
    page.get_by_role("link", name="Remove").click()
    no_faults(page)
    page.get_by_role("button", name="Remove passkey").click()
    expect(page.get_by_text("No passkeys yet")).to_be_visible()


def test_a_passkey_that_is_not_given_is_said_on_the_page(named_host: Page) -> None:
    named_host.goto("/accounts/login/")
    named_host.evaluate(
        "() => { navigator.credentials.get ="
        " () => Promise.reject(new DOMException('', 'NotAllowedError')) }"
    )
    named_host.get_by_role("button", name="Use a passkey").click()
    expect(named_host.get_by_role("alert")).to_contain_text("No passkey was used")
    no_faults(named_host)


def test_an_address_of_numbers_says_where_passkeys_work(page: Page, site: Stack) -> None:
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text(f"http://localhost:{site.port}")


def test_an_address_is_added_verified_and_made_primary(
    new_page: Callable[..., Page], site: Stack
) -> None:
    customer = new_customer(site, "moving@example.com")
    page = new_page(viewport=NARROW)
    sign_in(page, **customer)
    page.goto("/accounts/email/")
    page.get_by_label("Email").fill("moved@example.com")
    page.get_by_role("button", name="Add address").click()
    confirm_password(page, customer["password"])
    page.get_by_label("Code").fill(code_for(page, "moved@example.com"))
    page.get_by_role("button", name="Continue").click()
    no_faults(page)
    page.goto("/accounts/email/")
    page.get_by_role("button", name="Make primary").click()
    expect(page.get_by_role("listitem").filter(has_text="moved@")).to_contain_text("Primary")
    no_faults(page)


def test_the_keyboard_alone_signs_in(page: Page, site: Stack) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").focus()
    page.keyboard.type(site.demo["customer"]["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(site.demo["customer"]["password"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard")

"""The whole of it: from a stranger to a statement that adds up and a key that is refused; and every
page, wide and on a phone, light and dark (in CI; elsewhere a sample).
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Locator, Page, expect

from portal.docs.pages import pages
from portal.mailbox.queries import emails
from tests.browser.conftest import WIDE, sign_in
from tests.browser.watch import AXE, Watch, faults_by_scheme
from tests.portal.url_map import PAGES, address
from tests.stack import Stack
from tests.support.sampling import half_of, one_of
from tests.support.waiting import eventually

PASSWORD = "correct horse battery"
PHONE = {"width": 390, "height": 844}
MOST_TABS = 150
FOLLOWS_SECONDS = 5  # until charts have followed the window: at once, but beside busy processes


class Visitor:
    """Somebody at a page: with a mouse or a finger, or with nothing but a keyboard."""

    def __init__(self, page: Page, *, by_keyboard: bool, has_menu: bool) -> None:
        self.page = page
        self.is_by_keyboard = by_keyboard
        self._has_menu = has_menu

    def press(self, target: Locator) -> None:
        """Click a link or a button, or presses Enter on it."""
        if not self.is_by_keyboard:
            target.click()
            return
        self.tab_to(target)
        self.page.keyboard.press("Enter")

    def write(self, label: str, text: str) -> None:
        """Fill in a field."""
        field = self.page.get_by_label(label, exact=True)
        if not self.is_by_keyboard:
            field.fill(text)
            return
        self.tab_to(field)
        self.page.keyboard.type(text)

    def link(self, name: str) -> None:
        """Follow the first link of this name."""
        self.press(self.page.get_by_role("link", name=name).first)

    def button(self, name: str) -> None:
        """Press the button of this name."""
        self.press(self.page.get_by_role("button", name=name, exact=True).first)

    def go(self, name: str) -> None:
        """Go to one of the pages that each page leads to."""
        if self._has_menu:
            self.button("Menu")
        self.press(self.page.locator(".rail").get_by_role("link", name=name, exact=True))

    def tab_to(self, target: Locator) -> None:
        """Move the focus there, by nothing but Tab."""
        expect(target).to_be_visible()
        element = target.element_handle()  # found once: a look by role goes over the whole page
        for _ in range(MOST_TABS):
            if element.evaluate("e => e === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not come to {target}")


def code_for(site: Stack, email: str) -> str:
    """Return the code in the email to an address."""

    def found() -> str:
        mine = [each for each in emails(site.folder / "mail") if each.to == email]
        return next((code[0] for each in mine if (code := re.findall(r"\d{6}", each.subject))), "")

    return str(eventually(found, what=f"no code for {email}"))


def call(site: Stack, key: str) -> None:
    """Make a call as a customer's program does."""
    client = OpenAI(base_url=f"{site.base_url}/v1", api_key=key, max_retries=0)
    answer = client.chat.completions.create(
        model="glm-5.2", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert answer.choices[0].message.content


def overflow_of(page: Page) -> int:
    """Return by how much the page is wider than its window, in pixels."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.mark.parametrize(
    ("viewport", "by_keyboard"),
    one_of(
        "from a stranger to a statement",
        pytest.param(WIDE, False, id="wide"),
        pytest.param(PHONE, False, id="phone"),
        pytest.param(WIDE, True, id="keyboard"),
    ),
)
def test_from_a_stranger_to_a_statement_that_adds_up(
    new_page: Callable[..., Page],
    site: Stack,
    request: pytest.FixtureRequest,
    viewport: dict[str, int],
    by_keyboard: bool,
) -> None:
    email = f"everything-{request.node.callspec.id}@example.com"
    page = new_page(viewport=viewport)
    visitor = Visitor(page, by_keyboard=by_keyboard, has_menu=viewport == PHONE)

    page.goto("/")
    visitor.link("Get started")
    page.wait_for_url("**/accounts/signup/")
    visitor.write("Email", email)
    visitor.write("Password", PASSWORD)
    visitor.button("Create account")
    expect(page.get_by_label("Code")).to_be_visible()
    visitor.write("Code", code_for(site, email))
    visitor.button("Continue")
    page.wait_for_url("**/dashboard")
    expect(page.get_by_text("Make your first request in three steps")).to_be_visible()

    visitor.link("Create key")
    page.wait_for_url("**/settings/apikeys/new")
    visitor.write("Name", "First program")
    visitor.button("Create key")
    key = page.locator("#plaintext").inner_text()
    visitor.link("I’ve copied it")
    call(site, key)

    visitor.go("Dashboard")
    rows = page.get_by_role("region", name="Recent requests")
    expect(rows.get_by_role("row")).to_have_count(2)
    visitor.press(rows.get_by_role("link").first)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Request to glm-5.2")
    expect(page.get_by_text("Verified: each line below was recomputed")).to_be_visible()
    balance = re.search(r"Balance after it: (\$\d+\.\d{9})", page.inner_text(".trail"))
    assert balance is not None

    visitor.link("View in statement")
    expect(page.get_by_text("Verified: all transfers")).to_be_visible()
    closing = page.locator(".stat", has_text="Closing balance").locator(".stat-note")
    expect(closing).to_have_text(balance[1])
    assert overflow_of(page) <= 0

    visitor.go("API keys")
    visitor.link("First program")
    page.wait_for_url(re.compile(r"/apikeys/\d+$"))
    visitor.link("Revoke")
    visitor.press(page.get_by_role("dialog").get_by_role("button", name="Revoke"))
    expect(page.locator(".alert.good")).to_contain_text("It no longer works")
    with pytest.raises(openai.AuthenticationError) as refused:
        call(site, key)
    assert refused.value.status_code == 401


FILL = """
import json
import time
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from accounts.models import User
from tests.portal.filled import fill
user = User.objects.get(email="everything@example.com")
user.is_staff = True
user.save()
# As if they had shown a second factor: staff see the pages of theirs only then.
for each in Session.objects.all():
    if each.get_decoded().get("_auth_user_id") == str(user.pk):
        session = SessionStore(each.session_key)
        session[AUTHENTICATION_METHODS_SESSION_KEY].append({"method": "mfa", "at": time.time()})
        session.save()
filled = fill(user, user.teams.get(), "A name as long as such names come to be", "Failed", many=10)
print(json.dumps(filled.arguments, default=str))
"""


class Everybody:
    """A browser's session of the owner of a filled team, and the addresses to see."""

    def __init__(self, state: Any, arguments: dict[str, Any], email_id: str) -> None:
        self.state = state
        arguments["email_id"] = email_id
        own = [
            address(name, arguments)
            for name, page in PAGES.items()
            if page.owner == 200 and "GET" in page.methods and name not in NO_PAGES
        ]
        docs = [page.url for page in pages()[1:]]
        mailbox = ["/dev/mail", f"/dev/mail/{email_id}"]
        further = ["/settings/apikeys?show=all", "/statement?by=transfer", "/usage?status=error"]
        further.append("/usage?group=tag&metric=latency")
        self.signed_in = [*own, *docs, *mailbox, *further, "/design", "/docs/search?q=stream"]
        self.signed_out = [
            *("/", "/docs", "/docs/models", "/docs/models/glm-5.2", "/status", "/nowhere"),
            *("/accounts/login/", "/legal/terms", "/legal/privacy"),
            *("/accounts/signup/", "/accounts/password/reset/", "/accounts/password/reset/done/"),
            address("invitation", arguments),
        ]


# Files and fragments that no browser shows as a page.
NO_PAGES = {
    *("robots_txt", "security_txt", "openapi", "dashboard_live", "usage_csv", "statement_csv"),
    *("chat_charge", "chat_conversations", "chat_conversation_json", "docs_page", "email_html"),
    *("balance", "find", "sitemap", "status_feed", "prefetch_rules", "jwks", "llms_txt"),
    *("docs_markdown", "first_call", "request_receipt"),
    *("order_state", "manage-keys", "manage-key", "manage-team", "manage-usage"),
    *("manage-receipt", "manage-day-roots"),
    "mfa_login_webauthn",
}


@pytest.fixture(scope="module")
def everybody(browser: Browser, site: Stack) -> Iterator[Everybody]:
    """Sign in once, before the team's owner has a passkey to be asked for, and fill the team."""
    made = json.loads(site.manage("create_customer", "everything@example.com", "--json"))
    context = browser.new_context(base_url=site.base_url)
    page = context.new_page()
    sign_in(page, "everything@example.com", made["password"])
    page.goto("/accounts/reauthenticate/?next=/dashboard")
    page.get_by_label("Password", exact=True).fill(made["password"])
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/dashboard")
    state = context.storage_state()
    context.close()
    arguments = json.loads(site.manage("shell", "-v", "0", "-c", FILL).splitlines()[-1])
    newest = emails(site.folder / "mail")
    yield Everybody(state, arguments, newest[0].id if newest else "none")
    # They were only to be looked at: the ledger has no transfers of them.
    site.sql("DELETE FROM billing_refund WHERE stripe_id IS NULL")


@pytest.fixture
def visited(browser: Browser, site: Stack) -> Callable[..., list[str]]:
    """Visit pages in one context, wide and as wide as a phone, in light and dark in CI, elsewhere
    each in either by chance; return what is wrong.
    """

    def visit(paths: list[str], state: Any = None) -> list[str]:
        context = browser.new_context(
            base_url=site.base_url,
            viewport=WIDE,  # type: ignore[arg-type]
            storage_state=state,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.add_init_script(AXE)  # sent and compiled once, not for each page
        watch = Watch(site.base_url)
        watch.over(page)
        faults = [fault for path in paths for fault in _faults_of(page, path)]
        context.close()
        return faults + watch.faults

    return visit


# Texts that stick out of what they stand in: an element that neither wraps nor scrolls nor cuts.
STICKING_OUT = """() => [...document.querySelectorAll(
  "button, .button, .badge, summary, label, th, td, dt, dd, h1, h2, h3, nav a, .tabs *")]
  .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).overflowX === "visible" && getComputedStyle(e).display !== "inline"
    && !e.closest(".scroll, pre, .visually-hidden, [hidden]")
    && !e.querySelector(".visually-hidden, .scroll, pre, input, select, svg, canvas, details"))
  .map(e => `${e.tagName.toLowerCase()} ${e.textContent.trim().slice(0, 60)}`)"""


@pytest.mark.parametrize("language", one_of("languages of pages", "zh-Hans", "ru", "cs"))
def test_every_page_fits_in_every_language(
    browser: Browser, site: Stack, everybody: Everybody, language: str
) -> None:
    faults = []
    for paths, state in ((everybody.signed_in, everybody.state), (everybody.signed_out, None)):
        context = browser.new_context(
            base_url=site.base_url, storage_state=state, locale=language, reduced_motion="reduce"
        )
        page = context.new_page()
        watch = Watch(site.base_url)
        watch.over(page)
        for path in half_of(f"pages in {language}", paths):
            faults += _misfits_of(page, path, language)
        context.close()
        faults += watch.faults
    assert faults == []


def _misfits_of(page: Page, path: str, language: str) -> Iterator[str]:
    """Yield what of a page does not fit on a phone or a wide window, or is in another language."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(path)
    if page.get_attribute("html", "lang") != language.lower() and not path.startswith("/d"):
        yield f"{path} is in {page.get_attribute('html', 'lang')}"
    yield from (f"{path} on a phone: {each}" for each in page.evaluate(STICKING_OUT))
    for size in (PHONE, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        deadline = time.monotonic() + FOLLOWS_SECONDS
        while overflow_of(page) > 0 and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        if overflow_of(page) > 0:
            yield f"{path}: {overflow_of(page)} px too wide at {size['width']} px"


def _faults_of(page: Page, path: str) -> Iterator[str]:
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    answer = page.goto(path)
    if answer is None or answer.status not in {200, 404} or path not in page.url:
        yield f"{path}: {answer.status if answer else ''} at {page.url}"
    if (overflow := overflow_of(page)) > 0:
        yield f"{path}: {overflow} px too wide"
    yield from (f"{path}, {fault}" for fault in faults_by_scheme(page))
    # The same elements in the same colours, in other places. Charts follow a moment later.
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    deadline = time.monotonic() + FOLLOWS_SECONDS
    while overflow_of(page) > 0 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    if overflow_of(page) > 0:
        yield f"{path}: {overflow_of(page)} px too wide on a phone"


def test_every_page_of_a_member_is_accessible_and_fits(
    everybody: Everybody, visited: Callable[..., list[str]]
) -> None:
    paths = half_of("pages of a member", everybody.signed_in)
    assert visited(paths, everybody.state) == []


def test_every_page_of_a_stranger_is_accessible_and_fits(
    everybody: Everybody, visited: Callable[..., list[str]]
) -> None:
    assert visited(half_of("pages of a stranger", everybody.signed_out)) == []

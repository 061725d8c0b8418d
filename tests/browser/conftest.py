"""A real browser on the whole service. Every page is watched: nothing from another host, no error
in its console.

The tests need Debian's chromium and are skipped without it. Its package without a window,
chromium-headless-shell, takes less than half of the processor's time.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.watch import Watch
from tests.stack import Stack, running

WIDE = {"width": 1280, "height": 900}
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # No page lives long enough to earn back what optimizing its scripts costs (measured: a fifth).
    "--js-flags=--no-opt --no-maglev",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the folder's tests where there is no browser, and say so."""
    if CHROMIUM is None:
        skip = pytest.mark.skip(
            reason="no chromium to look at pages with: apt-get install chromium-headless-shell"
        )
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service, with Celery, and the demo customer of `site.demo`."""
    with running(tmp_path_factory.mktemp("site")) as stack:
        stack.start_worker()
        yield stack


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser for the folder: while Playwright runs, Django takes its thread for an event loop's,
    so it ends before other folders' tests.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Pages:
    """Pages for one test after the other, each in a context of its own.

    A new one costs half a second of the processor's time. What a test leaves on a page is cleared;
    only the cache of files stays.
    """

    def __init__(self, browser: Browser, base_url: str) -> None:
        self._browser = browser
        self._base_url = base_url
        self._free: list[Page] = []

    def take(
        self,
        *,
        viewport: Any = None,
        color_scheme: Any = "light",
        permissions: tuple[str, ...] = (),
        cookies: Any = (),
    ) -> Page:
        """Return a page for the test alone, on which nobody has been."""
        page = self._free.pop() if self._free else self._new()
        page.set_viewport_size(viewport or WIDE)
        page.emulate_media(color_scheme=color_scheme, reduced_motion="no-preference")
        page.context.grant_permissions(list(permissions))
        page.context.add_cookies(list(cookies))
        return page

    def give_back(self, page: Page) -> None:
        """Clear what the test has left, and keep the page for the next one."""
        for other in page.context.pages:
            if other is not page:
                other.close()
        page.unroute_all()
        page.goto("/robots.txt")  # no script that stores anything on its way out comes after this
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.context.clear_cookies()
        page.context.clear_permissions()
        self._free.append(page)

    def _new(self) -> Page:
        return self._browser.new_context(base_url=self._base_url).new_page()


@pytest.fixture(scope="package")
def pages(browser: Browser, site: Stack) -> Pages:
    """The folder's pages."""
    return Pages(browser, site.base_url)


@pytest.fixture
def new_page(browser: Browser, pages: Pages, site: Stack) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a context of its own; all are watched.

    Options other than those of `Pages.take` are a new context's, as are then viewport and the like.
    """
    taken: list[Page] = []
    contexts: list[BrowserContext] = []
    watch = Watch(site.base_url, goes_to=site.stripe.url)

    def open_page(*, cookies: Any = (), **options: Any) -> Page:
        if options.keys() <= {"viewport", "color_scheme", "permissions"}:
            page = pages.take(cookies=cookies, **options)
            taken.append(page)
        else:
            context = browser.new_context(base_url=site.base_url, **options)
            context.add_cookies(list(cookies))
            contexts.append(context)
            page = context.new_page()
        watch.over(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    for page in taken:
        watch.leave(page)
        pages.give_back(page)
    assert watch.faults == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A signed-out page, wide and light."""
    return new_page(viewport=WIDE)


@pytest.fixture(scope="package")
def session_cookies(site: Stack) -> list[dict[str, str]]:
    """What a browser keeps when the demo customer has signed in."""
    return cookies_of(site, **site.demo["customer"])


@pytest.fixture
def new_customer_page(
    new_page: Callable[..., Page], site: Stack, session_cookies: list[dict[str, str]]
) -> Callable[..., Page]:
    """Open pages on which the demo customer is signed in, each in a session of its own."""

    def open_page(**options: object) -> Page:
        own = secrets.token_hex(16)
        cookies = []
        for cookie in session_cookies:
            if cookie["name"] == "sessionid":
                site.sql(
                    "INSERT INTO django_session SELECT %s, session_data, expire_date"
                    " FROM django_session WHERE session_key = %s",
                    own,
                    cookie["value"],
                )
                cookies.append({**cookie, "value": own})
            else:
                cookies.append(cookie)
        return new_page(**options, cookies=cookies)

    return open_page


@pytest.fixture
def customer_page(new_customer_page: Callable[..., Page]) -> Page:
    """A wide and light page on which the demo customer is signed in."""
    return new_customer_page(viewport=WIDE)


def cookies_of(site: Stack, email: str, password: str) -> list[dict[str, str]]:
    """Sign in as a browser would and return the cookies, for where the form is not the point."""
    with httpx.Client(base_url=site.base_url, timeout=30) as http:
        http.get("/accounts/login/")
        form = {"login": email, "password": password}
        form["csrfmiddlewaretoken"] = http.cookies["csrftoken"]
        answer = http.post("/accounts/login/", data=form)
        assert answer.status_code == 302, answer.text
        return [
            {"name": cookie.name, "value": cookie.value or "", "url": site.base_url}
            for cookie in http.cookies.jar
        ]


def sign_in(page: Page, email: str, password: str) -> None:
    """Sign in by the form."""
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill(email)
    page.locator("input[name=password]").fill(password)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url("**/dashboard")

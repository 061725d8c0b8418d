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

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.watch import Watch
from tests.stack import Stack, running

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


@pytest.fixture
def new_page(browser: Browser, site: Stack) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a context of its own (options are the context's); all are watched."""
    contexts: list[BrowserContext] = []
    watch = Watch(site.base_url, goes_to=site.stripe.url)

    def open_page(**options: object) -> Page:
        context = browser.new_context(base_url=site.base_url, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        watch.over(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watch.faults == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A signed-out page, wide and light."""
    return new_page(viewport={"width": 1280, "height": 900})


@pytest.fixture(scope="package")
def signed_in(browser: Browser, site: Stack) -> Any:
    """What a browser keeps when the demo customer has signed in."""
    context = browser.new_context(base_url=site.base_url)
    sign_in(context.new_page(), **site.demo["customer"])
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def new_customer_page(
    new_page: Callable[..., Page], site: Stack, signed_in: Any
) -> Callable[..., Page]:
    """Open pages on which the demo customer is signed in, each in a session of its own."""

    def open_page(**options: object) -> Page:
        own = secrets.token_hex(16)
        cookies = []
        for cookie in signed_in["cookies"]:
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
        return new_page(**options, storage_state={**signed_in, "cookies": cookies})

    return open_page


@pytest.fixture
def customer_page(new_customer_page: Callable[..., Page]) -> Page:
    """A wide and light page on which the demo customer is signed in."""
    return new_customer_page(viewport={"width": 1280, "height": 900})


def sign_in(page: Page, email: str, password: str) -> None:
    """Sign in by the form."""
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill(email)
    page.locator("input[name=password]").fill(password)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url("**/dashboard")

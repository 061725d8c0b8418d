"""From a call to its charge: it appears by itself, explains itself, and the statement adds up."""

import re
from collections.abc import Callable

from openai import OpenAI
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import sign_in
from tests.browser.watch import accessibility_faults
from tests.stack import Stack


def call(site: Stack, content: str = "Hello!") -> None:
    """Make a call as a customer's program does."""
    client = OpenAI(base_url=f"{site.base_url}/v1", api_key=site.demo["api_key"], max_retries=0)
    stream = client.chat.completions.create(
        model="glm-5.2",
        messages=[{"role": "user", "content": content}],
        user="browser <b>test</b>",
        stream=True,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_call_appears_explains_itself_and_adds_up(customer_page: Page, site: Stack) -> None:
    page = customer_page
    call(site, "First")
    page.goto("/dashboard")
    rows = page.get_by_role("region", name="Recent requests").locator("tbody tr")
    expect(rows).not_to_have_count(0)
    newest = rows.first.get_by_role("link")
    before = newest.get_attribute("href")
    page.evaluate("window.wasNotLoadedAgain = true")
    page.get_by_text("View as table").click()

    call(site, "Second")

    expect(newest).not_to_have_attribute("href", before or "", timeout=15_000)
    assert page.evaluate("window.wasNotLoadedAgain")
    expect(page.get_by_role("region", name="Spend by day")).to_be_visible()
    expect(page.locator("[data-chart] rect[data-series]")).not_to_have_count(0)

    newest.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("glm-5.2")
    expect(page.get_by_text("Verified: each line below was recomputed")).to_be_visible()
    balance = re.search(r"Balance after it: (\$\d+\.\d{9})", page.inner_text(".trail"))
    assert balance is not None

    page.get_by_role("link", name="View in statement").click()
    expect(page.get_by_text("Verified: all transfers")).to_be_visible()
    closing = page.locator(".stat", has_text="Closing balance").locator(".stat-note")
    expect(closing).to_have_text(balance[1])

    page.get_by_label("Show", exact=True).select_option("All transfers")
    page.get_by_role("button", name="Show").click()
    last = page.get_by_role("region", name="Transfers").locator("tbody tr").last
    expect(last).to_contain_text("Usage glm-5.2")
    expect(last).to_contain_text(balance[1])


def test_the_usage_page_filters_and_its_csv_has_what_it_shows(
    customer_page: Page, site: Stack
) -> None:
    page = customer_page
    call(site)
    page.goto("/usage")
    page.get_by_role("textbox", name="User tag").fill("browser <b>test</b>")
    page.get_by_label("Time", exact=True).select_option("Today")
    page.get_by_role("button", name="Show").click()
    rows = page.get_by_role("region", name="Requests", exact=True).locator("tbody tr")
    expect(rows.first).to_contain_text("browser <b>test</b>")
    shown = rows.count()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text()
    assert len(text.splitlines()) == shown + 1


AGE = """
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
session = SessionStore({key!r})
for record in session[AUTHENTICATION_METHODS_SESSION_KEY]:
    record["at"] -= 1_000_000
session.save()
"""


def test_an_old_session_confirms_and_then_gets_the_csv(customer_page: Page, site: Stack) -> None:
    page = customer_page
    call(site)
    (key,) = [each["value"] for each in page.context.cookies() if each.get("name") == "sessionid"]
    site.manage("shell", "-v", "0", "-c", AGE.format(key=key))
    page.goto("/usage?period=today")
    page.get_by_role("link", name="Download CSV").click()
    page.get_by_label("Password", exact=True).fill(site.demo["customer"]["password"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Continue").click()
    assert download.value.path().read_text().startswith("time_utc,")
    expect(page.get_by_role("heading", level=1)).to_have_text("Usage")
    expect(page.get_by_text("Your download is starting.")).to_be_visible()
    assert accessibility_faults(page) == []


def test_the_keyboard_alone_reaches_a_charge(customer_page: Page, site: Stack) -> None:
    page = customer_page
    call(site)
    page.goto("/dashboard")
    link = page.get_by_role("region", name="Recent requests").get_by_role("link").first
    for _ in range(40):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Request to")


def test_first_steps_give_way_to_the_first_call(new_page: Callable[..., Page], site: Stack) -> None:
    key = site.customer("first-steps@example.com")
    page = new_page(viewport={"width": 1280, "height": 900})
    password = "a password of the test's own"
    site.manage(
        "shell",
        "-c",
        "from accounts.models import User;"
        "u = User.objects.get(email='first-steps@example.com');"
        f'u.set_password("{password}"); u.save()',
    )
    sign_in(page, "first-steps@example.com", password)
    expect(page.get_by_text("Make your first request in three steps")).to_be_visible()
    assert accessibility_faults(page) == []
    page.get_by_role("tab", name="curl").click()
    expect(page.locator("#first-curl")).to_contain_text("/v1/chat/completions")

    with site.client(key) as http:
        body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "Hi"}]}
        assert http.post("/chat/completions", json=body).status_code == 200

    expect(page.get_by_text("Make your first request in three steps")).to_have_count(
        0, timeout=15_000
    )
    expect(page.get_by_role("region", name="Recent requests")).to_be_visible()


def test_a_chart_hides_a_series_and_narrows_to_it(customer_page: Page, site: Stack) -> None:
    page = customer_page
    call(site)
    page.goto("/usage?group=tag")
    series = page.get_by_role("button", name="browser <b>test</b>", exact=True)
    at = series.get_attribute("data-series")
    drawn = page.locator(f"[data-chart] rect[data-series='{at}']")
    expect(drawn).not_to_have_count(0)
    drawn.first.hover(force=True)  # what lies over the bars shows their figures
    expect(page.locator(".chart-tip")).to_contain_text("browser <b>test</b>")
    series.press("Enter")
    expect(series).to_have_attribute("aria-pressed", "false")
    expect(drawn).to_have_count(0)
    assert accessibility_faults(page) == []

    page.get_by_role("link", name="Only browser <b>test</b>").click()
    expect(page.get_by_role("textbox", name="User tag")).to_have_value("browser <b>test</b>")
    page.get_by_label("Group by").select_option("Status")  # asks by itself
    expect(page.get_by_role("button", name="Completed", exact=True)).to_be_visible()


def test_everything_is_found_by_keyboard_alone(customer_page: Page, site: Stack) -> None:
    page = customer_page
    call(site)
    page.goto("/usage")
    newest = page.get_by_role("region", name="Requests", exact=True).get_by_role("link").first
    href = newest.get_attribute("href") or ""
    page.keyboard.press("Control+k")
    field = page.get_by_role("searchbox", name="Search pages, keys, models, requests and docs")
    expect(field).to_be_focused()
    page.keyboard.type(href.rpartition("/")[2])
    results = page.get_by_role("dialog", name="Search").get_by_role("link")
    expect(results).to_have_count(1)
    assert accessibility_faults(page) == []
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{href}")

    page.keyboard.press("Control+k")
    page.keyboard.type("Retry-After")
    expect(results.first).to_contain_text(re.compile("Rate limits|Errors"))
    page.keyboard.press("ArrowDown")
    expect(results.first).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()


def test_a_charts_labels_have_room_in_a_font_that_comes_late(
    customer_page: Page, site: Stack
) -> None:
    page = customer_page
    call(site)
    held: list[Route] = []
    is_drawn = False

    def hold(route: Route) -> None:
        if is_drawn:
            route.continue_()
        else:
            held.append(route)

    page.route("**/fonts/inter*.woff2", hold)
    page.goto("/usage", wait_until="commit")
    labels = page.locator("[data-chart] .chart-label")
    expect(labels).not_to_have_count(0)
    labels.first.evaluate("label => (label.ownerSVGElement.dataset.isEarly = true)")
    is_drawn = True
    for route in held:
        route.continue_()
    expect(page.locator("[data-chart] svg[data-is-early]")).to_have_count(0)
    assert labels.evaluate_all("all => Math.min(...all.map(each => each.getBBox().x))") >= 0


def test_columns_are_hidden_and_stay_hidden(customer_page: Page, site: Stack) -> None:
    call(site)
    page = customer_page
    page.goto("/usage?period=today")
    heading = page.get_by_role("columnheader", name="Cached", exact=True)
    expect(heading).to_be_visible()
    page.get_by_text("Columns", exact=True).click()
    with page.expect_response("**/usage/columns"):
        page.get_by_label("Cached tokens").uncheck()
    expect(heading).to_be_hidden()
    page.reload()
    expect(heading).to_be_hidden()
    expect(page.get_by_role("columnheader", name="Latency")).to_be_visible()
    page.get_by_text("Columns", exact=True).click()
    assert accessibility_faults(page) == []
    with page.expect_response("**/usage/columns"):
        page.get_by_label("Cached tokens").check()
    expect(heading).to_be_visible()


def test_a_filter_is_saved_opened_and_deleted(customer_page: Page) -> None:
    page = customer_page
    page.goto("/usage?period=7d&status=error&end_user=")
    page.get_by_text("Saved filters").click()
    page.get_by_label("Save this filter as").fill("Errors <b>")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto("/usage")
    page.get_by_text("Saved filters").click()
    assert accessibility_faults(page) == []
    page.get_by_role("link", name="Errors <b>").click()
    page.wait_for_url("**/usage?period=7d&status=error")
    expect(page.get_by_label("Status", exact=True)).to_have_value("error")
    page.get_by_text("Saved filters").click()
    page.get_by_role("button", name="Delete Errors <b>").click()
    expect(page.get_by_role("link", name="Errors <b>")).to_have_count(0)


def test_a_phone_shows_figures_first_and_filters_on_demand(
    new_customer_page: Callable[..., Page],
) -> None:
    page = new_customer_page(viewport={"width": 390, "height": 844})
    page.goto("/usage")
    expect(page.get_by_placeholder("Any")).to_be_hidden()
    expect(page.get_by_text("Output tokens").first).to_be_in_viewport()
    page.get_by_text("Filters", exact=True).click()
    page.get_by_placeholder("Any").fill("nobody")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**end_user=nobody*")
    expect(page.get_by_text("Filters (1)")).to_be_visible()

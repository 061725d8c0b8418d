"""Staff's day: from a request id to its charge and its customer, a grant, the customer's view."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.clicks import DOCUMENTED, Clicks
from tests.browser.conftest import WIDE, cookies_of
from tests.browser.watch import faults_by_scheme
from tests.stack import Stack
from tests.support.waiting import eventually

PHONE = {"width": 390, "height": 844}
LARGE = {"width": 1440, "height": 900}
APPOINT = """
from django.contrib.auth.models import Group
from accounts.models import User
user = User.objects.create_user("{email}", "{password}", is_staff=True, name="{role}")
from allauth.account.models import EmailAddress
EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
user.groups.set([Group.objects.get(name="{role}")])
"""
SOURCE = """
INSERT INTO api_usagesource (upstream_id, kind, base_url, encrypted_key)
SELECT id, 'openai', base_url, 'sk-plaintext' FROM api_upstream ORDER BY id LIMIT 1 RETURNING id"""
REPORTED = """
INSERT INTO api_reportedusage (
    source_id, day, model, requests, input_tokens, output_tokens, cost_nanos)"""
PASSWORD = "correct horse battery"


@pytest.fixture
def page_of_role(new_page: Callable[..., Page], site: Stack) -> Callable[[str], Page]:
    """Open pages of a member of staff with a role."""

    def open_page(role: str) -> Page:
        email = f"{role.lower()}-{len(site.folder.name)}@example.com"
        made = APPOINT.format(email=email, password=PASSWORD, role=role)
        known = site.sql("SELECT 1 FROM accounts_user WHERE email = %s", email)
        if not known:
            site.manage("shell", "-v", "0", "-c", made)
        return new_page(viewport=LARGE, cookies=cookies_of(site, email, PASSWORD))

    return open_page


@pytest.fixture
def request_id(site: Stack) -> str:
    """The id of a request of the demo customer's."""
    client = OpenAI(base_url=f"{site.base_url}/v1", api_key=site.demo["api_key"], max_retries=0)
    client.chat.completions.create(
        model="glm-5.2", messages=[{"role": "user", "content": "Hello!"}], user="console-user"
    )
    query = "SELECT request_id FROM billing_usagerecord WHERE end_user = 'console-user' LIMIT 1"
    eventually(lambda: site.sql(query))
    return str(site.sql(query)[0][0])


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the page, wide and on a phone, light and dark."""
    found = faults_by_scheme(page)
    for viewport in (PHONE, LARGE):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        page.wait_for_timeout(200)
        width: Any = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        found += [f"{width} px too wide at {viewport}"] if width > 0 else []
    return found


def search(page: Page, text: str) -> None:
    box = page.get_by_role("searchbox", name="Search customers and requests")
    box.fill(text)
    box.press("Enter")


def test_from_a_request_id_to_its_charge_its_customer_and_a_grant(
    page_of_role: Callable[[str], Page], request_id: str
) -> None:
    page = page_of_role("Finance")
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert faults_of(page) == []

    clicks = Clicks(page)
    search(page, request_id)
    clicks.count += 1  # Enter, or the magnifier
    expect(page.get_by_role("heading", name="Request to glm-5.2").first).to_be_visible()
    expect(page.get_by_text("How the charge").or_(page.get_by_text("Verified"))).to_be_visible()
    expect(page.get_by_role("heading", name="Staff only")).to_be_visible()
    assert faults_of(page) == []
    clicks.done("explain a charge by its request id")

    clicks.count = 1  # the search
    clicks.click(page.locator(".console-facts a"))
    expect(page.get_by_role("heading", name="Balance by lot")).to_be_visible()
    assert faults_of(page) == []
    clicks.done("find a customer by a request id")

    clicks.press("link", "Grant credits")
    page.get_by_label(re.compile("Amount")).fill("5")
    page.get_by_label(re.compile("Reason")).fill("Ticket 17")
    assert faults_of(page) == []
    clicks.press("button", "Grant credits")
    expect(page.get_by_text("Credits granted.")).to_be_visible()
    clicks.done("grant $5 on the customer's page")
    expect(page.get_by_role("region", name="Posted by staff").first).to_contain_text("$5.00")
    expect(page.get_by_role("link", name="Freeze team")).to_have_count(0)


def test_support_views_the_portal_as_the_customer_and_changes_nothing(
    page_of_role: Callable[[str], Page], site: Stack
) -> None:
    page = page_of_role("Support")
    page.goto("/admin/")
    search(page, site.demo["customer"]["email"])
    expect(page.get_by_role("link", name="Grant credits")).to_have_count(0)
    clicks = Clicks(page)
    clicks.press("link", "View as customer")
    page.get_by_label(re.compile("Reason")).fill("Ticket 18")
    clicks.press("button", "View as customer")
    page.wait_for_url("**/dashboard")
    clicks.done("see the portal as the customer does")
    banner = page.get_by_role("status").filter(has_text="as the customer sees it")
    expect(banner).to_be_visible()
    assert faults_of(page) == []
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.get_by_role("button", name="Back to the console").click()
    expect(page.get_by_role("region", name="Audit log").first).to_contain_text("Ticket 18")


def test_an_auditor_finds_no_action(page_of_role: Callable[[str], Page], site: Stack) -> None:
    page = page_of_role("Auditor")
    page.goto("/admin/search?q=no-such-thing-anywhere")
    expect(page.get_by_text("Nothing found for")).to_be_visible()
    assert faults_of(page) == []
    search(page, site.demo["customer"]["email"])
    expect(page.get_by_role("heading", name="Balance by lot")).to_be_visible()
    expect(page.get_by_role("navigation", name="Actions")).to_have_count(0)


def test_finance_compares_an_upstreams_export(
    page_of_role: Callable[[str], Page], site: Stack
) -> None:
    page = page_of_role("Finance")
    page.goto("/admin/reconciliation")
    assert faults_of(page) == []
    content = b"request_id,created_at,input_tokens,output_tokens,cost\nr,2026-03-15,5,x,0.1\n"
    file = {"name": "usage.csv", "mimeType": "text/csv", "buffer": content}
    page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="First lines")).to_be_visible()
    assert faults_of(page) == []
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("The file is being read.")).to_be_visible()
    site.sql("UPDATE billing_upstreamstatement SET state = 'failed', error = 'Line 2: no.'")
    page.reload()
    page.get_by_role("button", name="Discard", exact=True).click()
    expect(page.get_by_text("The statement was discarded.")).to_be_visible()


def test_finance_compares_what_an_upstreams_api_reports(
    page_of_role: Callable[[str], Page], site: Stack
) -> None:
    ((source,),) = site.sql(SOURCE)
    page = page_of_role("Finance")
    page.goto("/admin/reconciliation")
    assert faults_of(page) == []
    page.locator(f"a[href='/admin/reconciliation/usage/{source}']").click()
    page.get_by_role("button", name="Read now", exact=True).click()
    expect(page.get_by_text("The usage is being read.")).to_be_visible()
    is_read = "SELECT 1 FROM api_usagesource WHERE read_at IS NOT NULL"
    eventually(lambda: site.sql(is_read), seconds=90)
    # The simulator's calls are of today, which isn't complete.
    site.sql(f"{REPORTED} VALUES ({source}, current_date - 1, 'sim', 3, 40, 50, 60000000)")
    page.reload()
    expect(page.get_by_role("heading", name="By model")).to_be_visible()
    assert faults_of(page) == []
    page.get_by_role("link", name="sim", exact=True).click()
    expect(page.get_by_role("region", name="Drift by day")).to_contain_text("$0.06")


def test_the_runbook_lists_the_tasks_that_are_counted_here() -> None:
    assert set(DOCUMENTED) == {
        "add an upstream and test it",
        "import its models",
        "set a model's price and publish it",
        "explain a charge by its request id",
        "find a customer by a request id",
        "grant $5 on the customer's page",
        "see the portal as the customer does",
    }

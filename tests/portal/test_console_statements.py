"""The console's pages of upstreams' statements, as each role uses them."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from api.models import Upstream
from billing.ledger import invariants
from billing.models import StatementLine, Transfer, UpstreamStatement, UsageCorrection
from billing.reconciliation import statements
from tests.billing.ledger_calls import Customer, make_customer
from tests.billing.statement_helpers import COLUMNS, HEADER, compared, line_of, serve, upload
from tests.cast import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

INDEX = "/admin/reconciliation"


@pytest.fixture
def books_are_right() -> Any:
    """Prove the invariants after the test."""
    yield
    assert {each.invariant.name: each.examples for each in invariants.check() if each.count} == {}


@pytest.fixture
def payer() -> Customer:
    """A customer with $10."""
    return make_customer(10 * 10**9)


def of_role(role: str) -> tuple[Client, User]:
    user = User.objects.create_user(f"{role.lower()}@example.com", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return signed_in(user), user


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return re.sub(r"\s+", " ", answer.content.decode())


def file_of(*lines: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("usage.csv", "\n".join([HEADER, *lines]).encode())


def test_an_export_is_imported_compared_and_corrected(payer: Customer) -> None:
    """By one person in finance, from the upload to the customer's transfer."""
    browser, _ = of_role("Finance")
    Upstream.objects.create(name="maker", base_url="http://127.0.0.1:9/v1")
    record = serve(payer, "up-1")
    assert "No exports imported yet." in text_of(browser.get(INDEX))
    sent = {"upstream": "maker", "file": file_of(line_of("up-1", 900, 40), line_of("up-2"))}
    answer = browser.post(INDEX, sent)
    statement = UpstreamStatement.objects.get()
    page_url = reverse("console:statement", args=[statement.pk])
    assert answer.url == page_url

    page = text_of(browser.get(page_url))
    assert "First lines" in page
    assert "<bdi>cached_tokens</bdi>" in page
    assert '<option value="output_tokens" selected>' in page
    answer = browser.post(f"{page_url}/columns", {**COLUMNS, "cost_unit": "dollar"})
    assert answer.url == page_url
    assert "Being read" in text_of(browser.get(page_url))
    assert statements.process_statements() == 1

    page = text_of(browser.get(page_url))
    assert "1 estimated request</a> would be corrected" in page
    assert "$0.0008 back to customers" in page
    found = re.search(r'name="compared_at" value="([^"]+)"', page)
    assert found is not None
    form = {"compared_at": unescape(found[1]), "reason": "As billed"}
    assert browser.post(f"{page_url}/confirm", {**form, "reason": ""}).status_code == 200
    assert not Transfer.objects.filter(kind="adjustment").exists()
    assert browser.post(f"{page_url}/confirm", form).url == page_url
    assert statements.process_statements() == 1

    assert Transfer.objects.get(kind="adjustment").reference == f"correction:{record.pk}"
    page = text_of(browser.get(page_url))
    assert "1 corrected</a>, confirmed" in page
    assert "As billed" in page
    assert "Nothing to correct." in page
    beside = text_of(browser.get(reverse("console:request", args=[record.pk])))
    assert "Correction" in beside
    assert page_url in beside


def test_lines_are_filtered_paged_and_downloaded(payer: Customer) -> None:
    browser, user = of_role("Auditor")
    record = serve(payer, "=up-1")
    many = [line_of(f"r{number}", model="=evil") for number in range(60)]
    statement = compared(user, [line_of("=up-1", 900, 40), *many])
    url = reverse("console:statement_lines", args=[statement.pk])
    page = text_of(browser.get(url))
    assert page.count('<th scope="row"') == 50
    following = re.search(r'href="(\?[^"]*after=\d+)"', page)
    assert following is not None
    assert text_of(browser.get(url + unescape(following[1]))).count('<th scope="row"') == 11
    page = text_of(browser.get(f"{url}?state=different"))
    assert reverse("console:request", args=[record.pk]) in page
    assert page.count('<th scope="row"') == 1
    assert "No such lines." in text_of(browser.get(f"{url}?day=2020-01-01&state=odd&after=x"))
    assert text_of(browser.get(f"{url}?model=%3Devil&state=missing_here")).count("line ") >= 50
    answer = browser.get(f"{url}?state=different&csv")
    content = b"".join(answer).decode()
    assert "'=up-1,2," in content
    assert len(content.splitlines()) == 2


def test_every_upstream_day_and_model_has_its_drift(payer: Customer) -> None:
    browser, user = of_role("Auditor")
    serve(payer, "up-1", source="upstream")
    statement = compared(user, [line_of("up-1", cost="0.003"), line_of("", cost="0.5")])
    page = text_of(browser.get(reverse("console:statement", args=[statement.pk])))
    assert '<h2 id="days-title">By day, UTC</h2>' in page
    assert '?model=maker-small"' in page
    assert page.count('<td class="number">$0.002</td>') == 2
    assert "<dd>1, $0.50</dd>" in page
    page = text_of(browser.get(INDEX))
    assert "Drift by upstream" in page
    assert page.count('<td class="number">$0.002</td>') == 1


def test_a_file_that_cannot_be_read_says_why(payer: Customer) -> None:
    browser, user = of_role("Operator")
    Upstream.objects.create(name="maker", base_url="http://127.0.0.1:9/v1")
    empty = SimpleUploadedFile("usage.csv", b"\n")
    page = text_of(browser.post(INDEX, {"upstream": "maker", "file": empty}))
    assert "Line 1: the header is empty." in page
    statement = upload(user, [line_of("<b>", 1).replace(",1,", ",<i>lots</i>,")])
    page_url = reverse("console:statement", args=[statement.pk])
    bad = {**COLUMNS, "cost_unit": "other", "time": ""}
    page = text_of(browser.post(f"{page_url}/columns", bad))
    assert "Enter how many dollars one unit is." in page
    assert "This field is required." in page
    browser.post(f"{page_url}/columns", {**COLUMNS, "cost_unit": "other", "unit_nanos": "1.16"})
    statements.process_statements()
    statement.refresh_from_db()
    assert (statement.state, statement.unit_nanos) == ("failed", 1_160_000_000)
    page = text_of(browser.get(page_url))
    assert "Line 2: “&lt;i&gt;lots&lt;/i&gt;” is not a number of input tokens." in page
    assert browser.post(f"{page_url}/discard").url == INDEX
    assert not UpstreamStatement.objects.exists()


@pytest.mark.parametrize(
    ("role", "may_import", "may_correct"),
    [
        ("Support", False, False),
        ("Finance", True, True),
        ("Operator", True, False),
        ("Auditor", False, False),
        ("Owner", True, True),
    ],
)
def test_what_each_role_may_do(
    payer: Customer, role: str, may_import: bool, may_correct: bool
) -> None:
    browser, user = of_role(role)
    serve(payer, "up-1")
    statement = compared(user, [line_of("up-1", 900, 40)])
    page_url = reverse("console:statement", args=[statement.pk])
    page = text_of(browser.get(page_url))
    assert ("Compare again" in page) == may_import
    assert ("Kept with the statement and in the staff log." in page) == may_correct
    assert ("Import a usage export" in text_of(browser.get(INDEX))) == may_import
    form = {"compared_at": "2026-01-01T00:00:00Z", "reason": "x"}
    allowed = {"compare": may_import, "columns": may_import, "confirm": may_correct}
    for name, is_allowed in allowed.items():
        answer = browser.post(f"{page_url}/{name}", form)
        assert (answer.status_code == 403) != is_allowed, name
        assert browser.get(f"{page_url}/{name}").status_code == 405
    assert (browser.post(INDEX, {}).status_code == 403) != may_import
    statements.process_statements()
    assert (browser.post(f"{page_url}/discard").status_code == 403) != may_import
    assert not UsageCorrection.objects.exists()
    assert StatementLine.objects.exists() != may_import


def test_what_is_refused_says_why_and_changes_nothing(payer: Customer) -> None:
    browser, user = of_role("Finance")
    statement = compared(user, [line_of("up-1")])
    page_url = reverse("console:statement", args=[statement.pk])
    form = {"compared_at": "2026-01-01T00:00:00Z", "reason": "x"}
    page = text_of(browser.post(f"{page_url}/confirm", form, follow=True))
    assert "The statement has changed meanwhile." in page
    page = text_of(browser.post(f"{page_url}/columns", {}, follow=True))
    assert "This file was read already." in page
    missing = page_url.replace(str(statement.pk), "00000000-0000-0000-0000-000000000000")
    assert browser.get(missing).status_code == 404
    assert Client().get(page_url).status_code == 302

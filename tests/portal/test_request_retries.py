"""The pages of requests that did not complete: their retries, and how their attempts ended."""

import csv
from typing import Any

import pytest
from django.test import Client

from billing.models import PriceVersion
from tests.billing.ledger_calls import Customer
from tests.portal.serving import price_version, request_page, serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def price() -> PriceVersion:
    """A price version without prices."""
    return price_version()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_request_that_broke_off_and_its_retry_link_to_each_other(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    same = {"price_version_id": price.pk, "body_digest": "d" * 32}
    broken = serve(customer, outcome="upstream_error", status=502, error="cut", **same)
    retry = serve(customer, input_tokens=9, source="upstream", **same)
    other = serve(customer, input_tokens=9, price_version_id=price.pk, body_digest="e" * 32)
    assert f"/usage/requests/{retry.pk}" in retried_part(browser, broken.pk, "Retried as")
    assert f"/usage/requests/{broken.pk}" in retried_part(browser, retry.pk, "Retry of")
    page = request_page(browser, other.pk)
    assert "Retry of" not in page
    assert "Retried as" not in page
    text = b"".join(browser.get("/usage.csv")).decode().removeprefix("\ufeff")
    rows = {row["request_id"]: row["retry_of"] for row in csv.DictReader(text.splitlines())}
    assert rows[str(retry.pk)] == str(broken.pk)


def retried_part(browser: Client, request_id: Any, label: str) -> str:
    """Return the part of a request's page with this label."""
    page = str(browser.get(f"/usage/requests/{request_id}").content.decode())
    assert label in page
    return page.partition(f"<dt>{label}</dt>")[2].partition("</dd>")[0]


def test_a_client_that_disconnected_is_told_so(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    attempts = [{"upstream": "one", "status": 0, "ms": 5, "error": "the client disconnected"}]
    record = serve(
        customer,
        price_version_id=price.pk,
        outcome="client_closed",
        status=499,
        attempts=attempts,
    )
    assert "You disconnected" in str(browser.get(f"/usage/requests/{record.pk}").content.decode())

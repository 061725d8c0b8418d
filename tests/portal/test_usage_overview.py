"""The usage page's chart by group and metric, and the comparison with the period before."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, User
from billing.ledger import postings
from billing.usage.records import roll_up
from tests.billing.ledger_calls import Customer
from tests.portal.serving import DOLLAR, serve

MORNING = "2026-03-15T10:00:00+00:00"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("at_noon")]


def context(browser: Client, **query: str) -> dict[str, Any]:
    answer = browser.get("/usage", query)
    assert answer.status_code == 200
    return answer.context


def legend(browser: Client, **query: str) -> dict[str, str]:
    """Return the series' names with their totals."""
    chart = context(browser, **query)["chart"]
    return {series.name: text for series, text in chart.legend}


@pytest.fixture
def served(customer: Customer) -> Customer:
    """A customer with five requests: two models, two tags, one failure."""
    serve(
        customer, at=MORNING, output_nanos=30_000_000, model="a", input_tokens=100, cached_tokens=25
    )
    serve(
        customer, at=MORNING, output_nanos=10_000_000, model="b", end_user="tess", input_tokens=50
    )
    serve(customer, at=MORNING, output_nanos=5_000_000, model="b", end_user="tess", latency_ms=3000)
    serve(customer, at=MORNING, model="b", outcome="upstream_error", status=502, latency_ms=1000)
    serve(
        customer, at=MORNING, model="b", outcome="client_closed", status=499, endpoint="embeddings"
    )
    return customer


@pytest.mark.parametrize("is_rolled_up", [False, True])
@pytest.mark.parametrize("group", ["model", "key", "member", "tag", "endpoint", "status"])
def test_every_group_divides_the_same_total(
    browser: Client, served: Customer, group: str, is_rolled_up: bool
) -> None:
    if is_rolled_up:
        roll_up(datetime(2026, 3, 1, tzinfo=UTC))
    shown = context(browser, group=group)
    series = shown["chart"].series
    assert sum(each.total_nanos for each in series) == shown["total"].charged_nanos == 45_000_000
    assert shown["total"].requests == 5


def test_groups_have_the_names_that_people_know(
    browser: Client, served: Customer, alice: User
) -> None:
    key = ApiKey.objects.get()
    assert legend(browser, group="model") == {"a": "$0.03", "b": "$0.01"}
    assert legend(browser, group="key") == {f"{key.name} …{key.last_four}": "$0.04"}
    assert list(legend(browser, group="tag")) == ["No tag", "tess"]
    assert set(legend(browser, group="status")) == {"Completed", "Failed", "Canceled"}
    assert "embeddings" in legend(browser, group="endpoint")
    ApiKey.objects.update(created_by=alice)
    assert list(legend(browser, group="member")) == [alice.name or alice.email]
    ApiKey.objects.update(created_by=None)
    assert list(legend(browser, group="member")) == ["Former members"]


def test_each_metric_has_its_unit(browser: Client, served: Customer) -> None:
    assert legend(browser, metric="requests") == {"b": "4", "a": "1"}
    assert legend(browser, metric="tokens")["a"] == "100"
    assert legend(browser, metric="cache") == {"b": "0.0%", "a": "25.0%"}
    assert legend(browser, metric="latency")["b"].endswith(" s")
    drawn = context(browser, metric="latency")["chart"].as_json()
    assert drawn["metric"] == "latency"
    assert drawn["series"][0]["values"][0] is None, "a day without requests has no latency"


def test_a_series_leads_to_the_page_narrowed_to_it(browser: Client, served: Customer) -> None:
    chart = context(browser, group="tag", period="7d", before="x")["chart"]
    urls = {series.name: series.url for series in chart.series}
    assert urls["No tag"] == "", "the filter can't ask for none"
    assert urls["tess"] == "/usage?group=tag&period=7d&end_user=tess"
    assert context(browser, end_user="tess")["total"].requests == 2


def test_totals_are_compared_with_the_period_before(browser: Client, customer: Customer) -> None:
    postings.grant(customer.account, DOLLAR, reference="more")
    serve(customer, at="2026-03-13T10:00:00+00:00", output_nanos=1000)
    page = browser.get("/usage?period=today").content.decode()
    assert "from the previous period" not in page, "compared with nothing"

    serve(customer, at="2026-03-14T10:00:00+00:00", output_nanos=1000)
    serve(customer, at="2026-03-15T10:00:00+00:00", output_nanos=1500)
    page = browser.get("/usage?period=today").content.decode()
    assert "+50% from the previous period" in page
    assert "±0% from the previous period" in page


@pytest.mark.parametrize("query", [{"group": "color"}, {"metric": "joy"}])
def test_an_unknown_choice_is_a_400(browser: Client, query: dict[str, str]) -> None:
    assert browser.get("/usage", query).status_code == 400

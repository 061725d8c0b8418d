"""The dashboard: exact sums of today and this month, what happens as it happens, first steps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from billing.models import CreditAccount
from billing.usage import records
from portal.ui.money import cents
from tests.billing.ledger_calls import Customer
from tests.cast import signed_in
from tests.portal.serving import DOLLAR, serve

pytestmark = pytest.mark.django_db


def overview(browser: Client) -> Any:
    return browser.get("/dashboard").context["overview"]


def test_a_new_team_is_shown_its_first_steps_with_a_call_to_copy(browser: Client) -> None:
    page = browser.get("/dashboard").content.decode()
    assert "Make your first request in three steps" in page
    assert "http://testserver/v1" in page
    for link in ("/settings/apikeys/new", "/docs/quick-start", "/playground", "/usage"):
        assert f'href="{link}"' in page
    assert "Recent requests" not in page


def test_a_team_without_an_account_has_nothing_to_spend(alice: User) -> None:
    page = signed_in(alice).get("/dashboard").content.decode()
    assert "$0.00" in page
    assert "in three steps" in page


def test_the_steps_are_gone_with_the_first_call(browser: Client, customer: Customer) -> None:
    serve(customer, output_nanos=700)
    page = browser.get("/dashboard").content.decode()
    assert "in three steps" not in page
    assert "Recent requests" in page


def test_the_balance_is_what_is_available_beside_what_is_reserved(
    browser: Client, customer: Customer
) -> None:
    customer.admitted(amount_nanos=2 * DOLLAR)
    page = browser.get("/dashboard").content.decode()
    assert "<dt>Balance</dt><dd data-balance>$3.00</dd>" in page
    assert "$2.00 reserved" in page
    assert "$5.00" not in page, "a second balance"


def test_open_pages_ask_for_the_balance(browser: Client, customer: Customer) -> None:
    assert browser.get("/dashboard/balance").json() == {"balance": "$5.00"}
    customer.admitted(amount_nanos=2 * DOLLAR)
    assert browser.get("/dashboard/balance").json() == {"balance": "$3.00"}
    page = browser.get("/settings").content.decode()
    assert 'data-balance-url="/dashboard/balance"' in page
    assert "<strong data-balance>$3.00</strong>" in page


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize("is_rolled_up", [False, True])
def test_today_and_this_month_begin_at_midnight_in_utc(
    browser: Client, customer: Customer, is_rolled_up: bool
) -> None:
    for at, cost in [
        ("2026-02-28T23:59:59.999999+00:00", 1),
        ("2026-03-01T00:00:00+00:00", 20),
        ("2026-03-14T23:59:59.999999+00:00", 300),
        ("2026-03-15T00:00:00+00:00", 4000),
        ("2026-03-15T13:30:00+02:00", 50_000),  # 11:30 in UTC
    ]:
        serve(customer, at=at, output_nanos=cost, hold_nanos=100_000)
    if is_rolled_up:
        records.roll_up(datetime.min.replace(tzinfo=UTC))
    shown = overview(browser)
    assert (shown.today.charged_nanos, shown.today.requests) == (54_000, 2)
    assert (shown.month.charged_nanos, shown.month.requests) == (54_320, 4)
    assert (shown.days.charged_nanos, shown.days.requests) == (54_321, 5)


@pytest.mark.usefixtures("at_noon")
def test_the_figures_are_exact_with_the_next_request_after_a_roll_up(
    browser: Client, customer: Customer
) -> None:
    serve(customer, at="2026-03-15T09:10:00+00:00", output_nanos=100)
    serve(customer, at="2026-03-15T12:10:00+00:00", output_nanos=100)
    records.roll_up(datetime.min.replace(tzinfo=UTC))
    serve(customer, at="2026-03-15T12:20:00+00:00", output_nanos=7)
    serve(customer, at="2026-03-15T11:59:59.999+00:00", output_nanos=5)
    assert overview(browser).today.charged_nanos == 212


@pytest.mark.usefixtures("at_noon")
def test_the_chart_has_thirty_days_and_a_series_for_each_model(
    browser: Client, customer: Customer
) -> None:
    serve(customer, at="2026-02-14T00:00:00+00:00", output_nanos=100, model="a")
    serve(customer, at="2026-03-15T01:00:00+00:00", output_nanos=300, model="b")
    serve(customer, at="2026-02-13T23:59:59+00:00", output_nanos=900, model="gone")
    shown = overview(browser)
    assert cents(shown.days.charged_nanos) == "<$0.01"
    assert [text for _, text in shown.chart.legend] == ["<$0.01", "<$0.01"], "as the total says"
    chart = shown.chart.as_json()
    assert (chart["labels"][0], chart["labels"][-1]) == ("2026-02-14", "2026-03-15")
    assert len(chart["labels"]) == 30
    assert [(each["name"], sum(each["values"])) for each in chart["series"]] == [
        ("b", 300),
        ("a", 100),
    ]


def test_many_models_share_the_last_series(browser: Client, customer: Customer) -> None:
    for number in range(1, 9):
        serve(customer, output_nanos=number * 100, model=f"model-{number}")
    chart = overview(browser).chart.as_json()
    assert [each["name"] for each in chart["series"]] == [
        "model-8",
        "model-7",
        "model-6",
        "model-5",
        "model-4",
        "Other (3)",
    ]
    assert sum(chart["series"][-1]["values"]) == 100 + 200 + 300
    assert overview(browser).chart.others == [
        ("model-3", "$0.0000003", ""),
        ("model-2", "$0.0000002", ""),
        ("model-1", "$0.0000001", ""),
    ]


def test_errors_and_latencies_are_of_the_requests_themselves(
    browser: Client, customer: Customer
) -> None:
    for latency, first in [(100, 10), (200, 30), (900, None)]:
        serve(customer, output_nanos=1, latency_ms=latency, first_token_ms=first)
    serve(customer, outcome="upstream_error", status=502, latency_ms=400)
    serve(customer, outcome="client_closed", status=499, latency_ms=400)
    shown = overview(browser)
    assert shown.days.error_share == 20
    assert shown.days.latency_ms == 400
    assert shown.days.first_token_ms == 20
    assert (shown.sample.latency_ms, shown.sample.first_token_ms) == (200, 20)


def test_the_live_part_answers_only_when_there_is_news(browser: Client, customer: Customer) -> None:
    serve(customer, output_nanos=1)
    version = overview(browser).version
    assert browser.get("/dashboard/live", {"version": version}).status_code == 204
    newer = serve(customer, output_nanos=1)
    answer = browser.get("/dashboard/live", {"version": version})
    assert str(newer.request_id) in answer.content.decode()
    assert b"<html" not in answer.content


def test_a_changed_balance_is_news(browser: Client, customer: Customer) -> None:
    serve(customer, output_nanos=1)
    version = overview(browser).version
    customer.admitted()
    assert browser.get("/dashboard/live", {"version": version}).status_code == 200


def test_without_news_the_poll_is_cheap(
    browser: Client, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    serve(customer, output_nanos=1)
    version = overview(browser).version
    with django_assert_max_num_queries(5):
        browser.get("/dashboard/live", {"version": version})


def test_a_full_dashboard_takes_at_most_fifteen_queries(
    browser: Client, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        serve(customer, output_nanos=1, model=f"model-{number}")
    with django_assert_max_num_queries(15):
        browser.get("/dashboard")


def test_another_teams_requests_are_never_shown(
    charlie: User, charlies_account: CreditAccount, customer: Customer
) -> None:
    record = serve(customer, output_nanos=1)
    page = signed_in(charlie).get("/dashboard").content.decode()
    assert str(record.request_id) not in page
    assert "in three steps" in page


def test_a_developer_sees_the_dashboard_too(bob: User, customer: Customer) -> None:
    serve(customer, output_nanos=1)
    browser = signed_in(bob)
    session = browser.session
    session["team"] = customer.team.slug
    session.save()
    assert "Recent requests" in browser.get("/dashboard").content.decode()


def test_hostile_names_are_shown_as_text(browser: Client, customer: Customer) -> None:
    serve(customer, output_nanos=1, model="</script><script>alert(1)</script>")
    page = browser.get("/dashboard").content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_who_is_signed_out_is_asked_to_sign_in(client: Client) -> None:
    for path in ("/dashboard", "/dashboard/live"):
        assert client.get(path).status_code == 302


def test_the_roll_up_goes_back_to_where_it_stopped(customer: Customer) -> None:
    now = timezone.now()
    serve(customer, at=(now - timedelta(hours=30)).isoformat(), output_nanos=1)
    records.roll_up_recent(2)
    serve(customer, at=(now - timedelta(hours=20)).isoformat(), output_nanos=10)
    serve(customer, at=now.isoformat(), output_nanos=100)
    records.roll_up_recent(2)  # after a day without Celery
    hours = records.UsageHour.objects.filter(account=customer.account)
    assert sorted(hours.values_list("charged_nanos", flat=True)) == [1, 10, 100]

"""The usage page: filters, totals, pages of the table, and whose requests they are."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Team, User
from billing.models import CreditAccount, UsageRecord
from billing.usage import records
from portal.ui import paging
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, issue, signed_in
from tests.portal.serving import serve
from tests.support.sampling import one_of

pytestmark = pytest.mark.django_db


def shown(browser: Client, **query: Any) -> Any:
    answer = browser.get("/usage", query)
    assert answer.status_code == 200, answer.content.decode()
    return answer.context


def costs(context: Any) -> list[int]:
    """Return what the table's requests cost, which tells them apart."""
    return [row.charged_nanos for row, _, _ in context["rows"]]


def test_the_totals_are_the_requests_sums(browser: Client, customer: Customer) -> None:
    counts = {"input_tokens": 1000, "cached_tokens": 200, "reasoning_tokens": 30}
    serve(customer, output_tokens=500, input_nanos=11, cached_nanos=2, output_nanos=3, **counts)
    serve(customer, output_tokens=7, output_nanos=5, images=2)
    serve(customer, outcome="upstream_error", status=502)
    total = shown(browser)["total"]
    assert (total.requests, total.errors, total.charged_nanos) == (3, 1, 21)
    assert (total.input_tokens, total.cached_tokens) == (1000, 200)
    assert (total.output_tokens, total.reasoning_tokens, total.images) == (507, 30, 2)


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"period": "today"}, [32, 16]),
        ({"period": "7d"}, [32, 16, 8]),
        ({"period": "30d"}, [32, 16, 8, 4, 2]),
        ({}, [32, 16, 8, 4, 2]),
        ({"period": "month"}, [32, 16, 8, 4]),
        ({"period": "own", "first": "2026-02-28", "last": "2026-03-01"}, [4, 2]),
        ({"period": "own", "first": "2026-02-28", "last": "2026-02-28"}, [2]),
        ({"period": "own", "first": "2025-03-30", "last": "2025-03-30"}, [1]),
    ],
)
@pytest.mark.parametrize("is_rolled_up", one_of("a period", False, True))
def test_a_period_is_of_whole_days_in_utc(
    browser: Client,
    customer: Customer,
    query: dict[str, str],
    expected: list[int],
    is_rolled_up: bool,
) -> None:
    for at, cost in [
        ("2025-03-30T03:30:00+02:00", 1),  # the night of a change to summer time
        ("2026-02-28T23:59:59.999999+00:00", 2),
        ("2026-03-01T00:00:00+00:00", 4),
        ("2026-03-09T00:00:00+00:00", 8),
        ("2026-03-15T00:00:00+00:00", 16),
        ("2026-03-15T23:59:00+13:00", 32),  # 10:59 in UTC
    ]:
        serve(customer, at=at, output_nanos=cost)
    if is_rolled_up:
        records.roll_up(datetime.min.replace(tzinfo=UTC))
    context = shown(browser, **query)
    assert costs(context) == expected
    assert context["total"].charged_nanos == sum(expected)


@pytest.fixture
def mixed(customer: Customer) -> dict[str, int]:
    """Request that differ in everything one can filter by. Return keys by name."""
    other = IssuedKey(issue(customer.team, None, "Other").key, "")
    with_other = Customer(customer.team, customer.account, other.key, customer.catalogue_version)
    serve(customer, output_nanos=1, end_user="ann")
    serve(customer, output_nanos=2, model="large", end_user="bert")
    serve(customer, output_nanos=4, outcome="client_closed", status=499)
    serve(customer, output_nanos=8, outcome="upstream_incomplete", end_user="ann")
    serve(with_other, output_nanos=16)
    serve(with_other, output_nanos=32, model="large", outcome="client_closed")
    return {"first": customer.key.pk, "other": other.key.pk}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "ok"}, 1 + 2 + 16),
        ({"status": "cancelled"}, 4 + 32),
        ({"status": "error"}, 8),
        ({"model": "large"}, 2 + 32),
        ({"model": "large", "status": "ok"}, 2),
        ({"end_user": "ann"}, 1 + 8),
        ({"end_user": "ann", "status": "ok"}, 1),
        ({"end_user": "an"}, 0),
        ({"key": "first"}, 1 + 2 + 4 + 8),
        ({"key": "other"}, 16 + 32),
        ({"key": "other", "status": "ok"}, 16),
        ({"key": "first", "model": "large", "end_user": "bert"}, 2),
        ({"model": "nothing"}, 0),
    ],
)
@pytest.mark.parametrize("is_rolled_up", one_of("filters", False, True))
def test_filters_hold_for_totals_chart_and_table_alike(
    browser: Client,
    mixed: dict[str, int],
    query: dict[str, str],
    expected: int,
    is_rolled_up: bool,
) -> None:
    if is_rolled_up:
        UsageRecord.objects.update(created_at=timezone.now() - timedelta(hours=5))
        records.roll_up(datetime.min.replace(tzinfo=UTC))
        # One later hour, so that the five hours old ones are read from the roll-up.
        records.UsageHour.objects.create(
            hour=timezone.now().replace(minute=0, second=0, microsecond=0),
            account_id=UsageRecord.objects.first().account_id,
            key_id=mixed["first"],
            model="another",
        )
    if "key" in query:
        query = query | {"key": str(mixed[query["key"]])}
    context = shown(browser, **query)
    assert context["total"].charged_nanos == expected
    assert sum(costs(context)) == expected
    chart = context["chart"]
    assert (sum(each.total_nanos for each in chart.series) if chart else 0) == expected


def test_pages_follow_one_another_without_gap_or_repeat(
    browser: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE_ROWS", 3)
    now = timezone.now()
    # Several of one moment, as a batch settles them.
    for index in range(10):
        at = now - timedelta(minutes=index // 4)
        serve(customer, at=at.isoformat(), output_nanos=2**index)
    context, pages = shown(browser), []
    while True:
        pages.append(costs(context))
        if not context["page"].older_url:
            break
        context = browser.get(context["page"].older_url).context
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert sorted(cost for page in pages for cost in page) == [2**index for index in range(10)]
    back = []
    while context["page"].newer_url:
        context = browser.get(context["page"].newer_url).context
        back.append(costs(context))
    assert back == [pages[2], pages[1], pages[0]]


@pytest.mark.parametrize("place", ["", "x", "1-2", "99999999999999999999999-00", "-", "1e5-é"])
def test_a_place_that_is_none_leads_to_the_newest_page(
    browser: Client, customer: Customer, place: str
) -> None:
    serve(customer, output_nanos=1)
    assert costs(shown(browser, before=place)) == [1]
    assert costs(shown(browser, after=place)) == [1]


def test_a_seldom_used_model_is_found_in_its_hours(
    browser: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE_ROWS", 2)
    now = timezone.now().replace(minute=30)
    for hours in range(4, 12):
        at = (now - timedelta(hours=hours)).isoformat()
        serve(customer, at=at, output_nanos=hours, model="rare")
        serve(customer, at=at, output_nanos=99)
    records.roll_up(datetime.min.replace(tzinfo=UTC))
    serve(customer, at=now.isoformat(), output_nanos=3, model="rare")
    records.roll_up(now)
    context, pages = shown(browser, model="rare"), []
    while True:
        pages.append(costs(context))
        if not context["page"].older_url:
            break
        context = browser.get(context["page"].older_url).context
    assert pages == [[3, 4], [5, 6], [7, 8], [9, 10], [11]]
    back = []
    while context["page"].newer_url:
        context = browser.get(context["page"].newer_url).context
        back.append(costs(context))
    assert back == [[9, 10], [7, 8], [5, 6], [3, 4]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"period": "own"}, "Choose a day."),
        ({"period": "own", "first": "2026-03-02", "last": "2026-03-01"}, "on or after the first"),
        ({"period": "own", "first": "2020-01-01", "last": "2026-03-01"}, "at most 366 days"),
        ({"period": "own", "first": "9999-12-31", "last": "9999-12-31"}, "an earlier day"),
        ({"period": "own", "first": "soon", "last": "2026-03-01"}, "Enter a valid date."),
        ({"period": "fortnight"}, "Select a valid choice"),
        ({"status": "odd"}, "Select a valid choice"),
        ({"end_user": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_asked_is_said_beside_its_field(
    browser: Client, query: dict[str, str], message: str
) -> None:
    answer = browser.get("/usage", query)
    assert answer.status_code == 400
    errors = re.findall(r'<span class="error">.*?</span>', answer.content.decode(), re.S)
    assert any(message in error for error in errors)
    assert browser.get("/usage.csv", query).status_code == 302


def test_another_teams_key_is_no_choice(
    browser: Client, customer: Customer, charlies_key: IssuedKey
) -> None:
    answer = browser.get("/usage", {"key": str(charlies_key.key.pk)})
    assert answer.status_code == 400
    assert "Charlie" not in answer.content.decode()


def test_another_team_sees_nothing_of_it(
    charlie: User, charlies_account: CreditAccount, customer: Customer
) -> None:
    record = serve(customer, output_nanos=1, end_user="ann")
    for query in ({}, {"end_user": "ann"}, {"model": "small"}, {"status": "ok"}):
        page = signed_in(charlie).get("/usage", query)
        assert str(record.request_id) not in page.content.decode()
        assert page.context["total"].requests == 0


def test_a_team_without_requests_is_told_where_to_begin(browser: Client) -> None:
    assert "No requests in this period" in browser.get("/usage").content.decode()
    assert "No matching requests" in browser.get("/usage", {"status": "error"}).content.decode()


def test_a_member_of_two_teams_sees_the_chosen_ones(
    bob: User, alices_team: Team, customer: Customer
) -> None:
    serve(customer, output_nanos=1)
    browser = signed_in(bob)
    assert shown(browser)["total"].requests == 0
    session = browser.session
    session["team"] = alices_team.slug
    session.save()
    assert shown(browser)["total"].requests == 1


HOSTILE = "<script>alert(1)</script>\u202e\"'"


def test_hostile_names_and_tags_are_shown_as_text(browser: Client, customer: Customer) -> None:
    serve(customer, output_nanos=1, model=HOSTILE, end_user=HOSTILE, outcome=HOSTILE[:25])
    page = browser.get("/usage", {"end_user": HOSTILE, "model": HOSTILE}).content.decode()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 3


def test_a_full_page_takes_at_most_fifteen_queries(
    browser: Client, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        serve(customer, output_nanos=1, model=f"model-{number}")
    for query in ({}, {"model": "model-3"}, {"status": "ok"}, {"end_user": "x"}):
        with django_assert_max_num_queries(15):
            browser.get("/usage", query)

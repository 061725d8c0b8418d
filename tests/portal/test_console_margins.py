"""The margins page: every figure is the records', and each line leads further down."""

import csv
import io
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import MarginDay, TaskRun, UsageRecord
from billing.usage import margin_sums, overview
from billing.usage.margin_sums import NO_UPSTREAM, MarginFilter
from billing.usage.overview import Figures
from tests.billing.ledger_calls import Customer, make_customer

pytestmark = [
    pytest.mark.django_db,
    # The tests' client reads the stream at once, and Django says so.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = MarginFilter(date(2026, 2, 14), date(2026, 3, 15))
URL = "/admin/margins?first=2026-02-14&last=2026-03-15"


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def record(customer: Customer, at: datetime = NOW, **fields: Any) -> UsageRecord:
    usual = {
        "model": "small",
        "upstream": "maker",
        "outcome": "completed",
        "input_tokens": 10,
        "output_tokens": 5,
        "charged_nanos": 10**9,
        "upstream_cost_nanos": 6 * 10**8,
    }
    known = usual | fields
    return UsageRecord.objects.create(
        request_id=uuid.uuid4(),
        account=customer.account,
        key=customer.key,
        price_version_id=1,
        surface="v1",
        endpoint="chat_completions",
        cost_nanos=known["charged_nanos"],
        created_at=at,
        **known,
    )


@pytest.fixture
def team() -> Customer:
    """A customer with requests of two days, two models and two upstreams; another has one."""
    one, other = make_customer(), make_customer()
    record(one)
    record(one, NOW - DAY, upstream="reserve", upstream_cost_nanos=3 * 10**9)
    record(one, model="large", charged_nanos=0, upstream="", outcome="upstream_error")
    record(other, model="large", charged_nanos=2 * 10**9)
    record(other, NOW - 40 * DAY)
    overview.roll_up(30 * 24)
    return one


def sums(dimension: str, chosen: MarginFilter = MONTH) -> dict[Any, tuple[int, int, int]]:
    """Return requests, revenue and cost by what they are grouped by; amounts in cents."""
    return {
        key: (each.requests, each.charged_nanos // 10**7, each.upstream_cost_nanos // 10**7)
        for key, each in margin_sums.margins_by(dimension, chosen, 10)
    }


def test_the_sums_by_each_dimension_are_the_records(team: Customer) -> None:
    assert sums("day") == {NOW.date(): (3, 300, 180), (NOW - DAY).date(): (1, 100, 300)}
    assert sums("model") == {"large": (2, 200, 120), "small": (2, 200, 360)}
    assert sums("upstream") == {"maker": (2, 300, 120), "reserve": (1, 100, 300), "": (1, 0, 60)}
    assert sums("team")[team.team.pk] == (3, 200, 420)
    assert sorted(sums("team").values()) == [(1, 200, 60), (3, 200, 420)]
    assert margin_sums.total_of(MONTH) == Figures(4, 1, 40, 20, 4 * 10**9, 48 * 10**8)


@pytest.mark.parametrize("dimension", margin_sums.DIMENSIONS)
@pytest.mark.parametrize(
    "narrowed",
    [
        {},
        {"model": "large"},
        {"upstream": "maker"},
        {"upstream": NO_UPSTREAM},
        {"team": True},
        {"team": True, "model": "small"},
        {"first": NOW.date()},
    ],
)
def test_each_selection_is_the_sum_of_its_records(
    team: Customer, dimension: str, narrowed: dict[str, Any]
) -> None:
    fields = {**vars(MONTH), **narrowed}
    fields["team"] = team.team.pk if fields["team"] else None
    chosen = MarginFilter(**fields)
    wanted: dict[Any, int] = {}
    for row in UsageRecord.objects.select_related("account"):
        day = row.created_at.date()
        upstream = "" if chosen.upstream == NO_UPSTREAM else chosen.upstream
        if (
            chosen.first <= day <= chosen.last
            and chosen.model in {"", row.model}
            and (not chosen.upstream or upstream == row.upstream)
            and chosen.team in {None, row.account.team_id}
        ):
            keys = {"day": day, "team": row.account.team_id}
            key = keys.get(dimension) or getattr(row, dimension, None)
            wanted[key] = wanted.get(key, 0) + row.charged_nanos - row.upstream_cost_nanos
    found = margin_sums.margins_by(dimension, chosen, 10)
    assert {key: each.margin_nanos for key, each in found} == wanted
    assert margin_sums.total_of(chosen).margin_nanos == sum(wanted.values())


def test_sums_by_team_take_few_queries_and_read_no_request(
    staff: Client, team: Customer, django_assert_max_num_queries: Any
) -> None:
    tables = {
        "by=team": {"teamday", "servicehour"},
        "by=team&model=small": {"marginday", "servicehour"},
        f"by=model&team={team.team.pk}": {"marginday", "teamday"},
    }
    for query, expected in tables.items():
        with django_assert_max_num_queries(12) as captured:
            assert staff.get(f"/admin/margins?{query}").status_code == 200
        text = " ".join(each["sql"] for each in captured.captured_queries)
        found = {"usagerecord", "usagehour", "teamday", "marginday", "servicehour"}
        assert {name for name in found if f'"billing_{name}"' in text} == expected


def test_days_are_summed_again_after_ten_minutes_and_older_ones_filled_in(team: Customer) -> None:
    def requests_on(at: datetime) -> list[int]:
        rows = MarginDay.objects.filter(day=at.date(), model="small")
        return list(rows.values_list("requests", flat=True))

    record(team)
    overview.roll_up_margins(NOW + timedelta(minutes=9))
    assert requests_on(NOW) == [1]
    for _ in range(2):
        overview.roll_up_margins(NOW + timedelta(minutes=10))
    assert requests_on(NOW) == [2]
    assert TaskRun.objects.get(pk=overview.MARGINS_TASK).finished_at == NOW
    MarginDay.objects.filter(day__lt=NOW.date()).delete()  # as in an older database
    overview.roll_up_margins(NOW + timedelta(minutes=11))
    assert (requests_on(NOW - DAY), requests_on(NOW - 40 * DAY)) == ([1], [1])


def test_a_settlement_before_midnight_is_in_its_day(team: Customer) -> None:
    overview.roll_up_margins(NOW.replace(hour=23, minute=59))
    record(team, NOW.replace(hour=23, minute=59, second=59))
    overview.roll_up_margins(NOW.replace(hour=0, minute=10) + DAY)
    assert MarginDay.objects.get(day=NOW.date(), model="small").requests == 2


def links(page: str) -> list[str]:
    return [
        url.replace("&amp;", "&") for url in re.findall(r'<th scope="row"><a href="([^"]+)"', page)
    ]


def test_the_page_leads_from_a_model_to_its_requests_at_a_loss(
    staff: Client, team: Customer
) -> None:
    page = staff.get(URL).content.decode()
    assert all(text in page for text in ("$4.00", "$4.80", "-$0.80", "-20.0%"))
    large, small = sorted(links(page), key=lambda url: "model=small" in url)
    assert "model=small" in small
    assert "by=upstream" in small
    by_upstream = staff.get(f"/admin/margins{small}").content.decode()
    (reserve, maker) = links(by_upstream)  # of the same revenue: the larger cost first
    by_team = staff.get(f"/admin/margins{reserve}").content.decode()
    assert team.team.name in by_team
    (of_team,) = links(by_team)
    by_day = staff.get(f"/admin/margins{of_team}").content.decode()
    assert f"/admin/customers/{team.team.pk}" in by_day
    (of_day,) = links(by_day)
    losses = staff.get(f"/admin/margins/losses{of_day}").content.decode()
    losing = UsageRecord.objects.get(upstream="reserve")
    assert f"/admin/billing/usagerecord/{losing.pk}/change/" in losses
    assert len(re.findall("usagerecord/[0-9a-f]{8}", losses)) == 1
    assert "None." in staff.get(f"/admin/margins/losses{maker}").content.decode()
    assert staff.get(f"/admin/margins{large}").status_code == 200


def test_requests_at_a_loss_are_listed_page_by_page_each_once(
    staff: Client, team: Customer
) -> None:
    for _ in range(119):  # a batch of settlements has one time
        record(team, charged_nanos=1)
    url, seen = "/admin/margins/losses", []
    while url:
        page = staff.get(url).content.decode()
        seen += re.findall(r"/admin/billing/usagerecord/([0-9a-f-]{36})/", page)
        older = re.search(r'<a href="(\?[^"]+)">Older requests', page)
        url = f"/admin/margins/losses{older[1].replace('&amp;', '&')}" if older else ""
    assert len(seen) == len(set(seen)) == 121


def test_the_csv_has_every_row_of_the_selection(staff: Client, team: Customer) -> None:
    def rows(query: str) -> list[dict[str, str]]:
        answer = staff.get(f"/admin/margins.csv?first=2026-02-14&last=2026-03-15{query}")
        text = b"".join(answer).decode()  # type: ignore[arg-type]
        return list(csv.DictReader(io.StringIO(text)))

    found = rows("")
    assert [row["day_utc"] for row in found] == ["2026-03-15"] * 3 + ["2026-03-14"]
    (loss,) = rows("&upstream=reserve")
    assert (loss["team"], loss["revenue_usd"], loss["margin_usd"]) == (
        team.team.slug,
        "1.000000000",
        "-2.000000000",
    )
    assert rows("&model=unknown") == []


@pytest.mark.parametrize(
    "query",
    [
        "?by=nothing&first=x&last=2026-99-99",
        "?first=2026-03-15&last=2026-03-01",
        "?team=%00&model=%00",
        "?first=0001-01-01&last=9999-12-31",
        "?before=x",
        "?before=2026-01-01T00:00:00_7",
        "?team=999999999999999999",
        f"?before=2026-01-01T00:00:00_{uuid.UUID(int=1)}",
    ],
)
def test_what_is_not_understood_is_ignored(staff: Client, query: str) -> None:
    for page in ("", "/losses", ".csv"):
        answer = staff.get(f"/admin/margins{page}{query}")
        assert answer.status_code == 200
        if page == ".csv":
            b"".join(answer)  # type: ignore[arg-type]


def test_without_requests_it_says_so(staff: Client) -> None:
    assert "No requests in this period." in staff.get("/admin/margins").content.decode()
    assert "None." in staff.get("/admin/margins/losses").content.decode()

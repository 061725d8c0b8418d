"""Usage reports: the roll-up and the records give the same sums, in any time zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.models import UsageHour
from billing.usage.records import roll_up
from billing.usage.report import (
    Dimension,
    Interval,
    ReportError,
    ReportQuery,
    ReportRow,
    report_of,
)
from tests.billing.ledger_calls import Customer, make_customer
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db

# Clocks were put back in the night of October 25, 2026, in Prague.
MOMENTS = [
    "2026-10-24T21:59:00+00:00",  # the last minute of October 24
    "2026-10-24T22:00:00+00:00",
    "2026-10-25T00:30:00+00:00",  # 02:30 CEST
    "2026-10-25T01:30:00+00:00",  # 02:30 CET
    "2026-10-25T22:59:00+00:00",
    "2026-10-25T23:00:00+00:00",  # October 26
]


@pytest.fixture
def customer() -> Customer:
    made = make_customer(10**9)
    for place, at in enumerate(MOMENTS):
        serve(made, at=at, output_nanos=10**place, model="a" if place % 2 else "b")
    return made


def rows(customer: Customer, zone: str, interval: Interval | None, *by: Dimension, **more: str):
    query = ReportQuery(
        account_id=customer.account.pk,
        first=date(2026, 10, 24),
        last=date(2026, 10, 26),
        zone=ZoneInfo(zone),
        interval=interval,
        dimensions=by,
        **more,
    )
    return report_of(query).rows


def costs(found: list[ReportRow]) -> dict[str, int]:
    return {row.starts_at.isoformat(): row.used.charged_nanos for row in found if row.starts_at}


def test_days_and_hours_are_the_zones_and_the_roll_up_agrees(customer: Customer) -> None:
    def both() -> tuple[dict[str, int], dict[str, int]]:
        days = rows(customer, "Europe/Prague", Interval.DAY)
        return costs(days), costs(rows(customer, "Europe/Prague", Interval.HOUR))

    of_records = both()
    roll_up(datetime(2026, 10, 1, tzinfo=UTC))
    # Its last hour lies behind the period, so that the period is complete.
    last = UsageHour.objects.filter(account=customer.account).latest("hour")
    last.pk, last.hour = None, last.hour + timedelta(days=3)
    last.save()

    assert both() == of_records
    days, hours = of_records
    assert days == {
        "2026-10-24T00:00:00+02:00": 1,
        "2026-10-25T00:00:00+02:00": 11_110,
        "2026-10-26T00:00:00+01:00": 100_000,
    }
    assert hours["2026-10-25T02:00:00+02:00"] == 100
    assert hours["2026-10-25T02:00:00+01:00"] == 1_000


def test_zones_between_the_hours_are_read_from_the_records(customer: Customer) -> None:
    roll_up(datetime(2026, 10, 1, tzinfo=UTC))
    assert costs(rows(customer, "Asia/Kolkata", Interval.DAY)) == {
        "2026-10-25T00:00:00+05:30": 1_111,
        "2026-10-26T00:00:00+05:30": 110_000,
    }
    assert "2026-10-25T03:30:00+05:30" not in costs(rows(customer, "Asia/Kolkata", Interval.HOUR))


def test_dimensions_combine_and_filters_narrow(customer: Customer) -> None:
    found = rows(customer, "UTC", None, Dimension.MODEL, Dimension.KEY)
    assert [(row.group["model"], row.used.charged_nanos) for row in found] == [
        ("a", 101_010),
        ("b", 10_101),
    ]
    (only,) = rows(customer, "UTC", None, Dimension.ENDPOINT, model="a")
    assert (only.group, only.used.requests) == ({"endpoint": "chat_completions"}, 3)
    assert rows(customer, "UTC", None, status="error") == []


@pytest.mark.parametrize(
    ("day", "zone"), [(date.min, "Asia/Tokyo"), (date.max, "America/New_York")]
)
def test_a_day_that_utc_does_not_have_is_refused(day: date, zone: str) -> None:
    query = ReportQuery(account_id=1, first=day, last=day, zone=ZoneInfo(zone))
    with pytest.raises(ReportError, match="Invalid period"):
        report_of(query)

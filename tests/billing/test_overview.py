"""The service's roll-ups: the same figures as the records', by hour and by team, and backfilled."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import tasks
from billing.models import ServiceHour, TaskRun, TeamDay, UsageHour, UsageRecord
from billing.usage import overview
from billing.usage.overview import Figures
from tests.billing.ledger_calls import Customer, make_customer, new_id

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def record(customer: Customer, at: datetime, **fields: Any) -> UsageRecord:
    """Write a record as a settlement does."""
    usual = {
        "model": "small",
        "upstream": "maker",
        "outcome": "completed",
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_nanos": 100,
        "charged_nanos": 100,
        "upstream_cost_nanos": 60,
    }
    return UsageRecord.objects.create(
        request_id=new_id(),
        account=customer.account,
        key=customer.key,
        price_version_id=1,
        surface="openai",
        endpoint="chat_completions",
        created_at=at,
        **(usual | fields),
    )


def test_hours_and_days_are_the_sums_of_the_records() -> None:
    one, other = make_customer(), make_customer()
    record(one, NOW)
    record(one, NOW - timedelta(minutes=10), outcome="upstream_error")
    record(other, NOW - timedelta(minutes=20), upstream="reserve", outcome="client_closed")
    record(other, NOW - timedelta(hours=1), model="large")
    overview.roll_up(2)
    assert overview.by_hour([(MIDNIGHT, NOW)]) == {
        NOW.replace(hour=11, minute=0): Figures(1, 0, 10, 5, 100, 60),
        NOW.replace(minute=0): Figures(3, 1, 30, 15, 300, 180),
    }
    tomorrow = MIDNIGHT + timedelta(days=1)
    by_model = overview.hours_of_service("model", MIDNIGHT, tomorrow, is_by_hour=False)
    assert {name: part.requests for (_, name), part in by_model.items()} == {"small": 3, "large": 1}
    by_upstream = overview.hours_of_service("upstream", MIDNIGHT, tomorrow, is_by_hour=False)
    assert {name: part.requests for (_, name), part in by_upstream.items()} == {
        "maker": 3,
        "reserve": 1,
    }
    by_team = overview.days_by_team(MIDNIGHT, tomorrow, 1)
    assert {name: part.requests for (_, name), part in by_team.items()} == {
        str(one.team.pk): 2,
        "": 2,
    }
    plan = str(one.team.plan_id)
    assert overview.days_by_plan(MIDNIGHT, tomorrow)[MIDNIGHT, plan].requests == 4
    hours = overview.hours_by_team(NOW.date(), 5)
    assert hours[NOW.replace(minute=0), str(one.team.pk)].errors == 1
    assert overview.hours_by_plan(NOW.date())[NOW.replace(minute=0), plan].requests == 3
    assert overview.active_teams(MIDNIGHT, tomorrow) == 2
    assert overview.active_teams(NOW.replace(hour=11, minute=0), NOW.replace(minute=0)) == 1


def test_a_repeat_changes_nothing_and_a_late_settlement_is_found() -> None:
    customer = make_customer()
    record(customer, NOW)
    overview.roll_up(2)
    before = list(ServiceHour.objects.values_list("hour", "model", "upstream", "requests"))
    overview.roll_up(2)
    assert list(ServiceHour.objects.values_list("hour", "model", "upstream", "requests")) == before
    record(customer, NOW - timedelta(minutes=50))
    overview.roll_up(2)
    assert sum(ServiceHour.objects.values_list("requests", flat=True)) == 2
    assert TeamDay.objects.get().requests == 2


def test_after_a_downtime_of_celery_no_hour_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    customer = make_customer()
    record(customer, NOW)
    overview.roll_up(2)
    for hours in range(1, 30):
        record(customer, NOW + timedelta(hours=hours))
    monkeypatch.setattr(timezone, "now", lambda: NOW + timedelta(hours=30))
    overview.roll_up(2)
    assert sum(ServiceHour.objects.values_list("requests", flat=True)) == 30
    assert sum(TeamDay.objects.values_list("requests", flat=True)) == 30


def test_an_older_database_is_filled_in_day_by_day() -> None:
    customer = make_customer()
    days = [*range(9), 20, 200]
    for ago in days:
        record(customer, NOW - timedelta(days=ago, hours=1))
        record(customer, NOW - timedelta(days=ago, hours=3))
    overview.roll_up(24 * 300)  # every hour of teams is rolled up, as by the last release
    ServiceHour.objects.all().delete()
    TeamDay.objects.all().delete()
    assert UsageHour.objects.count() == 2 * len(days)

    runs = 0
    while ServiceHour.objects.count() < 2 * len(days):
        overview.roll_up(2)
        runs += 1
        assert runs <= 3
    assert TeamDay.objects.count() == len(days)
    assert set(TeamDay.objects.values_list("requests", flat=True)) == {2}
    rows = ServiceHour.objects.order_by("pk").values_list("pk", flat=True)
    untouched = list(rows.filter(hour__lt=MIDNIGHT))
    overview.roll_up(2)
    assert list(rows.filter(hour__lt=MIDNIGHT)) == untouched, "it is filled in once"


def test_the_task_says_when_it_ran() -> None:
    tasks.roll_up_usage()
    tasks.prove_ledger()
    assert overview.rolled_up_at() == NOW
    assert set(TaskRun.objects.values_list("name", flat=True)) == {
        overview.ROLL_UP_TASK,
        overview.MARGINS_TASK,
        tasks.PROOF_TASK,
    }
    tasks.prove_ledger()
    assert TaskRun.objects.get(pk=tasks.PROOF_TASK).result == "0 broken"

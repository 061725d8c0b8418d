"""Celery's tasks for the ledger: each may run twice, late or at once."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from billing import tasks
from billing.ledger import spool
from billing.models import CreditAccount, LedgerAlert, UsageHour, UsageRecord
from config.celery import app
from tests.billing.ledger_calls import Customer, admit, make_customer, settle

pytestmark = pytest.mark.django_db


def served(customer: Customer, **changes: Any) -> None:
    """Serve one request to its end."""
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, **changes))


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()

    names = {entry["task"] for entry in django_settings.CELERY_BEAT_SCHEDULE.values()}

    assert names <= set(app.tasks)
    assert {
        "billing.tasks.sweep_expired_reservations",
        "billing.tasks.replay_spooled_settlements",
        "billing.tasks.roll_up_usage",
        "billing.tasks.alert_of_rejected_usage",
        "billing.tasks.prove_ledger",
    } <= names


def test_the_sweep_goes_on_until_nothing_is_due(monkeypatch):
    monkeypatch.setattr(tasks, "SWEEP_ROWS", 2)
    customer = make_customer(1000)
    admit(*[customer.ask(hold_seconds=-1) for _ in range(5)])

    assert tasks.sweep_expired_reservations() == 5
    assert tasks.sweep_expired_reservations() == 0
    assert customer.balances == (1000, 0)


def test_the_replay_settles_the_spool(settings, tmp_path):
    settings.SPOOL_DIR = tmp_path
    customer = make_customer(1000)
    ask = customer.ask()
    admit(ask)
    spool.write([msgspec.json.encode(customer.end(ask, output_nanos=10))])

    assert tasks.replay_spooled_settlements() == 1
    assert tasks.replay_spooled_settlements() == 0
    assert customer.balances == (990, 0)


def test_usage_is_rolled_up_by_hour_key_and_model():
    customer = make_customer(1000)
    served(customer, output_nanos=10, output_tokens=3, latency_ms=100, first_token_ms=20)
    served(customer, output_nanos=20, output_tokens=4, latency_ms=200, input_tokens=5, images=1)
    served(customer, outcome="upstream_error", status=502, latency_ms=50, upstream_cost_nanos=2)
    served(customer, outcome="client_closed", status=499)
    served(customer, model="large", output_nanos=1)
    served(customer.another_key(), output_nanos=7)

    tasks.roll_up_usage()
    tasks.roll_up_usage()

    hours = UsageHour.objects.filter(account=customer.account)
    assert hours.count() == 3
    hour = hours.get(key=customer.key, model="small")
    assert (hour.requests, hour.errors) == (4, 1)
    assert (hour.input_tokens, hour.output_tokens, hour.images) == (5, 7, 1)
    assert (hour.charged_nanos, hour.upstream_cost_nanos) == (30, 2)
    assert (hour.latency_ms_total, hour.first_token_ms_total, hour.first_token_count) == (
        350,
        20,
        1,
    )
    assert hour.hour == timezone.now().replace(minute=0, second=0, microsecond=0)


def test_only_the_last_hours_are_rolled_up_anew():
    customer = make_customer(1000)
    for hours_ago in (0, 3, 30):
        served(customer, output_nanos=10)
        UsageRecord.objects.filter(account=customer.account).exclude(
            model__startswith="moved"
        ).update(created_at=timezone.now() - timedelta(hours=hours_ago), model=f"moved{hours_ago}")
        if hours_ago == 0:
            tasks.roll_up_usage(hours=4)  # the first takes all that there is

    tasks.roll_up_usage(hours=4)

    rolled = UsageHour.objects.filter(account=customer.account)
    assert sorted(rolled.values_list("model", flat=True)) == ["moved0", "moved3"]
    tasks.roll_up_usage(hours=48)
    assert rolled.count() == 3
    tasks.roll_up_usage(hours=1)
    assert rolled.count() == 3


def rejecting(customer: Customer, *figures: str, upstream: str = "maker", **changes: Any) -> None:
    """Serve a request whose second upstream reported figures that can't be true."""
    attempts = [
        {"upstream": "other", "status": 503},
        {"upstream": upstream, "status": 200, "rejected_usage": list(figures)},
    ]
    served(customer, source="estimated", output_nanos=1, attempts=attempts, **changes)


def test_usage_beyond_a_models_row_is_an_alert_an_hour_model_and_upstream():
    customer = make_customer(1000)
    rejecting(customer, "completion_tokens=1000000000", "total_tokens=1000000500")
    rejecting(customer, "completion_tokens=2000000000")
    rejecting(customer, "prompt_tokens=-1", upstream="another")
    rejecting(customer, "prompt_tokens=-1", model="large")
    served(customer, output_nanos=1, attempts=[{"upstream": "maker", "status": 200}])

    assert tasks.alert_of_rejected_usage() == 3
    assert tasks.alert_of_rejected_usage() == 0

    hour = f"{timezone.now():%Y-%m-%d %Hh}"
    alerts = LedgerAlert.objects.filter(kind="usage_rejected")
    references = {f"{hour} large at maker", f"{hour} small at another", f"{hour} small at maker"}
    assert {alert.reference for alert in alerts} == references
    detail = alerts.get(reference=f"{hour} small at maker").detail
    assert detail.startswith("Figures of 2 requests can't be true, first of ")
    (first,) = [row for row in UsageRecord.objects.all() if str(row.request_id) in detail]
    assert f"{', '.join(first.attempts[1]['rejected_usage'])}. What" in detail


def test_rejected_usage_of_an_outage_is_alerted_of_later():
    customer = make_customer(1000)
    rejecting(customer, "prompt_tokens=-1", model="m" * 120, upstream="u" * 80)
    UsageRecord.objects.filter(account=customer.account).update(
        created_at=timezone.now() - timedelta(hours=30)
    )

    assert tasks.alert_of_rejected_usage() == 0
    assert tasks.alert_of_rejected_usage(hours=48) == 1
    assert tasks.alert_of_rejected_usage(hours=48) == 0


def test_right_books_raise_no_alert():
    customer = make_customer(1000)
    served(customer, output_nanos=10)

    assert tasks.prove_ledger() == 0
    assert not LedgerAlert.objects.filter(kind="invariant").exists()


def test_broken_books_raise_one_alert_a_day_and_invariant():
    customer = make_customer(1000)
    CreditAccount.objects.filter(pk=customer.account.pk).update(posted_nanos=999)

    assert tasks.prove_ledger() == 1
    assert tasks.prove_ledger() == 1

    alert = LedgerAlert.objects.get(kind="invariant")
    assert alert.reference == f"I2 posted {timezone.now():%Y-%m-%d}"
    assert f"account {customer.account.pk}: posted 999, transfers 1000" in alert.detail


@pytest.mark.django_db(transaction=True)
def test_the_proof_reads_one_snapshot_and_writes_nothing_to_it():
    """Else a request that is settled between two of the queries would look like a fault."""
    levels = []

    def watch(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "billing_transfer" in sql:
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('transaction_isolation'),"
                    " current_setting('transaction_read_only')"
                )
                levels.append(cursor.fetchone())
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(watch):
        tasks.prove_ledger()

    assert set(levels) == {("repeatable read", "on")}

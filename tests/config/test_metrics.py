"""/metrics: what it counts and who may read it; rules and dashboard name what it exports."""

import json
import re
import time
from typing import Any

import pytest
import yaml
from django.core.cache import cache
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from api.gateway import metrics
from api.tasks import HEARTBEAT_KEY, heartbeat
from billing.ledger.alerts import raise_alert
from billing.ledger.gate import Settlement
from config import metrics as exported
from tests.api.gateway.upstream import GOOD_STREAM, answer, completion, stream
from tests.api.gateway.world import World, body, in_loop
from tests.support.forks import ROOT

LOOPBACK = ("127.0.0.1", 50000)


def scope(client: tuple[str, int] = LOOPBACK, **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"type": "http", "path": "/metrics", "client": client, "headers": named}


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the values by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text).get((name, tuple(sorted(labels.items()))), 0.0)


# Access


def test_only_the_token_and_direct_addresses_read_it(settings: Any) -> None:
    settings.METRICS_TOKEN = "a-long-token"
    stranger = ("192.0.2.7", 1)
    assert exported.is_allowed(scope())
    assert not exported.is_allowed(scope(stranger))
    assert exported.is_allowed(scope(stranger, authorization="Bearer a-long-token"))
    assert not exported.is_allowed(scope(stranger, authorization="Bearer another"))
    assert not exported.is_allowed(scope(x_forwarded_for="127.0.0.1")), "a proxy's address"
    settings.METRICS_ADDRESSES = ["192.0.2.0/24"]
    assert exported.is_allowed(scope(stranger))
    assert not exported.is_allowed(scope())
    settings.METRICS_TOKEN = ""
    assert not exported.is_allowed(scope(authorization="Bearer "))


@in_loop
async def test_a_stranger_gets_403_and_no_figure() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await exported.serve(scope(("192.0.2.7", 1)), send, has_pages=False)
    assert sent[0]["status"] == 403
    assert b"tollgate_" not in sent[1]["body"]


# What is counted


def settlement(**values: Any) -> Settlement:
    fields: dict[str, Any] = {
        "request_id": "1" * 32,
        "account_id": 1,
        "key_id": 1,
        "price_version_id": 1,
        "model": "m",
        "surface": "v1",
        "endpoint": "chat",
        "outcome": "completed",
        "status": 200,
        **values,
    }
    return Settlement(**fields)


def test_a_settlement_is_counted_by_all_that_it_says() -> None:
    one = settlement(
        model="counted",
        upstream="maker",
        input_tokens=100,
        cached_tokens=20,
        output_tokens=11,
        input_nanos=2_000_000_000,
        output_nanos=500_000_000,
        upstream_cost_nanos=1_000_000_000,
        attempts=[
            {"upstream": "other", "key": "first", "status": 503},
            {"upstream": "maker", "status": 200},
        ],
        latency_ms=1_500,
        first_token_ms=500,
    )
    metrics.count([one, one])
    text = exported.export(has_pages=False)
    labels = {"model": "counted", "endpoint": "chat", "outcome": "completed"}
    assert value(text, "tollgate_requests_total", **labels) == 2
    assert value(text, "tollgate_tokens_total", model="counted", kind="cached") == 40
    assert value(text, "tollgate_cost_dollars_total", model="counted") == 5
    cost = value(text, "tollgate_upstream_cost_dollars_total", model="counted", upstream="maker")
    assert cost == 2
    tried = {"upstream": "other", "key": "first", "status": "503"}
    assert value(text, "tollgate_upstream_attempts_total", **tried) == 2
    assert value(text, "tollgate_first_token_seconds_sum", model="counted") == 1
    assert value(text, "tollgate_request_seconds_sum", model="counted") == 3
    # Ten gaps in the second after the first token.
    assert value(text, "tollgate_token_interval_seconds_sum", model="counted") == 0.2


@in_loop
async def test_requests_are_recorded_beside_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(answer(completion()), stream(*GOOD_STREAM)) as world:
        monkeypatch.setattr(world.gate, "queues", (), raising=False)
        monkeypatch.setattr(metrics, "settled", metrics.settled)
        recorder = metrics.Recorder(world.gateway)
        recorder.open()
        before = _requests_of_world(exported.export(has_pages=False))
        await world.chat()
        await world.post(body(stream=True))
        assert len(metrics.settled) == 2, "nothing was counted on the request's way"
        recorder.record()
        text = exported.export(has_pages=False)
        await recorder.close()
    assert _requests_of_world(text) == before + 2
    assert not metrics.settled
    upstream = {"upstream": "upstream-0", "key": ""}
    assert value(text, "tollgate_upstream_running_calls", **upstream) == 0
    assert value(text, "tollgate_upstream_concurrency_limit", **upstream) == 100
    assert b"Hello" not in text
    assert b"sk-tg-" not in text


def _requests_of_world(text: bytes) -> float:
    return sum(
        number
        for (name, labels), number in samples(text).items()
        if name == "tollgate_requests_total" and dict(labels)["model"] == "public-model"
    )


def test_a_process_without_a_recorder_keeps_nothing() -> None:
    metrics.settled.append(settlement())
    assert not metrics.settled


@pytest.mark.django_db
def test_the_services_state_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.metrics.connection.close", lambda: None)
    monkeypatch.setattr(exported, "_STATE", exported.ServiceState())
    cache.delete(HEARTBEAT_KEY)
    heartbeat()
    raise_alert("invariant", "1", "detail")
    text = exported.export(has_pages=True)
    assert value(text, "tollgate_database_up") == 1
    assert value(text, "tollgate_valkey_up") == 1
    alerts = value(text, "tollgate_unhandled_alerts", kind="invariant", severity="critical")
    assert alerts == 1
    assert value(text, "tollgate_celery_heartbeat_age_seconds") < 60
    assert value(text, "tollgate_open_holds") == 0
    cache.set(HEARTBEAT_KEY, time.time() - 500)
    monkeypatch.setattr(exported, "_STATE", exported.ServiceState())
    assert value(exported.export(has_pages=True), "tollgate_celery_heartbeat_age_seconds") >= 500


@pytest.mark.django_db
def test_without_valkey_the_rest_is_exported(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.metrics.connection.close", lambda: None)
    monkeypatch.setattr(exported, "_STATE", exported.ServiceState())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    text = exported.export(has_pages=True)
    assert value(text, "tollgate_valkey_up") == 0
    assert value(text, "tollgate_database_up") == 1
    assert b"tollgate_celery_queue_tasks" not in text


@pytest.mark.django_db
def test_a_query_that_takes_too_long_leaves_no_timeout_on_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("config.metrics.connection.close", lambda: None)
    monkeypatch.setattr(exported, "_STATE", exported.ServiceState())
    monkeypatch.setattr(exported, "STATEMENT_TIMEOUT_MS", 50)
    monkeypatch.setattr(exported, "_ALERTS", "SELECT pg_sleep(5)")
    assert value(exported.export(has_pages=True), "tollgate_database_up") == 0
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


# What is shipped for Prometheus and Grafana


@pytest.fixture
def names(db: None, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of all metrics that can be exported."""
    monkeypatch.setattr("config.metrics.connection.close", lambda: None)
    monkeypatch.setattr(exported, "_STATE", exported.ServiceState())
    heartbeat()
    found = set()
    for family in text_string_to_metric_families(exported.export(has_pages=True).decode()):
        kinds = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
        }
        found |= {family.name + suffix for suffix in kinds.get(family.type, ("",))}
    # A counter that this process has counted says when it began; those of several processes don't.
    return {name for name in found if not name.endswith("_created")}


def metric_names(expression: str) -> set[str]:
    return set(re.findall(r"\btollgate_[a-z_]+", expression))


def is_balanced(expression: str) -> bool:
    return all(expression.count(a) == expression.count(b) for a, b in ("()", "[]", "{}"))


def test_the_alert_rules_name_what_is_exported(names: set[str]) -> None:
    shipped = yaml.safe_load((ROOT / "platform/ops/prometheus-alerts.yml").read_text())
    rules = [rule for group in shipped["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        used = metric_names(rule["expr"])
        assert used, rule["alert"]
        assert used <= names, (rule["alert"], used - names)
        assert is_balanced(rule["expr"])
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "runbook"}


def test_the_dashboard_shows_everything_that_is_exported(names: set[str]) -> None:
    board = json.loads((ROOT / "platform/ops/grafana-dashboard.json").read_text())
    used: set[str] = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            assert is_balanced(expression), expression
            assert metric_names(expression) <= names, expression
            used |= metric_names(expression)
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if "tollgate" in name}
    assert {re.sub(r"_bucket$", "", name) for name in used} >= stems

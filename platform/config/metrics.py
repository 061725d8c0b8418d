"""`/metrics` for Prometheus: the metrics of this host's processes, and the state of the service.

Processes of one gunicorn share their metrics (`api/gateway/metrics.py`); another container or host
is another target to scrape. A process that serves pages adds the state of the whole service, from
the database, Valkey and the spool; every such target reports the same.
"""

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Iterator

import redis
import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection, connections, transaction
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client import multiprocess as shared
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector
from prometheus_client.values import MutexValue, ValueClass

from api.gateway.health import state_of
from api.gateway.http import Scope, Send
from api.tasks import HEARTBEAT_KEY
from billing.ledger import spool
from billing.ledger.alerts import runbook_line
from billing.pricing.money import NANOS_PER_DOLLAR

log = structlog.get_logger(__name__)

PATH = "/metrics"
FORBIDDEN = b"See METRICS_TOKEN in the operations manual.\n"
# The service's state is read at most this often.
STATE_SECONDS = 5.0
STATEMENT_TIMEOUT_MS = 2_000
_STATES = ("operational", "degraded", "offline")

POOL_CONNECTIONS = Gauge(
    "tollgate_page_pool_connections",
    "The pages' database connections.",
    ["state"],
    multiprocess_mode="livesum",
)
POOL_WAITING = Gauge(
    "tollgate_page_pool_waiting",
    "Pages that are waiting for a connection.",
    multiprocess_mode="livesum",
)

_HOLDS = """
SELECT count(*), coalesce(sum(amount_nanos), 0), coalesce(extract(epoch FROM now() -
    min(expires_at)), 0) FROM billing_reservation WHERE state = 'open'
"""
_ALERTS = "SELECT kind, count(*) FROM billing_ledgeralert WHERE handled_at IS NULL GROUP BY kind"
_FAILING_TARGETS = """
SELECT count(*) FROM api_alerttarget WHERE is_enabled AND failing_since IS NOT NULL
"""
_STRIPE_EVENTS = """
SELECT count(*) FROM billing_stripeevent WHERE state IN ('received', 'failed')
"""
_HEALTH = """
SELECT model, sum(succeeded)::int, sum(failed)::int FROM api_modelhealth
WHERE minute > now() - interval '5 minutes' GROUP BY model
"""


async def serve(scope: Scope, send: Send, *, has_pages: bool) -> None:
    """Answer a scrape: the metrics in Prometheus's text format, or 403."""
    status, content_type, body = 403, b"text/plain", FORBIDDEN
    if is_allowed(scope):
        status, content_type = 200, CONTENT_TYPE_LATEST.encode()
        body = await asyncio.to_thread(export, has_pages=has_pages)
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_allowed(scope: Scope) -> bool:
    """Return whether a request has the token, or comes straight from an allowed address.

    A proxy's address is not its client's, so a forwarded request needs the token.
    """
    headers = dict(scope["headers"])
    given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    token = settings.METRICS_TOKEN.encode()
    if token and secrets.compare_digest(given, token):
        return True
    if headers.keys() & {b"x-forwarded-for", b"forwarded", b"x-real-ip"}:
        return False
    try:
        peer = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(each) for each in settings.METRICS_ADDRESSES)


def export(*, has_pages: bool) -> bytes:
    """Return the metrics of this host's processes and, from one with pages, of the service."""
    if has_pages:
        _read_pool()
    text: bytes
    if ValueClass is not MutexValue:  # several processes, see config/gunicorn.py
        registry = CollectorRegistry()
        shared.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
    else:
        text = generate_latest(REGISTRY)
    if has_pages:
        state = CollectorRegistry()
        state.register(_STATE)
        text += generate_latest(state)
    return text


def _read_pool() -> None:
    pool = getattr(connections["default"], "pool", None)
    if pool is None:
        return
    stats = pool.get_stats()
    size, free = stats.get("pool_size", 0), stats.get("pool_available", 0)
    POOL_CONNECTIONS.labels("used").set(size - free)
    POOL_CONNECTIONS.labels("free").set(free)
    POOL_WAITING.set(stats.get("requests_waiting", 0))


class ServiceState(Collector):
    """Gauges from the database, Valkey and the spool; what can't be read is left out."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._metrics: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, read again if they are older than STATE_SECONDS."""
        if time.monotonic() - self._read_at > STATE_SECONDS:
            self._read_at = time.monotonic()
            self._metrics = [*_of_database(), *_of_celery(), _of_spool()]
        yield from self._metrics


_STATE = ServiceState()


def _of_database() -> Iterator[Metric]:
    up = GaugeMetricFamily("tollgate_database_up", "1 if PostgreSQL answers.")
    try:
        found = list(_database_gauges())
    except DatabaseError as error:
        log.warning("metrics_database_unavailable", error=repr(error))
        found = []
    finally:
        connection.close()
    up.add_metric([], 1.0 if found else 0.0)
    yield up
    yield from found


def _database_gauges() -> Iterator[Metric]:
    # In a transaction, so that the connection goes back to the pool without the timeout.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
        cursor.execute(_HOLDS)
        count, nanos, overdue_seconds = cursor.fetchone()
        yield _gauge("tollgate_open_holds", "Open reservations.", count)
        yield _gauge("tollgate_held_dollars", "What they hold.", nanos / NANOS_PER_DOLLAR)
        yield _gauge(
            "tollgate_hold_overdue_seconds",
            "How long ago the oldest open hold should have ended; 0 if none is overdue.",
            max(0.0, float(overdue_seconds)),
        )
        cursor.execute(_ALERTS)
        alerts = GaugeMetricFamily(
            "tollgate_unhandled_alerts",
            "Alerts that no one has acknowledged.",
            labels=["kind", "severity"],
        )
        for kind, number in cursor.fetchall():
            alerts.add_metric([kind, runbook_line(kind).severity], number)
        yield alerts
        cursor.execute(_FAILING_TARGETS)
        yield _gauge(
            "tollgate_failing_alert_targets",
            "Alert targets that can't be reached.",
            cursor.fetchone()[0],
        )
        cursor.execute(_STRIPE_EVENTS)
        yield _gauge(
            "tollgate_waiting_stripe_events",
            "Stripe events that have not been handled yet.",
            cursor.fetchone()[0],
        )
        cursor.execute(_HEALTH)
        states = GaugeMetricFamily(
            "tollgate_model_state",
            "A model's state in the last five minutes: 0 operational, 1 degraded, 2 offline.",
            labels=["model"],
        )
        for model, succeeded, failed in cursor.fetchall():
            states.add_metric([model], _STATES.index(state_of(succeeded, failed)))
        yield states


def _of_celery() -> Iterator[Metric]:
    up = GaugeMetricFamily("tollgate_valkey_up", "1 if Valkey answers.")
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1) as client:
            waiting = int(client.llen("celery"))
        beat_at = cache.get(HEARTBEAT_KEY)
    except redis.RedisError as error:
        log.warning("metrics_valkey_unavailable", error=repr(error))
        up.add_metric([], 0.0)
        yield up
        return
    up.add_metric([], 1.0)
    yield up
    yield _gauge("tollgate_celery_queue_tasks", "Tasks that are waiting for a worker.", waiting)
    if beat_at is not None:
        yield _gauge(
            "tollgate_celery_heartbeat_age_seconds",
            "How long ago a worker ran the task that beat queues every five seconds.",
            max(0.0, time.time() - float(beat_at)),
        )


def _of_spool() -> Metric:
    files = sum(len(list(folder.glob("*.jsonl"))) for folder in spool.folders())
    return _gauge(
        "tollgate_spooled_files", "Files of settlements that are waiting to be replayed.", files
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

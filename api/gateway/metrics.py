"""What a process measures of its requests for Prometheus (`config/metrics.py` exports it).

A request costs one append: of its settlement, which has everything that is measured. Once a second
a task counts the settlements and reads the gauges. The processes of one host share their figures
through files (`prometheus_client`'s multiprocess mode, set up in `config/gunicorn.py`).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from api import maintenance
from api.catalogue.snapshot import UpstreamEntry
from billing.ledger.gate import Settlement
from billing.pricing.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from api.gateway.process import Gateway

COUNT_SECONDS = 1.0
# The most that wait to be counted; beyond it the oldest are dropped.
MAX_SETTLEMENTS = 50_000

FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60, 120)
REQUEST_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 900)
TOKEN_INTERVAL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 5)

REQUESTS = Counter(
    "tollgate_requests", "Admitted requests that ended.", ["model", "endpoint", "outcome"]
)
TOKENS = Counter("tollgate_tokens", "Tokens that were charged.", ["model", "kind"])
COST_DOLLARS = Counter("tollgate_cost_dollars", "The customers' cost of requests.", ["model"])
UPSTREAM_COST_DOLLARS = Counter(
    "tollgate_upstream_cost_dollars", "What upstreams charge us.", ["model", "upstream"]
)
FIRST_TOKEN = Histogram(
    "tollgate_first_token_seconds",
    "Time to the first token of streams.",
    ["model"],
    buckets=FIRST_TOKEN_BUCKETS,
)
REQUEST_SECONDS = Histogram(
    "tollgate_request_seconds",
    "Time of completed requests, from their arrival to the settlement.",
    ["model"],
    buckets=REQUEST_BUCKETS,
)
TOKEN_INTERVAL = Histogram(
    "tollgate_token_interval_seconds",
    "Mean gap between the tokens of a completed stream, after the first.",
    ["model"],
    buckets=TOKEN_INTERVAL_BUCKETS,
)
ATTEMPTS = Counter(
    "tollgate_upstream_attempts", "Calls of upstreams.", ["upstream", "key", "status"]
)
LEDGER_STATEMENTS = Counter("tollgate_ledger_statements", "Batches sent to the ledger.", ["queue"])
LEDGER_ROWS = Counter("tollgate_ledger_rows", "Rows in those batches.", ["queue"])
LEDGER_QUEUE_ROWS = Gauge(
    "tollgate_ledger_queue_rows", "Rows that wait.", ["queue"], multiprocess_mode="livesum"
)
LEDGER_QUEUE_AGE = Gauge(
    "tollgate_ledger_queue_age_seconds",
    "How long the oldest row has waited.",
    ["queue"],
    multiprocess_mode="livemax",
)
RUNNING_REQUESTS = Gauge(
    "tollgate_running_requests", "Requests under way.", multiprocess_mode="livesum"
)
UPSTREAM_CALLS = Gauge(
    "tollgate_upstream_running_calls",
    "Calls of an upstream under way, by key.",
    ["upstream", "key"],
    multiprocess_mode="livesum",
)
UPSTREAM_LIMIT = Gauge(
    "tollgate_upstream_concurrency_limit",
    "Calls that an upstream's key gets at once: the rows' limit, or less while it is slow.",
    ["upstream", "key"],
    multiprocess_mode="livesum",
)
ROUTE_STATE = Gauge(
    "tollgate_route_state",
    "The circuit breaker of a route and key: 0 closed, 1 half-open, 2 open.",
    ["model", "upstream", "key", "upstream_model"],
    multiprocess_mode="livemax",
)
BREAKER_STATES = ("closed", "half_open", "open")
MAINTENANCE = Gauge(
    "tollgate_maintenance_mode", "1 during maintenance.", multiprocess_mode="livemax"
)

# The settlements to count; a process without a recorder keeps none.
settled: deque[Settlement] = deque(maxlen=0)


def _keep(most: int) -> None:
    """Keep at most so many settlements, from none on."""
    global settled  # noqa: PLW0603  # a process has one
    settled = deque(maxlen=most)


class Recorder:
    """Counts a gateway's requests and reads its gauges, from `open` to `close`."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._task: asyncio.Task[None] | None = None
        self._sent: dict[str, tuple[int, int]] = {}
        self._route_states: dict[tuple[str, str, str, str], int] = {}

    def open(self) -> None:
        """Start recording."""
        _keep(MAX_SETTLEMENTS)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, after counting what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
            self.record()
            _keep(0)

    def record(self) -> None:
        """Count the settlements since the last time, and set the gauges."""
        ended = [settled.popleft() for _ in range(len(settled))]
        count(ended)
        gateway = self._gateway
        RUNNING_REQUESTS.set(len(gateway.ticker.running))
        MAINTENANCE.set(maintenance.current.is_on)
        for queue in gateway.gate.queues:
            name = queue.function.removeprefix("billing_")
            waiting, age_seconds = queue.waiting()
            LEDGER_QUEUE_ROWS.labels(name).set(waiting)
            LEDGER_QUEUE_AGE.labels(name).set(age_seconds)
            statements, rows = self._sent.get(name, (0, 0))
            LEDGER_STATEMENTS.labels(name).inc(queue.statements_sent - statements)
            LEDGER_ROWS.labels(name).inc(queue.rows_sent - rows)
            self._sent[name] = (queue.statements_sent, queue.rows_sent)
        for upstream in _upstreams_of(gateway):
            limits = gateway.upstreams.limits
            limiter, labels = limits.of(upstream), (upstream.name, upstream.key_name)
            UPSTREAM_CALLS.labels(*labels).set(limiter.in_flight)
            UPSTREAM_LIMIT.labels(*labels).set(min(limiter.limit, limits.most_of(upstream)))

        self._record_routes()

    def _record_routes(self) -> None:
        """Set the gauges of the breakers; a route that left the catalogue has a closed one."""
        states = {
            (
                model.name,
                route.upstream.name,
                route.upstream.key_name,
                route.upstream_model,
            ): BREAKER_STATES.index(self._gateway.breakers.state(route.route_key))
            for model in self._gateway.catalogue.current.ordered
            if len(model.routes) > 1
            for route in model.routes
        }
        for labels in self._route_states | states:
            ROUTE_STATE.labels(*labels).set(states.get(labels, 0))
        self._route_states = states

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            self.record()


def count(settlements: Iterable[Settlement]) -> None:
    """Count settlements, adding each sum once per set of labels.

    Adding to a shared figure takes 3 µs, and a request has ten of them.
    """
    sums: defaultdict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)
    for settlement in settlements:
        model = settlement.model
        sums[REQUESTS, (model, settlement.endpoint, settlement.outcome)] += 1
        for attempt in settlement.attempts:
            upstream, key = str(attempt["upstream"]), str(attempt.get("key", ""))
            sums[ATTEMPTS, (upstream, key, str(attempt["status"]))] += 1
        for kind, tokens in (
            ("input", settlement.input_tokens),
            ("cached", settlement.cached_tokens),
            ("output", settlement.output_tokens),
            ("reasoning", settlement.reasoning_tokens),
        ):
            if tokens:
                sums[TOKENS, (model, kind)] += tokens
        cost_nanos = (
            settlement.input_nanos
            + settlement.cached_nanos
            + settlement.output_nanos
            + settlement.reasoning_nanos
            + settlement.units_nanos
        )
        if cost_nanos:
            sums[COST_DOLLARS, (model,)] += cost_nanos / NANOS_PER_DOLLAR
        if settlement.upstream_cost_nanos:
            dollars = settlement.upstream_cost_nanos / NANOS_PER_DOLLAR
            sums[UPSTREAM_COST_DOLLARS, (model, settlement.upstream)] += dollars
        if settlement.outcome == "completed":
            _count_times(settlement)
    for (counter, labels), amount in sums.items():
        counter.labels(*labels).inc(amount)


def _count_times(settlement: Settlement) -> None:
    REQUEST_SECONDS.labels(settlement.model).observe(settlement.latency_ms / 1000)
    first_ms = settlement.first_token_ms
    if first_ms is None:
        return
    FIRST_TOKEN.labels(settlement.model).observe(first_ms / 1000)
    if settlement.output_tokens > 1:
        gap_ms = (settlement.latency_ms - first_ms) / (settlement.output_tokens - 1)
        TOKEN_INTERVAL.labels(settlement.model).observe(max(gap_ms, 0) / 1000)


def _upstreams_of(gateway: "Gateway") -> list[UpstreamEntry]:
    """Return the catalogue's upstreams by each of their keys, without duplicates."""
    entries = (
        route.upstream for model in gateway.catalogue.current.ordered for route in model.routes
    )
    return list({(entry.id, entry.key_id): entry for entry in entries}.values())

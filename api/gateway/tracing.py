"""OpenTelemetry traces of requests, if OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

A request's spans are made when it is settled, from what the settlement has anyway: one for the
request, and below it one for each call of an upstream, named as the semantic conventions for
generative AI say (opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans). No span has a prompt,
an answer, an upstream's words, an API key, or whom the customer's request was for.

The SDK takes the rest from its own variables: OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
OTEL_EXPORTER_OTLP_HEADERS and so on. It is imported only if there is a collector.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from billing.ledger.gate import Settlement

if TYPE_CHECKING:
    from opentelemetry.context import Context

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5
NANOS_PER_MS = 1_000_000
NANOS_PER_SECOND = 1_000_000_000

# By the operation's name; others have no name in the conventions, and keep their own.
_OPERATIONS = {
    "chat_completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_SUCCESSES = frozenset({"completed", "empty"})


class Tracer:
    """Exports spans from a thread of its own; what the collector does not take is dropped."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._provider = TracerProvider(resource=Resource.create({"service.name": "tollgate"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tollgate")

    def record(self, settlement: Settlement, traceparent: bytes, began_at: Sequence[float]) -> None:
        """Make a request's spans.

        `traceparent` is the client's header (W3C Trace Context), or empty; `began_at` has the time
        (`time.monotonic()`) at which each of the settlement's attempts began.
        """
        try:
            self._record(settlement, traceparent, began_at)
        except Exception:  # which must not reach the request
            log.exception("request_not_traced", request_id=settlement.request_id)

    def _record(
        self, settlement: Settlement, traceparent: bytes, began_at: Sequence[float]
    ) -> None:
        from opentelemetry import trace  # noqa: PLC0415

        now_nanos, now = time.time_ns(), time.monotonic()
        attempts: list[tuple[dict[str, Any], int]] = [
            (attempt, now_nanos - round((now - began) * NANOS_PER_SECOND))
            for attempt, began in zip(settlement.attempts, began_at, strict=True)
        ]
        arrived_nanos = now_nanos - settlement.latency_ms * NANOS_PER_MS
        operation = _OPERATIONS.get(settlement.endpoint, settlement.endpoint)
        span = self._tracer.start_span(
            f"{operation} {settlement.model}",
            _context_of(traceparent),
            trace.SpanKind.SERVER,
            _attributes_of(settlement, operation),
            # The latency is rounded.
            start_time=min([arrived_nanos, *(began_nanos for _, began_nanos in attempts)]),
        )
        if settlement.outcome not in _SUCCESSES:
            span.set_status(trace.StatusCode.ERROR, settlement.outcome)
        context = trace.set_span_in_context(span)
        for attempt, began_nanos in attempts:
            ended_nanos = min(began_nanos + attempt["ms"] * NANOS_PER_MS, now_nanos)
            self._record_attempt(attempt, operation, context, began_nanos, ended_nanos)
        span.end(now_nanos)

    def _record_attempt(
        self,
        attempt: dict[str, Any],
        operation: str,
        context: "Context",
        began_nanos: int,
        ended_nanos: int,
    ) -> None:
        from opentelemetry import trace  # noqa: PLC0415

        status = attempt["status"]
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": attempt["upstream"],
            "gen_ai.request.model": attempt["upstream_model"],
        }
        if status:
            attributes["http.response.status_code"] = status
        if attempt["error"]:
            attributes["error.type"] = str(status or "no_answer")
        span = self._tracer.start_span(
            f"{operation} {attempt['upstream_model']}",
            context,
            trace.SpanKind.CLIENT,
            attributes,
            start_time=began_nanos,
        )
        if attempt["error"]:
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended_nanos)

    async def close(self) -> None:
        """Export what is left, within a few seconds."""
        flush = partial(self._provider.force_flush, CLOSE_SECONDS * 1000)
        await asyncio.to_thread(flush)
        await asyncio.to_thread(self._provider.shutdown)


# Of this process, while there is a collector.
tracer: Tracer | None = None


def open_tracer(collector_url: str) -> None:
    """Start tracing, unless the URL is empty."""
    global tracer  # noqa: PLW0603  # a process has one
    tracer = Tracer() if collector_url else None


async def close_tracer() -> None:
    """Stop tracing, after exporting what is left."""
    global tracer
    ended, tracer = tracer, None
    if ended is not None:
        await ended.close()


def _context_of(traceparent: bytes) -> "Context":
    """Return the context of the client's span; an empty one if its header has none."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    carrier = {"traceparent": traceparent.decode("latin-1")}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _attributes_of(settlement: Settlement, operation: str) -> dict[str, Any]:
    """Return a request's attributes, without those that are unknown."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": settlement.upstream,
        "gen_ai.request.model": settlement.model,
        "gen_ai.usage.input_tokens": settlement.input_tokens,
        "gen_ai.usage.output_tokens": settlement.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": settlement.cached_tokens,
        "http.request.method": "POST",
        "http.response.status_code": settlement.status,
        "tollgate.request_id": settlement.request_id,
        "tollgate.account_id": settlement.account_id,
        "tollgate.outcome": settlement.outcome,
        "tollgate.cost_nanos": settlement.input_nanos
        + settlement.cached_nanos
        + settlement.output_nanos
        + settlement.reasoning_nanos
        + settlement.units_nanos,
        "tollgate.is_streamed": settlement.streamed,
    }
    if settlement.finish_reason:
        attributes["gen_ai.response.finish_reasons"] = [settlement.finish_reason]
    if settlement.first_token_ms is not None:
        attributes["tollgate.first_token_ms"] = settlement.first_token_ms
    if settlement.outcome not in _SUCCESSES:
        attributes["error.type"] = settlement.outcome
    return attributes

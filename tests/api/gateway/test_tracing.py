"""Traces: what a collector gets of a request, and that nothing private is in it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.gateway import tracing
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import KEY, World, body, in_loop

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(HTTPServer):
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Any]:
        exports = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for export in exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Be quiet."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


@in_loop
async def _traced(world: World, **headers: str) -> Any:
    async with world:
        tracing.open_tracer("http://collector.example")
        try:
            return await world.post(body("my private prompt"), headers=headers)
        finally:
            await tracing.close_tracer()


def test_a_request_and_its_calls_are_spans_of_the_clients_trace(collector: Collector) -> None:
    bad = answer({"error": {"message": "the secret words"}}, status=500)
    world = World(bad, answer(completion()))
    _traced(world, traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01")

    spans = collector.spans
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    [request] = [span for span in spans if span.parent_span_id.hex() == PARENT_ID]
    calls = [span for span in spans if span is not request]
    first, second = sorted(calls, key=lambda span: span.start_time_unix_nano)
    assert {first.parent_span_id, second.parent_span_id} == {request.span_id}
    assert attributes(request)["tollgate.outcome"] == "completed"
    assert attributes(request)["gen_ai.operation.name"] == "chat"
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(first)["error.type"] == "500"
    assert "error.type" not in attributes(second)
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    assert second.end_time_unix_nano <= request.end_time_unix_nano


def test_no_span_has_what_is_private(collector: Collector) -> None:
    bad = answer({"error": {"message": "the secret words"}}, status=400)
    _traced(World(bad))

    assert len(collector.spans) == 2
    sent = b"".join(collector.bodies)
    for private in (b"secret words", KEY.encode(), KEY[-4:].encode(), b"private prompt"):
        assert private not in sent


def test_without_a_collector_nothing_is_traced(collector: Collector) -> None:
    @in_loop
    async def run() -> None:
        async with World(answer(completion())) as world:
            tracing.open_tracer("")
            await world.chat()
            await tracing.close_tracer()

    run()
    assert tracing.tracer is None
    assert collector.bodies == []

"""The bench's load: keep-alive clients on raw socket protocols, cheap enough to stay unnoticed.

`python -m tests.bench.load plain|streams|idle PORT PATH KEY AMOUNT SECONDS` prints one JSON object.
"""

import asyncio
import json
import statistics
import sys
import time
from typing import Any

import uvloop


def request(path: str, key: str, *, stream: bool = False, stall: bool = False) -> bytes:
    """Return the bytes of one chat completion's request."""
    body: dict[str, Any] = {
        "model": "bench",
        "max_tokens": 200,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
    }
    if stream:
        body["stream"] = True
    if stall:
        body["user"] = "stall"
    payload = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


class PlainClient(asyncio.Protocol):
    """Sends a request, waits for its answer, sends the next, until the deadline."""

    def __init__(self, payload: bytes, deadline: float) -> None:
        self._payload = payload
        self._deadline = deadline
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._payload)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._finish(RuntimeError(self._received.decode()))
            return
        self._received = b""
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now >= self._deadline:
            self._finish(None)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(RuntimeError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self._transport.close()


class StreamClient(asyncio.Protocol):
    """Reads one stream to its end (or, for an idle one, until it is closed) and counts events."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.events = 0
        self.first_event_seconds = 0.0
        self.done = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._sent_at = time.perf_counter()
        transport.write(self._payload)

    def data_received(self, data: bytes) -> None:
        count = data.count(b'"content":"tok "')
        if count and not self.events:
            self.first_event_seconds = time.perf_counter() - self._sent_at
        self.events += count
        self._tail = (self._tail + data)[-200:]
        if b"data: [DONE]" in self._tail:
            self._finish(None)
        elif b"HTTP/1.1 " in data and b"HTTP/1.1 200" not in data:
            self._finish(RuntimeError(data.decode()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(RuntimeError("the server closed the connection"))
        if self.done.done() and not self.done.cancelled():
            self.done.exception()  # of an idle stream, which nothing awaits

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self.transport.close()


async def plain(port: int, payload: bytes, clients: int, seconds: float) -> dict[str, float]:
    """Return requests per second and the median latency of `clients` connections."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    protocols = [
        (
            await loop.create_connection(
                lambda: PlainClient(payload, started + seconds), "127.0.0.1", port
            )
        )[1]
        for _ in range(clients)
    ]
    await asyncio.gather(*[protocol.done for protocol in protocols])
    elapsed = time.perf_counter() - started
    latencies = [latency for protocol in protocols for latency in protocol.latencies]
    return {
        "rps": len(latencies) / elapsed,
        "p50_ms": statistics.median(latencies) * 1000,
        "requests": len(latencies),
    }


async def _open_streams(port: int, payload: bytes, count: int) -> list[StreamClient]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: StreamClient(payload), "127.0.0.1", port)
        clients.append(client)
        await asyncio.sleep(0.002)
    return clients


async def streams(port: int, payload: bytes, count: int) -> dict[str, float]:
    """Return events per second of `count` streams at once and the median time to the first."""
    started = time.perf_counter()
    clients = await _open_streams(port, payload, count)
    await asyncio.gather(*[client.done for client in clients])
    elapsed = time.perf_counter() - started
    events = sum(client.events for client in clients)
    return {
        "events": events,
        "events_per_second": events / elapsed,
        "ttft_p50_ms": statistics.median(c.first_event_seconds for c in clients) * 1000,
    }


async def idle(port: int, payload: bytes, count: int, seconds: float) -> dict[str, float]:
    """Hold `count` streams open that say nothing after their first event."""
    clients = await _open_streams(port, payload, count)
    await asyncio.sleep(seconds)
    silent = sum(client.events == 0 for client in clients)
    for client in clients:
        client.transport.abort()
    return {"streams": count, "without_first_event": silent}


async def main() -> None:
    """Run the load that the command line names."""
    kind, port, path, key, amount, seconds = sys.argv[1:7]
    if kind == "plain":
        figures = await plain(int(port), request(path, key), int(amount), float(seconds))
    elif kind == "streams":
        figures = await streams(int(port), request(path, key, stream=True), int(amount))
    else:
        payload = request(path, key, stream=True, stall=True)
        figures = await idle(int(port), payload, int(amount), float(seconds))
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.run(main())

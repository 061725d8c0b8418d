"""A client that calls the simulator's application directly, and one real server for the rest."""

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from simulator.app import application
from simulator.journal import journal
from tests.stripe_simulator import Endpoint, StripeSimulator, running_simulator

PROMPT = [{"role": "user", "content": "Hello, sim!"}]  # 11 bytes: 3 tokens


@dataclass(repr=False)  # a body of megabytes is nothing to print
class SimulatorAnswer:
    """What the application sent for one call."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream: JSON objects, and "[DONE]" as it is."""
        texts = [line for line in self.body.decode().splitlines() if line.startswith("data:")]
        texts = [text.removeprefix("data:").strip() for text in texts]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [event for event in self.events if isinstance(event, dict)]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]

    def text(self, name: str = "content", index: int = 0) -> str:
        """One field of one choice, joined over the stream."""
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", [])]
        return "".join(
            choice["delta"].get(name) or "" for choice in choices if choice["index"] == index
        )


class Simulator:
    """Calls the application without a server."""

    def get(self, path: str, script: str = "") -> SimulatorAnswer:
        return self.call("GET", path, b"", script)

    def post(self, path: str, body: Any, script: str = "", **how: Any) -> SimulatorAnswer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, data, script, **how)

    def chat(self, script: str = "", **fields: Any) -> SimulatorAnswer:
        return self.post("/v1/chat/completions", chat_body(**fields), script)

    def stream(self, script: str = "", **fields: Any) -> SimulatorAnswer:
        return self.chat(script, stream=True, **fields)

    def call(
        self,
        method: str,
        path: str,
        data: bytes,
        script: str = "",
        *,
        headers: dict[str, str] | None = None,
        leave: str = "",
        leave_after: float = 0.1,
    ) -> SimulatorAnswer:
        """One call. The client may `leave` by "message" (as ASGI tells it) or by "cancel"."""
        target, _, query = path.partition("?")
        sent = {"x-simulate": script, "x-request-id": "req-1"} | (headers or {})
        scope = {
            "type": "http",
            "method": method,
            "path": target,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        return asyncio.run(_exchange(scope, data, leave, leave_after))

    def entry(self) -> dict[str, Any]:
        """The newest entry of the journal."""
        return self.get("/journal?limit=1").json[0]


async def _exchange(
    scope: dict[str, Any], data: bytes, leave: str, leave_after: float
) -> SimulatorAnswer:
    answer = SimulatorAnswer()
    left = asyncio.Event()
    # The body comes in two halves, as from a slow client.
    half = len(data) // 2
    messages = [
        {"type": "http.request", "body": data[half:], "more_body": False},
        {"type": "http.request", "body": data[:half], "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        else:
            answer.pieces += [message["body"]] if message["body"] else []
            answer.complete = not message.get("more_body", False)

    call = asyncio.create_task(application(scope, receive, send))
    if leave:
        await asyncio.sleep(leave_after)
        call.cancel() if leave == "cancel" else left.set()
        await asyncio.gather(call, return_exceptions=True)
    else:
        await asyncio.wait_for(call, 30)
    return answer


def chat_body(**fields: Any) -> dict[str, Any]:
    """A chat request with these fields over the usual ones."""
    return {"model": "sim", "messages": PROMPT} | fields


def send_form(
    sim: Simulator,
    path: str,
    fields: dict[str, str],
    files: list[tuple[str, bytes]],
    script: str = "",
) -> SimulatorAnswer:
    """Post a multipart form, as browsers and SDKs write it."""
    parts = [
        f'--B-1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts += [
        f'--B-1\r\nContent-Disposition: form-data; name="{name}"; filename="a.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    headers = {"content-type": 'multipart/form-data; boundary="B-1"'}
    return sim.post(path, b"".join(parts) + b"--B-1--\r\n", script, headers=headers)


class Server:
    """The simulator under gunicorn, and raw sockets to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def connect(self, body: dict[str, Any], request_id: str) -> socket.socket:
        """A connection on which a chat request has been sent."""
        data = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\n"
            f"X-Request-Id: {request_id}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        connection.sendall(head.encode() + data)
        return connection

    def journal(self, request_id: str) -> dict[str, Any]:
        """The entry of a call."""
        with urllib.request.urlopen(f"{self.url}/journal?request_id={request_id}") as answer:
            (entry,) = json.load(answer)
        return entry

    def ended(self, request_id: str, within_s: float = 30) -> dict[str, Any]:
        """The entry of a call, once it has ended."""
        until = time.monotonic() + within_s
        while (entry := self.journal(request_id))["end"] is None:
            assert time.monotonic() < until, f"still open: {entry}"
            time.sleep(0.01)
        return entry


@pytest.fixture
def sim() -> Simulator:
    journal.clear()
    return Simulator()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_simulator() as url:
        yield Server(int(url.rpartition(":")[2]))


@pytest.fixture(scope="session")
def _stripe(server: Server) -> StripeSimulator:
    return StripeSimulator(f"{server.url}/stripe")


@pytest.fixture
def simulator(_stripe: StripeSimulator) -> StripeSimulator:
    """A stand-in for Stripe that knows nothing yet; its events are held."""
    _stripe.start_afresh()
    return _stripe


@pytest.fixture
def client(simulator: StripeSimulator) -> stripe.StripeClient:
    """Stripe's own SDK, with the stand-in at the other end."""
    return simulator.client


@pytest.fixture
def endpoint(simulator: StripeSimulator) -> Iterator[Endpoint]:
    """Take the events that the test makes, as they come."""
    taking = Endpoint()
    simulator.control("webhooks", url=taking.url, hold=False)
    yield taking
    simulator.start_afresh()
    taking.close()

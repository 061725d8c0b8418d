"""HTTP responses."""

import json
from dataclasses import dataclass, field
from typing import Any

from simulator.exchange import Send


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, content type, body and further headers."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        """Send it through ASGI's `send`."""
        headers = {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            "request-id": "req_simulated",
            **self.headers,
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(status: int, body: Any) -> Reply:
    """Return an answer of JSON."""
    return Reply(status, "application/json", json.dumps(body).encode())


def web_page(text: str, status: int = 200) -> Reply:
    """Return an answer of HTML."""
    return Reply(status, "text/html; charset=utf-8", text.encode())


def redirect(url: str) -> Reply:
    """Return the way to another page, after a form."""
    return Reply(303, "text/plain", b"", {"location": url})

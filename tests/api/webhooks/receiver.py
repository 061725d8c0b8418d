"""What tests of customers' webhooks share: a server that takes them, endpoints, and rounds."""

import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from accounts.access import Actor
from accounts.models import Role, Team, WebhookDelivery, WebhookEndpoint
from api.webhooks import delivery, endpoints
from api.webhooks.client import WebhookClient


class Receiver:
    """A web server that keeps what it gets; `statuses` are what it answers, the last repeats."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [200]
        self.body = b"thank you"
        self.trickles = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("location", f"{receiver.url}/elsewhere")
                self.end_headers()
                if receiver.trickles:
                    self._trickle()
                else:
                    self.wfile.write(receiver.body)

            def _trickle(self) -> None:
                try:
                    for _ in range(600):
                        self.wfile.write(b".")
                        time.sleep(0.1)
                except OSError:
                    pass  # the client has had enough

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


def endpoint_of(team: Team, url: str, *events: str, **values: Any) -> tuple[WebhookEndpoint, str]:
    """Return a new endpoint of the team and its secret."""
    fields: dict[str, Any] = {"low_balance_nanos": 5 * 10**9, "ip_address": None, **values}
    actor = Actor(team=team, role=Role.OWNER)
    return endpoints.create(actor, url, events=events, **fields)


def run_round() -> int:
    """Send what is due, as a worker does; threads are left out. Return how many were sent."""
    with WebhookClient() as client:
        messages = delivery.messages_of(delivery.claim_due())
        for each in messages:
            delivery.record(each.delivery, client.post(each.url, each.body, each.headers))
    return len(messages)


def later(**delta: float) -> None:
    """Let time pass for the deliveries and the endpoints."""
    shift = timedelta(**delta)
    for each in WebhookDelivery.objects.filter(state="waiting"):
        each.next_attempt_at -= shift
        each.save(update_fields=["next_attempt_at"])
    for endpoint in WebhookEndpoint.objects.exclude(failing_since=None):
        assert endpoint.failing_since is not None
        endpoint.failing_since -= shift
        endpoint.save(update_fields=["failing_since"])


def events_of(team: Team) -> list[tuple[str, dict[str, Any]]]:
    """Return the team's events in their order: types and data."""
    deliveries = WebhookDelivery.objects.filter(endpoint__team=team).select_related("event")
    return [(each.event.type, each.event.data) for each in deliveries.order_by("pk")]

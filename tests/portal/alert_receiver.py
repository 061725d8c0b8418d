"""What tests of alerts share: a web server that gets them, targets, and a round of deliveries."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from django.utils import timezone

from api.alert_targets import store_secret
from api.models import AlertTarget
from portal.alerts import delivery

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LEAK = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


class Receiver:
    """A web server that keeps what it gets; `statuses` are what it answers, the last repeats."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses = [200]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.path, headers, body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("location", "http://127.0.0.1/elsewhere")
                self.end_headers()
                self.wfile.write(b"a body with " + LEAK.encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def target_of(channel: str, address: str = "", secret: str = "", **values: Any) -> AlertTarget:
    """Return a new target."""
    target = AlertTarget(name=f"{channel} {timezone.now()}", channel=channel, address=address)
    for name, value in values.items():
        setattr(target, name, value)
    if secret:
        store_secret(target, secret)
    target.save()
    return target


def run_round() -> int:
    """Have a round find and send what is due; Celery's queue is left out."""
    delivery.add_deliveries()
    return sum(map(delivery.send_message, delivery.claim_due()))

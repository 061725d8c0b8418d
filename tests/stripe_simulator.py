"""The stand-in for Stripe, for tests: its process, its controls, and a person at its pages.

Billing's code reaches it with `STRIPE_API_BASE = simulator.url`. Its events wait for `take`,
signed, so that a test can hand them to Django's client in any order it likes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import stripe

SECRET = "whsec_for_tests"
PAGES = {
    "success_url": "http://127.0.0.1/paid?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "http://127.0.0.1/back",
}


class StripeSimulator:
    """One stand-in at `url` (what `STRIPE_API_BASE` is)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = stripe.StripeClient(
            "sk_test_simulated", base_addresses={"api": url}, max_network_retries=0
        )
        self.web = httpx.Client(timeout=30)

    def control(self, action: str, **order: Any) -> Any:
        """Have it do something (the controls of platform/simulator/README.md)."""
        answer = self.web.post(f"{self.url}/control/{action}", json=order)
        assert answer.is_success, answer.text
        return answer.json()

    def pay(self, page: str, card: str = "pm_card_visa", **typed: str) -> httpx.Response:
        """Send a Checkout page's form, as a person who chose this test card would."""
        return self.web.post(f"{page}/pay", data={"card": card} | typed)

    def take(self) -> list[dict[str, str]]:
        """Return the events so far, in their order, each once: id, type, payload, signature."""
        return list(self.control("take"))

    def session(self, mode: str = "payment", **more: Any) -> Any:
        """Return a new Checkout session of the mode."""
        return self.client.v1.checkout.sessions.create({"mode": mode, **PAGES, **more})

    def top_up(self, cents: int = 1000, **more: Any) -> Any:
        """Return a new Checkout session for credits."""
        price = {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Credits"}}
        lines = [{"price_data": price, "quantity": 1}]
        return self.session(**({"line_items": lines} | more))

    def paid_charge(self, cents: int = 1000, **more: Any) -> Any:
        """Return the charge of a top-up that was paid."""
        assert self.pay(self.top_up(cents, **more).url).status_code == 303
        return self.client.v1.charges.list({"limit": 1}).data[0]

    def monthly_price(self, cents: int = 2000) -> Any:
        """Return a new price of a monthly plan."""
        return self.client.v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": cents,
                "recurring": {"interval": "month"},
                "product_data": {"name": f"Plan of {cents}"},
            }
        )

    def subscribe(self, cents: int = 2000, **more: Any) -> Any:
        """Return a subscription that a person took out at Checkout."""
        lines = [{"price": self.monthly_price(cents).id, "quantity": 1}]
        session = self.session("subscription", line_items=lines, **more)
        assert self.pay(session.url, email="a@example.com").status_code == 303
        paid = self.client.v1.checkout.sessions.retrieve(session.id)
        return self.client.v1.subscriptions.retrieve(paid.subscription)

    def start_afresh(self, *, hold: bool = True) -> None:
        """Forget everything; with `hold` the events wait for `take` or the control `release`."""
        self.control("forget")
        self.control("webhooks", url="", secret=SECRET, hold=hold)


class Endpoint:
    """Takes webhooks as a merchant would, and keeps the events whose signature is right."""

    def __init__(self) -> None:
        events: list[stripe.Event] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["content-length"]))
                try:
                    signature = self.headers["stripe-signature"]
                    events.append(stripe.Webhook.construct_event(payload, signature, SECRET))
                    self.send_response(200)
                except stripe.SignatureVerificationError:
                    self.send_response(400)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.events = events
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def kinds(self) -> list[str]:
        """The types of the events that came."""
        return [event.type for event in self.events]

    def wait_until(self, enough: Callable[[list[str]], bool], seconds: float = 10) -> list[str]:
        """Return the events' types once they are enough; fails when they never are."""
        deadline = time.monotonic() + seconds
        while not enough(self.kinds):
            assert time.monotonic() < deadline, self.kinds
            time.sleep(0.02)
        return self.kinds

    def wait_for(self, *kinds: str) -> list[str]:
        """Return the events' types once these are among them."""
        return self.wait_until(lambda came: set(kinds) <= set(came))

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()


@contextmanager
def running_simulator() -> Iterator[str]:
    """Run the simulator under gunicorn; gives its address, without `/stripe`."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        port, handle = listening.getsockname()[1], listening.fileno()
        command = [sys.executable, "-m", "gunicorn", "-k", "asgi", "--workers", "1"]
        command += ["--bind", f"fd://{handle}", "--log-level", "critical", "--keep-alive", "75"]
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        process = subprocess.Popen(
            [*command, "simulator.app:application"], pass_fds=[handle], env=environment
        )
    try:
        url = f"http://127.0.0.1:{port}"
        # The socket listens already: the first call simply waits for the worker.
        answer = httpx.get(f"{url}/healthz", timeout=20)
        assert json.loads(answer.text)["status"] == "ok"
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)  # gunicorn's quick end
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""The stand-in as an ASGI application: Stripe's API under /v1, its pages, and the test's controls.

`STRIPE_SIMULATOR_FILE` keeps its state over restarts; `STRIPE_WEBHOOK_URL` and
`STRIPE_WEBHOOK_SECRET` say where events go and how they are signed. One process, always.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from simulator.exchange import Message, Receive, Request, Send, read_request
from simulator.stripe import form, pages
from simulator.stripe.checkout import Checkout
from simulator.stripe.controls import Controls
from simulator.stripe.errors import StripeError
from simulator.stripe.idempotency import Idempotency
from simulator.stripe.payments import Payments
from simulator.stripe.routes import Api
from simulator.stripe.store import Store
from simulator.stripe.subscriptions import Subscriptions
from simulator.stripe.webhooks import Webhooks

MOUNT = "/stripe"
Reply = tuple[int, str, bytes, dict[str, str]]


class StripeApplication:
    """One Stripe account in test mode."""

    def __init__(self, environment: dict[str, str]) -> None:
        file = environment.get("STRIPE_SIMULATOR_FILE")
        self.store = Store(Path(file) if file else None)
        self.webhooks = Webhooks(
            self.store,
            environment.get("STRIPE_WEBHOOK_URL", ""),
            environment.get("STRIPE_WEBHOOK_SECRET", "whsec_simulated"),
        )
        payments = Payments(self.store, self.webhooks)
        subscriptions = Subscriptions(self.store, self.webhooks, payments)
        self.checkout = Checkout(self.store, self.webhooks, payments, subscriptions)
        self.api = Api(self.store, payments, subscriptions, self.checkout)
        self.controls = Controls(self.store, self.webhooks, payments, subscriptions)
        self.payments = payments
        self.idempotency = Idempotency()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP request; the path may begin with /stripe."""
        request = await read_request(scope, receive)
        if request is None:
            return
        path = request.path.removeprefix(MOUNT)
        try:
            if path.startswith("/v1/"):
                reply = await self._answer_api(request, path)
            elif path.startswith("/control/"):
                reply = _json(200, self.controls.obey(path.removeprefix("/control/"), request.body))
            else:
                reply = self._show_page(request, path)
        except StripeError as error:
            reply = _json(error.status, error.body())
        await _send(send, reply)

    async def _answer_api(self, request: Request, path: str) -> Reply:
        if not _has_key(request):
            raise StripeError("You did not provide an API key.", status=401)
        key = request.headers.get("idempotency-key", "")
        self.controls.note_call(request.method, path, key)
        if request.method == "POST" and key:
            kept = self.idempotency.find(key, path, request.body)
            if kept is not None:
                return (*kept, {"idempotent-replayed": "true"})
        trouble = self.controls.trouble()
        if trouble == "error_before":
            return _json(500, {"error": {"type": "api_error", "message": "Simulated failure."}})
        if trouble == "hang_before":
            await asyncio.sleep(self.controls.hang_seconds)
        reply = self._act(request, path)
        if request.method == "POST" and key:
            self.idempotency.keep(key, path, request.body, reply[:3])
        if trouble == "error_after":
            return _json(500, {"error": {"type": "api_error", "message": "Simulated failure."}})
        if trouble == "hang_after":
            await asyncio.sleep(self.controls.hang_seconds)
        return reply

    def _act(self, request: Request, path: str) -> Reply:
        own_url = f"http://{request.headers.get('host', '127.0.0.1')}{MOUNT}"
        said = request.body.decode() if request.method == "POST" else request.query_text
        try:
            return _json(200, self.api.answer(request.method, path, form.decode(said), own_url))
        except StripeError as error:
            return _json(error.status, error.body())

    def _show_page(self, request: Request, path: str) -> Reply:
        kind, _, rest = path.strip("/").partition("/")
        number, _, deed = rest.partition("/")
        said = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        if kind == "checkout":
            return self._show_checkout(request, number, deed, said)
        if kind == "portal":
            return self._show_portal(request, number, deed, said)
        if kind == "invoices":
            return _html(pages.invoice(self.store.get("invoice", number)))
        raise StripeError(f"There is nothing at {path}.", status=404)

    def _show_checkout(
        self, request: Request, number: str, deed: str, said: dict[str, str]
    ) -> Reply:
        session = self.store.get("checkout.session", number)
        try:
            self.checkout.open_session(number)
            if request.method == "POST":
                card = said.get("card", "pm_card_visa")
                done = deed == "authenticate"
                return _redirect(self.checkout.pay(number, card, authenticated=done))
        except StripeError as error:
            if session["status"] != "open":
                return _html(pages.page("Checkout", f"<p>{error}</p>"), 410)
            return _html(pages.checkout(session, str(error)))
        if deed == "authenticate":
            return _html(pages.authentication(session, request.query.get("card", "pm_card_visa")))
        return _html(pages.checkout(session))

    def _show_portal(self, request: Request, number: str, deed: str, said: dict[str, str]) -> Reply:
        session = self.store.get("billing_portal.session", number)
        customer = self.store.get("customer", session["customer"])
        if request.method == "POST":
            if deed == "add":
                self.payments.attach(said["card"], customer["id"])
            elif deed == "remove":
                self.payments.detach(said["method"])
            elif deed == "default":
                settings = {"invoice_settings": {"default_payment_method": said["method"]}}
                self.payments.update_customer(customer["id"], settings)
            return _redirect(session["url"])
        methods = self.store.find("payment_method", lambda each: each["customer"] == customer["id"])
        invoices = self.store.find("invoice", lambda each: each["customer"] == customer["id"])
        return _html(
            pages.portal(customer, methods, invoices, session["url"], session["return_url"])
        )


def _has_key(request: Request) -> bool:
    return request.authorized or request.headers.get("authorization", "").startswith("Basic ")


def _json(status: int, body: Any) -> Reply:
    return status, "application/json", json.dumps(body).encode(), {}


def _html(text: str, status: int = 200) -> Reply:
    return status, "text/html; charset=utf-8", text.encode(), {}


def _redirect(url: str) -> Reply:
    return 303, "text/plain", b"", {"location": url}


async def _send(send: Send, reply: Reply) -> None:
    status, content_type, body, more = reply
    headers = {"content-type": content_type, "request-id": "req_simulated", **more}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


application: Callable[[Message, Receive, Send], Awaitable[None]] = StripeApplication(
    dict(os.environ)
)

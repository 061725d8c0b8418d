"""The stand-in as an ASGI application: Stripe's API under /v1, its pages, and the test's controls.

`STRIPE_SIMULATOR_FILE` keeps its state over restarts; `STRIPE_WEBHOOK_URL` and
`STRIPE_WEBHOOK_SECRET` say where events go and how they are signed. One process, always.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from simulator.exchange import Message, Receive, Request, Send, read_request
from simulator.stripe import form
from simulator.stripe.account import Account
from simulator.stripe.controls import Controls
from simulator.stripe.errors import StripeError
from simulator.stripe.idempotency import Idempotency
from simulator.stripe.reply import Reply, json_reply
from simulator.stripe.routes import Api
from simulator.stripe.site import Site

log = logging.getLogger(__name__)

MOUNT = "/stripe"
FAILURE = {"error": {"type": "api_error", "message": "Simulated failure."}}


class StripeApplication:
    """One Stripe account in test mode."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        file = environment.get("STRIPE_SIMULATOR_FILE")
        self._account = Account(
            Path(file) if file else None,
            environment.get("STRIPE_WEBHOOK_URL", ""),
            environment.get("STRIPE_WEBHOOK_SECRET", "whsec_simulated"),
        )
        self._api = Api(self._account)
        self._site = Site(self._account)
        self._idempotency = Idempotency()
        self._controls = Controls(self._account, self._idempotency)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; the path begins with /stripe."""
        request = await read_request(scope, receive)
        if request is None:
            return
        store = self._account.store
        store.own_url = f"http://{request.headers.get('host', '127.0.0.1')}{MOUNT}"
        # In a task of its own: a client that leaves stops nothing, as it stops nothing at Stripe.
        reply = await asyncio.shield(asyncio.create_task(self._answer(request)))
        await reply.send(send)

    async def _answer(self, request: Request) -> Reply:
        path = request.path.removeprefix(MOUNT)
        try:
            if path.startswith("/v1/"):
                return await self._answer_api(request, path)
            if path.startswith("/control/"):
                action = path.removeprefix("/control/")
                return json_reply(200, await self._controls.run(action, request.body))
            return self._site.show(request, path)
        except StripeError as error:
            return json_reply(error.status, error.body())
        except (KeyError, ValueError) as error:
            log.exception("the stand-in for Stripe does not understand %s", path)
            return json_reply(400, StripeError(f"Missing or invalid: {error}").body())
        finally:
            if request.method != "GET":
                self._account.store.flush()

    async def _answer_api(self, request: Request, path: str) -> Reply:
        """Answer an API call: once per idempotency key, with the faults a test asked for."""
        if not (request.authorized or "authorization" in request.headers):
            raise StripeError("You did not provide an API key.", status=401)
        key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
        self._controls.note_call(request.method, path, key)
        if kept := self._idempotency.find(key, path, request.body):
            return Reply(*kept, {"idempotent-replayed": "true"})
        fault = self._controls.next_fault(request.method, path)
        if fault == "rate_limit":
            raise StripeError("Request rate limit exceeded", status=429, code="rate_limit")
        if fault == "error_before":
            return json_reply(500, FAILURE)
        self._idempotency.begin(key)
        try:
            if fault == "hang_before":
                await asyncio.sleep(self._controls.hang_seconds)
            reply = self._carry_out(request, path)
            if fault == "error_kept":
                reply = json_reply(500, FAILURE)
            answer = (reply.status, reply.content_type, reply.body)
            self._idempotency.keep(key, path, request.body, answer)
        finally:
            self._idempotency.end(key)
        if fault == "hang_after":
            await asyncio.sleep(self._controls.hang_seconds)
        return json_reply(500, FAILURE) if fault == "error_after" else reply

    def _carry_out(self, request: Request, path: str) -> Reply:
        text = request.body.decode() if request.method == "POST" else request.query_text
        try:
            return json_reply(200, self._api.answer(request.method, path, form.decode(text)))
        except StripeError as error:
            return json_reply(error.status, error.body())


application = StripeApplication(os.environ)

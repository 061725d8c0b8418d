"""Events and their delivery: signed, at least once, in no order, and worse where a test asks.

Delivery has a delivery that tests set: `copies` of each event, `delay_seconds` before it and up to
`jitter_seconds` more, `lose` (kinds that are never sent, "*" for all), `hold` (kept until `release`
or `take`).
"""

import asyncio
import hashlib
import hmac
import json
import logging
import random
import time
from typing import Any

import httpx

from simulator.stripe.present import present
from simulator.stripe.store import API_VERSION, Store, Thing

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.2, 1, 5, 30)
TIMEOUT_SECONDS = 10


def signature(payload: bytes, secret: str, timestamp: int) -> str:
    """Return the header `Stripe-Signature` of a payload (docs.stripe.com/webhooks/signature)."""
    signed = f"{timestamp}.".encode() + payload
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Webhooks:
    """One endpoint at `url`, signed for with `secret`. Without a URL events are only kept."""

    def __init__(self, store: Store, url: str, secret: str) -> None:
        self._store = store
        self.url = url
        self.secret = secret
        self.calm()
        self.held: list[Thing] = []
        self._under_way: set[asyncio.Task[None]] = set()
        # No connection is kept: one that the endpoint closes meanwhile would look like a refusal.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def calm(self) -> None:
        """Deliver each event once and at once, from now on."""
        self.delivery: dict[str, Any] = {
            "copies": 1, "delay_seconds": 0, "jitter_seconds": 0, "lose": [], "hold": False,
        }  # fmt: skip

    def emit(self, kind: str, thing: Thing, previous: Thing | None = None) -> Thing:
        """Make an event about an object as it is now, and send it on its way."""
        data: Thing = {"object": present(self._store, thing)}
        if previous:
            data["previous_attributes"] = previous
        event = self._store.create(
            "event",
            "evt",
            api_version=API_VERSION,
            data=data,
            pending_webhooks=1,
            request={"id": None, "idempotency_key": None},
            type=kind,
        )
        if self.delivery["hold"]:
            self.held.append(event)
        elif kind not in self.delivery["lose"] and "*" not in self.delivery["lose"]:
            for _ in range(int(self.delivery["copies"])):
                self.send(event)
        return event

    def send(self, event: Thing) -> None:
        """Deliver an event in the background, with a few repeats where it is not taken."""
        if not self.url:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def take_held(self) -> list[Thing]:
        """Return the events that were held, which are held no longer."""
        held, self.held = self.held, []
        return held

    def signed(
        self, event: Thing, *, secret: str | None = None, timestamp: int | None = None
    ) -> Thing:
        """Return an event as it is sent: `payload` and `signature`, both texts."""
        payload = json.dumps(event).encode()
        when = int(time.time()) if timestamp is None else timestamp
        header = signature(payload, self.secret if secret is None else secret, when)
        return {"payload": payload.decode(), "signature": header}

    async def post(self, payload: str, header: str) -> tuple[int, str]:
        """Send a payload once; return the endpoint's status and body (0 where none came)."""
        headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": header}
        try:
            answer = await self._client.post(self.url, content=payload.encode(), headers=headers)
        except httpx.HTTPError as error:
            log.warning("the webhook endpoint does not answer: %r", error)
            return 0, repr(error)
        return answer.status_code, answer.text

    async def deliver_now(self, event: Thing) -> int:
        """Send an event once, and return the endpoint's status."""
        delivery = self.signed(event)
        status, _ = await self.post(delivery["payload"], delivery["signature"])
        if 200 <= status < 300:
            event["pending_webhooks"] = 0
        return status

    async def _deliver(self, event: Thing) -> None:
        jitter = random.random() * float(self.delivery["jitter_seconds"])
        await asyncio.sleep(float(self.delivery["delay_seconds"]) + jitter)
        for pause in (*RETRY_SECONDS, None):
            if 200 <= await self.deliver_now(event) < 300 or pause is None:
                return
            await asyncio.sleep(pause)

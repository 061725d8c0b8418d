"""Events and their delivery: signed, at least once, in no order, and worse where a test asks.

Delivery has a temper that tests set: `copies` of each event, `delay_seconds` before it, `lose`
(never sent), `hold` (kept until `release`, then in the order asked for).
"""

import asyncio
import copy
import hashlib
import hmac
import json
import logging
import time
from typing import Any

import httpx

from simulator.stripe.store import API_VERSION, Store, Thing

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.2, 1, 5, 30)
TIMEOUT_SECONDS = 10


def signature(payload: bytes, secret: str, timestamp: int) -> str:
    """Returns the header `Stripe-Signature` of a payload (docs.stripe.com/webhooks/signature)."""
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
        self._held: list[Thing] = []
        self._under_way: set[asyncio.Task[None]] = set()

    def calm(self) -> None:
        """Delivers each event once and at once, from now on."""
        self.temper: dict[str, Any] = {"copies": 1, "delay_seconds": 0, "lose": [], "hold": False}

    def emit(self, kind: str, thing: Thing, previous: Thing | None = None) -> Thing:
        """Makes an event about an object as it is now, and sends it on its way."""
        data: Thing = {"object": copy.deepcopy(thing)}
        if previous:
            data["previous_attributes"] = previous
        event = self._store.create(
            "event",
            "evt",
            type=kind,
            data=data,
            api_version=API_VERSION,
            pending_webhooks=1,
            request={"id": None, "idempotency_key": None},
        )
        if self.temper["hold"]:
            self._held.append(event)
        elif kind not in self.temper["lose"] and "*" not in self.temper["lose"]:
            for _ in range(int(self.temper["copies"])):
                self.send(event)
        return event

    def release(self, order: list[int] | None = None) -> list[str]:
        """Sends what was held, in the order of these indexes, and returns the events' types."""
        held, self._held = self._held, []
        chosen = [held[index] for index in order] if order is not None else held
        for event in chosen:
            self.send(event)
        return [event["type"] for event in chosen]

    @property
    def held(self) -> list[Thing]:
        """The events that wait for `release`."""
        return self._held

    def send(self, event: Thing) -> None:
        """Delivers an event in the background, with a few repeats where it is not taken."""
        if not self.url:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, event: Thing) -> None:
        await asyncio.sleep(float(self.temper["delay_seconds"]))
        payload = json.dumps(event).encode()
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            for pause in (*RETRY_SECONDS, None):
                headers = {
                    "content-type": "application/json; charset=utf-8",
                    "stripe-signature": signature(payload, self.secret, int(time.time())),
                }
                try:
                    answer = await client.post(self.url, content=payload, headers=headers)
                except httpx.HTTPError as error:
                    log.warning("the webhook endpoint does not answer: %r", error)
                else:
                    if answer.is_success:
                        event["pending_webhooks"] = 0
                        return
                if pause is None:
                    return
                await asyncio.sleep(pause)

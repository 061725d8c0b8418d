"""`POST …/images/generations`."""

import time
from typing import Any

import msgspec

from api.catalogue.snapshot import RouteEntry
from api.media_requests import parse_image_body
from api.relay.admission import admit
from api.relay.call import Call
from api.relay.chat import read_body, run_exchange
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError
from api.relay.media_plan import media_body, plan_images
from api.relay.relay import Relay
from api.relay.watch import Watch
from billing.failpoints import failpoint
from billing.pricing.charge import Usage
from billing.pricing.money import dollars_text

_encode = msgspec.json.Encoder().encode


class _Pictures(msgspec.Struct, gc=False):
    data: list[dict[str, Any]]
    created: int | None = None


_decode = msgspec.json.Decoder(_Pictures).decode


async def image_generations(relay: Relay, call: Call) -> None:
    """Answers a request for pictures. Raises an error of `api.errors` while nothing is reserved."""
    digests = call.key_digests()
    body = await read_body(relay, call, digests, parse_image_body)
    plan, verdict = await admit(
        relay, call, digests, lambda snapshot: plan_images(snapshot, call.surface, body)
    )
    await run_exchange(relay, call, Exchange(relay.gate, call, plan, verdict), ImageResponder)


class ImageResponder:
    """Relays pictures, which are charged by how many came.

    Addresses of pictures go to the client as they are; nobody fetches them here.
    """

    has_begun = False

    def __init__(self, relay: Relay, call: Call, exchange: Exchange, watch: Watch) -> None:
        self._relay = relay
        self._call = call
        self._exchange = exchange
        self._watch = watch
        self._pictures: list[dict[str, Any]] = []
        self._created = 0

    async def attempt(self, route: RouteEntry) -> None:
        """Reads the answer of a route's upstream. Raises AttemptError, also for no picture."""
        exchange, relay = self._exchange, self._relay
        plan = exchange.plan
        asked = plan.units.images if plan.units is not None else 0
        answer = await relay.upstreams.post(
            route.upstream, plan.path, media_body(plan, route), exchange.request_id
        )
        failpoint("after_dispatch")
        exchange.upstream_request_id = answer.headers.get("x-request-id", "")
        try:
            body = await answer.read(relay.limits.max_answer_bytes)
            answer.came((route.upstream_model, False), asked)
        finally:
            await answer.close()
        try:
            made = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise AttemptError("bad_answer", "the answer has no pictures") from None
        # One more than was asked for is neither paid for nor delivered.
        self._pictures = [picture for picture in made.data if _is_there(picture)][:asked]
        self._created = made.created or int(time.time())
        if not self._pictures:
            raise AttemptError("bad_answer", "the answer has no pictures")

    async def complete(self) -> None:
        """Settles the pictures that came, and then hands them on."""
        exchange = self._exchange
        body = _encode({"created": self._created, "data": self._pictures})
        exchange.complete_units(Usage(images=len(self._pictures)))
        await exchange.receipt(self._watch, self._relay.limits.settle_wait_seconds)
        cost = dollars_text(exchange.cost.total_nanos).encode()
        await self._call.respond(body, headers=[(b"x-request-cost", cost)])

    async def apologise(self, fault: AttemptError) -> None:
        """Tells the client what went wrong."""
        await self._call.respond_error(fault.as_error())

    async def close(self) -> None:
        """Does nothing: each attempt ends its own call."""


def _is_there(picture: dict[str, Any]) -> bool:
    """Returns whether an item of the answer is a picture, by address or in itself."""
    return any(isinstance(picture.get(name), str) and picture[name] for name in ("url", "b64_json"))

"""`POST …/videos/generations` orders a video, `GET …/videos/{id}` asks how it is coming along.

Credits are held at the order, and charged or released when the job ends, which Celery finds out
(`api/videos.py`). The order of events leaves nothing unpaid or forgotten, wherever a process dies:

1. The ledger holds the price for as long as the job may take.
2. The job's row is written, without an upstream's id.
3. The upstream is asked. If none takes the order, the hold is released and the row has failed.
4. The upstream's id is written into the row, and the client gets ours.

Who dies between 3 and 4 leaves a row without an id. Celery ends it as failed when the order's time
is over, releases the hold, and alerts staff, as the upstream may bill a video that nobody gets.
Who dies between 1 and 2 leaves a hold, which the ledger's sweep releases when it expires.
"""

import asyncio
import re
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import structlog

from api import errors
from api.catalogue.snapshot import RouteEntry
from api.media_requests import parse_video_body
from api.relay.admission import admit, identify
from api.relay.attempts import relay_answer
from api.relay.call import Call
from api.relay.chat import read_body
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError, ShuttingDownError
from api.relay.media_plan import media_body, plan_video
from api.relay.relay import Relay
from api.relay.video_store import Found
from api.relay.watch import Watch
from billing.failpoints import failpoint

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
MAX_ANSWER_BYTES = 1024 * 1024
_LONGEST_ID = 200
_PUBLIC_ID = re.compile(r"video-([0-9a-f]{32})")
_encode = msgspec.json.Encoder().encode


async def video_generations(relay: Relay, call: Call) -> None:
    """Answers an order of a video. Raises an error of `api.errors`; then nothing is held."""
    digests = call.key_digests()
    body = await read_body(relay, call, digests, parse_video_body)
    plan, verdict = await admit(
        relay,
        call,
        digests,
        lambda snapshot: plan_video(snapshot, call.surface, body, relay.limits.video_max_seconds),
    )
    order = _Order(relay, call, Exchange(relay.gate, call, plan, verdict))
    placing = relay.run_in_background(order.place())
    placing.add_done_callback(order.release_if_dropped)
    # A client who leaves now doesn't end the order: what the upstream has begun to make will cost,
    # so it is finished, and the request's id in the customer's usage leads to it.
    answer = await asyncio.shield(placing)
    if isinstance(answer, errors.ApiError):
        raise answer
    await call.respond(answer)


async def show_video(relay: Relay, call: Call) -> None:
    """Answers how a video of the key's team is coming along. Raises an error of `api.errors`."""
    verdict = await identify(relay, call, call.key_digests())
    if verdict is None:
        raise errors.ServiceUnavailableError()
    named = _PUBLIC_ID.fullmatch(call.argument)
    try:
        found = await relay.videos.find(named[1], verdict.team_id) if named else None
    except psycopg.Error:
        raise errors.ServiceUnavailableError() from None
    if found is None:
        raise errors.NotFoundError(
            f"There is no video '{errors.quoted(call.argument)}'. Check its id.", param="id"
        )
    await call.respond(_encode(_shown(call.argument, found)))


def _shown(public_id: str, found: Found) -> dict[str, Any]:
    """Returns a video as clients see it. One that took too long has failed, as any other."""
    if found.state in {"processing", "completed"}:
        shown = {"id": public_id, "status": found.state}
        return {**shown, "video_url": found.url} if found.url else shown
    error = {
        "message": found.error,
        "type": "server_error",
        "code": f"video_{found.state}",
        "param": None,
    }
    return {"id": public_id, "status": "failed", "error": error}


class _Order:
    """An admitted order, up to the upstream's answer."""

    has_begun = False

    def __init__(self, relay: Relay, call: Call, exchange: Exchange) -> None:
        self._relay = relay
        self._call = call
        self._exchange = exchange
        self._job_id = ""

    async def place(self) -> bytes | errors.ApiError:
        """Returns the body for the client, or the error; in that case the hold is released."""
        relay, exchange = self._relay, self._exchange
        watch = Watch(
            self._call.downstream,
            total_seconds=exchange.plan.total_seconds,
            write_seconds=relay.limits.write_timeout_seconds,
            keepalive_seconds=None,
        )
        relay.clock.watches.add(watch)
        try:
            await relay.videos.begin(exchange)
            await relay_answer(exchange, self, watch, relay.upstreams.throttle)
            await self._keep()
        except AttemptError as fault:
            return await self._fail(fault, watch)
        except psycopg.Error as error:
            log.warning("video_not_begun", request_id=exchange.request_id, error=repr(error))
            exchange.crash(error)
            return errors.ServiceUnavailableError()
        except asyncio.CancelledError:
            if not self._job_id:
                exchange.fail(AttemptError("shutdown"), ShuttingDownError.status)
                return ShuttingDownError()
        except Exception as error:
            log.exception("video_order_failed", request_id=exchange.request_id)
            exchange.crash(error)
            return errors.ServerError()
        finally:
            relay.clock.watches.discard(watch)
        return _encode({"id": f"video-{exchange.request_id}", "status": "processing"})

    def release_if_dropped(self, placing: "asyncio.Task[bytes | errors.ApiError]") -> None:
        """Releases the hold of an order that a stopping process never began with."""
        if placing.cancelled():
            self._exchange.fail(AttemptError("shutdown"), ShuttingDownError.status)

    async def attempt(self, route: RouteEntry) -> None:
        """Asks a route's upstream to make the video. Raises AttemptError."""
        exchange, relay = self._exchange, self._relay
        plan = exchange.plan
        answer = await relay.upstreams.post(
            route.upstream, plan.path, media_body(plan, route), exchange.request_id
        )
        failpoint("after_dispatch")
        try:
            body = await answer.read(MAX_ANSWER_BYTES)
        finally:
            await answer.close()
        self._job_id = _job_id(body)

    async def _keep(self) -> None:
        """Writes down the upstream's id; from here on the hold is the job's, and Celery ends it."""
        relay, exchange = self._relay, self._exchange
        relay.health.succeeded(exchange.plan.model.name)
        exchange.hand_over()
        failpoint("after_video_order")
        # The client need not wait for a database that is away, and the order must not be lost.
        keeping = relay.run_in_background(self._keep_trying())
        await asyncio.wait([keeping], timeout=relay.limits.settle_wait_seconds)

    async def _keep_trying(self) -> None:
        """Writes down the upstream's id, as often as it takes."""
        relay, exchange = self._relay, self._exchange
        while True:
            try:
                await relay.videos.accept(
                    exchange, self._job_id, poll_seconds=relay.limits.video_poll_seconds
                )
            except psycopg.Error as error:
                log.warning("video_not_kept", request_id=exchange.request_id, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _fail(self, fault: AttemptError, watch: Watch) -> errors.ApiError:
        """Releases the hold of an order that no upstream took."""
        relay, exchange = self._relay, self._exchange
        if fault.is_upstreams:
            relay.health.failed(exchange.plan.model.name)
        error = fault.as_error()
        exchange.fail(fault, error.status)
        # If this fails, Celery finds a row without an upstream's id, and its hold released.
        with suppress(psycopg.Error):
            await relay.videos.refuse(exchange.request_id, error.message)
        watch.end_attempts()
        await exchange.receipt(watch, relay.limits.settle_wait_seconds)
        return error


def _job_id(body: bytes) -> str:
    """Returns the upstream's id in its answer to an order. Raises AttemptError for none."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = None
    job_id = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(job_id, str) or not 0 < len(job_id) <= _LONGEST_ID or "\0" in job_id:
        raise AttemptError("bad_answer", "the answer to the order has no id")
    return job_id

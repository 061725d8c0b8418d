"""The placing of an order of a video, from its admission to the upstream's id for it.

Credits are held at the order, and charged or released when the job ends, which Celery finds out
(`api/jobs/poll.py`). The order of events leaves nothing unpaid or forgotten, wherever a process
dies:

1. The ledger holds the price for as long as the job may take.
2. The job's row is written, without an upstream's id.
3. The upstream is called. If none takes the order, the hold is released and the row has failed.
4. The upstream's id is written into the row, and the client gets ours.

A process that dies between 3 and 4 leaves a row without an id. Celery ends it as failed when the
order's time is over, releases the hold, and alerts staff, as the upstream may bill a video that
nobody gets. One that dies between 1 and 2 leaves a hold, which the ledger's sweep releases when it
expires.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import structlog

from api import errors
from api.catalogue.snapshot import RouteEntry
from api.dialects.base import DialectError
from api.gateway.abandoned import hand_over
from api.gateway.deadlines import Deadlines
from api.gateway.failover import try_routes
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream_errors import AttemptError, ShuttingDownError
from api.jobs.store import JobOrder
from billing.failpoints import failpoint
from billing.pricing.charge import Usage, charge_of

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
MAX_ANSWER_BYTES = 1024 * 1024
_LONGEST_ID = 200


async def place_order(gateway: Gateway, request: ApiRequest, admitted: AdmittedRequest) -> None:
    """Place an admitted order. Raise an error of `api.errors`; then nothing is held."""
    # A client that disconnects now doesn't end the order: the upstream will charge for a video that
    # it has begun, so the order is finished, and its id is in the customer's usage.
    await hand_over(gateway, admitted, _Order(gateway, request, admitted).place())


class _Order:
    """An admitted order, up to the upstream's answer."""

    def __init__(self, gateway: Gateway, request: ApiRequest, admitted: AdmittedRequest) -> None:
        self._gateway = gateway
        self._request = request
        self._admitted = admitted
        self._job_id = ""

    async def place(self) -> errors.ApiError | None:
        """Return None, or the error for the client; in that case the hold is released."""
        gateway, admitted = self._gateway, self._admitted
        deadlines = Deadlines(
            self._request.downstream,
            total_seconds=admitted.quote.total_seconds,
            write_seconds=gateway.limits.write_timeout_seconds,
            keepalive_seconds=None,
            is_prompt=True,
        )
        gateway.ticker.running.add(deadlines)
        try:
            await gateway.jobs.begin(self._row())
            await try_routes(gateway, admitted, self._attempt, lambda: True, deadlines)
            await self._keep()
        except AttemptError as error:
            return await self._fail(error, deadlines)
        except psycopg.Error as error:
            log.warning("video_order_not_stored", request_id=admitted.request_id, error=repr(error))
            admitted.crash(error)
            return errors.ServiceUnavailableError()
        except asyncio.CancelledError:
            if not self._job_id:
                admitted.fail(AttemptError("shutdown"), ShuttingDownError.status)
                return ShuttingDownError()
        except Exception as error:
            log.exception("video_order_failed", request_id=admitted.request_id)
            admitted.crash(error)
            return errors.ServerError()
        finally:
            gateway.ticker.running.discard(deadlines)
        return None

    def _row(self) -> JobOrder:
        """Return the order as it is stored."""
        quote, admission = self._admitted.quote, self._admitted.admission
        units = quote.units or Usage()
        charge = charge_of(quote.prices, units)
        return JobOrder(
            request_id=self._admitted.request_id,
            team_id=admission.team_id,
            account_id=admission.account_id,
            key_id=admission.key_id,
            price_version_id=quote.prices.version_id,
            contract_id=quote.prices.contract or None,
            model=quote.model.name,
            surface=self._admitted.surface.name,
            end_user=quote.request.end_user,
            seconds=units.seconds,
            cost_nanos=charge.total_nanos,
            job_seconds=quote.job_seconds,
            order_seconds=quote.total_seconds,
        )

    async def _attempt(self, route: RouteEntry) -> None:
        """Ask a route's upstream to make the video. Raise AttemptError."""
        response = (await self._gateway.upstreams.call(self._admitted, route)).response
        try:
            body = await response.read(MAX_ANSWER_BYTES)
        finally:
            await response.close()
        self._job_id = job_id_in(body)

    async def _keep(self) -> None:
        """Store the upstream's id; from here on the hold is the job's, and Celery ends it."""
        gateway, admitted = self._gateway, self._admitted
        gateway.health.succeeded(admitted.quote.model.name)
        admitted.detach()
        failpoint("after_video_order")
        # The client need not wait for a database that is away, and the order must not be lost.
        keeping = gateway.run_in_background(self._keep_trying())
        await asyncio.wait([keeping], timeout=gateway.limits.settle_wait_seconds)

    async def _keep_trying(self) -> None:
        """Store the upstream's id, as often as it takes."""
        gateway, admitted = self._gateway, self._admitted
        upstream = admitted.route.upstream if admitted.route is not None else None
        while True:
            try:
                await gateway.jobs.accept(
                    admitted.request_id,
                    upstream,
                    self._job_id,
                    admitted.attempts,
                    cost=admitted.cost_of(admitted.quote.units or Usage()),
                    poll_seconds=gateway.limits.video_poll_seconds,
                )
            except psycopg.Error as error:
                log.warning("video_id_not_stored", request_id=admitted.request_id, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _fail(self, failure: AttemptError, deadlines: Deadlines) -> errors.ApiError:
        """Release the hold of an order that no upstream took."""
        gateway, admitted = self._gateway, self._admitted
        if failure.is_upstream_failure:
            gateway.health.failed(admitted.quote.model.name)
        error = failure.as_error()
        admitted.fail(failure, error.status)
        # If this fails, Celery finds a row without an upstream's id, and its hold released.
        with suppress(psycopg.Error):
            await gateway.jobs.refuse(admitted.request_id, error.message)
        await deadlines.wait_for(admitted.settlement, gateway.limits.settle_wait_seconds)
        return error


def job_id_in(body: bytes) -> str:
    """Return the upstream's id in its answer to an order. Raise DialectError for none."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = None
    job_id = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(job_id, str) or not 0 < len(job_id) <= _LONGEST_ID or "\0" in job_id:
        raise DialectError("bad_answer", "the answer to the order has no id")
    return job_id

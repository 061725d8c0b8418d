"""Celery's side of asynchronous chats (`async_chat.py`): answer the waiting jobs.

A worker claims jobs for a short time and keeps renewing its claim while it works on them, so that
another worker takes over a dead worker's jobs within `LEASE_SECONDS`. If a worker dies, the
upstream is called again and may bill twice; the customer pays for one answer (`jobs/ending.py`).

Each worker answers all its jobs in one event loop, through the gateway: routes, failover, limits,
deadlines, metering. At most `SLOTS` Celery processes do so at a time, since Celery's other work
must not wait for models.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import psycopg
import structlog
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_noop

from api import errors
from api.catalogue import snapshot
from api.catalogue.snapshot import Snapshot
from api.dialects.openai_chat import CHAT
from api.gateway.http import ApiRequest
from api.gateway.max_cost import take_max_cost
from api.gateway.process import CONNECT_SECONDS, Gateway, new_gateway
from api.gateway.runner import UnaryResponder, run
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream_errors import AttemptError
from api.jobs.ending import end_job
from api.models import ChatJob
from api.operations.async_chat import NAME, RESULT_HOURS, quote_async_chat
from api.surfaces import SURFACES
from billing.failpoints import failpoint
from billing.ledger.gate import AdmissionResult, Gate, Settlement, SettlementResult

log = structlog.get_logger(__name__)

SLOTS = 2
# Jobs that one worker answers concurrently.
MAX_RUNNING = 64
CLAIM_SECONDS = 0.5
LEASE_SECONDS = 30
RENEW_SECONDS = 5
# A job whose workers died this often may be the cause.
MAX_RUNS = 3
# The namespace of the advisory locks, which all users of a database share.
_LOCKS = 0x61637368
LATE = "The chat was not answered in time. You were not charged."
LOST = gettext_noop("The chat could not be answered. You were not charged.")

_CLAIM = """
UPDATE api_chatjob SET runs = runs + 1, next_run_at = now() + make_interval(secs => %s)
WHERE id IN (
    SELECT id FROM api_chatjob WHERE state = 'processing' AND next_run_at <= now()
    ORDER BY next_run_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, team_id, account_id, key_id, price_version_id, contract_id, model, surface,
    held_nanos, body, runs, created_at, expires_at
"""
_RENEW = """
UPDATE api_chatjob SET next_run_at = now() + make_interval(secs => %s)
WHERE id = ANY(%s) AND state = 'processing'
"""
_WAIT = """
UPDATE api_chatjob SET runs = runs - 1, next_run_at = now() + make_interval(secs => %s)
WHERE id = %s AND state = 'processing'
"""


class Claim(NamedTuple):
    """A job that this worker has claimed."""

    id: UUID
    team_id: int
    account_id: int
    key_id: int
    price_version_id: int
    contract_id: int | None
    model: str
    surface: str
    held_nanos: int
    body: str
    runs: int
    created_at: datetime
    expires_at: datetime


def run_due() -> int:
    """Answer all jobs that are due. Return the number of claimed jobs."""
    is_due = ChatJob.objects.filter(state="processing", next_run_at__lte=Now()).exists()
    # A round may last for minutes and uses its own connections.
    connection.close()
    return asyncio.run(_run_due()) if is_due else 0


def forget_old() -> int:
    """Delete jobs that ended more than `RESULT_HOURS` ago. Return their number."""
    before = timezone.now() - timedelta(hours=RESULT_HOURS)
    count, _ = ChatJob.objects.filter(ended_at__lt=before).delete()
    return count


async def _run_due() -> int:
    link = await psycopg.AsyncConnection.connect(
        settings.DATABASE_URL, autocommit=True, connect_timeout=CONNECT_SECONDS
    )
    async with link:
        for slot in range(SLOTS):
            cursor = await link.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCKS, slot))
            row = await cursor.fetchone()
            if row is not None and row[0]:
                # The lock is released with the connection, even if the process is killed.
                return await _Worker(link).work()
    return 0


class _Worker:
    """One round in one process: claims and answers jobs until none is left."""

    def __init__(self, link: psycopg.AsyncConnection[Any]) -> None:
        self._link = link
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._renewed_at = time.monotonic()

    async def work(self) -> int:
        """Answer jobs until none is left. Return the number of claimed jobs."""
        # Neither its gate nor its job store is opened: the ledger and the jobs' table are written
        # when a job ends.
        gateway = new_gateway()
        gateway.health.open()
        gateway.token_ratios.open()
        gateway.ticker.start()
        count = 0
        try:
            while True:
                if claims := await self._claimed():
                    await self._begin(gateway, claims)
                    count += len(claims)
                if not self._running:
                    return count
                await asyncio.wait(
                    self._running.values(),
                    timeout=CLAIM_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self._running = {
                    job: task for job, task in self._running.items() if not task.done()
                }
                await self._renew()
        finally:
            for task in self._running.values():
                task.cancel()
            gateway.ticker.stop()
            await gateway.token_ratios.close()
            await gateway.health.close()
            await gateway.upstreams.close()

    async def _claimed(self) -> list[Claim]:
        """Claim due jobs for `LEASE_SECONDS`, as many as there is room for."""
        room = MAX_RUNNING - len(self._running)
        if room <= 0:
            return []
        cursor = await self._link.execute(_CLAIM, (LEASE_SECONDS, room))
        return [Claim(*row) for row in await cursor.fetchall()]

    async def _begin(self, gateway: Gateway, claims: list[Claim]) -> None:
        current = await snapshot.load(self._link)
        for claim in claims:
            job = answer(self._link, gateway, current, claim)
            self._running[claim.id] = asyncio.get_running_loop().create_task(job)

    async def _renew(self) -> None:
        """Renew the claims of the running jobs every `RENEW_SECONDS`."""
        if self._running and time.monotonic() >= self._renewed_at + RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            await self._link.execute(_RENEW, (LEASE_SECONDS, list(self._running)))


class _Ledger:
    """Takes the gate's place: keeps the settlement, which is posted when the job ends."""

    def __init__(self) -> None:
        self.settlement: Settlement | None = None

    def settle(self, settlement: Settlement) -> "asyncio.Future[SettlementResult]":
        """Keep the settlement."""
        self.settlement = settlement
        kept: asyncio.Future[SettlementResult] = asyncio.get_running_loop().create_future()
        kept.set_result(SettlementResult(request_id=settlement.request_id, code="kept"))
        return kept


class _JobResponder(UnaryResponder):
    """A unary answer that is kept instead of sent."""

    answer = b""
    error: errors.ApiError | None = None

    async def complete(self) -> None:
        """Meter the answer, and keep it."""
        self.answer = self.metered_body()

    async def send_error(self, error: AttemptError) -> None:
        """Keep the error."""
        self.error = error.as_error()


async def answer(
    link: psycopg.AsyncConnection[Any], gateway: Gateway, current: Snapshot, claim: Claim
) -> None:
    """Answer one claimed job and end it. After a temporary failure, leave it for a later round."""
    if claim.expires_at <= timezone.now():
        await _end(claim, ChatJob.State.EXPIRED, _released(claim, "upstream_timeout", 504, LATE))
        return
    if claim.runs > MAX_RUNS:
        await _end(
            claim,
            ChatJob.State.FAILED,
            _released(claim, "internal_error", 500, LOST),
        )
        return
    ledger = _Ledger()
    try:
        admitted, request = _admitted(current, claim, ledger)
    except errors.ApiError as refusal:
        # The model was disabled in the meantime.
        released = _released(claim, "upstream_error", refusal.status, refusal.message)
        await _end(claim, ChatJob.State.FAILED, released, error=refusal)
        return
    text, error = await _answered(gateway, request, admitted)
    if isinstance(error, errors.RateLimitError):
        await _put_off(link, claim, error)
        return
    settlement = ledger.settlement
    if settlement is None:
        settlement = _released(claim, "internal_error", 500, LOST)
    failpoint("after_async_chat")
    state = ChatJob.State.COMPLETED if error is None else ChatJob.State.FAILED
    await _end(claim, state, settlement, answer=text, error=error)


async def _answered(
    gateway: Gateway, request: ApiRequest, admitted: AdmittedRequest
) -> tuple[str, errors.ApiError | None]:
    """Return the answer's JSON, or an empty text and the error."""
    responders: list[_JobResponder] = []

    def make_responder(*parts: Any) -> _JobResponder:
        responders.append(_JobResponder(*parts))
        return responders[0]

    try:
        await run(gateway, request, admitted, make_responder)
    except Exception:
        log.exception("async_chat_failed", request_id=request.request_id)
        return "", errors.ServerError()
    return responders[0].answer.decode(), responders[0].error


def _admitted(
    current: Snapshot, claim: Claim, ledger: _Ledger
) -> tuple[AdmittedRequest, ApiRequest]:
    """Return the job's request as it was admitted. Raise an error of `api.errors`.

    The admission's price applies and the hold bounds the cost, whatever the catalogue says by now.
    """
    surface = next(each for each in SURFACES if each.name == claim.surface)
    request = ApiRequest(surface, "", {"headers": ()}, _no_body, _no_client)
    request.request_id = claim.id.hex
    request.started_at -= max(0.0, (timezone.now() - claim.created_at).total_seconds())
    fields = msgspec.json.decode(claim.body)
    max_cost_nanos, own_bytes = take_max_cost({}, fields)
    parsed = CHAT.parse(fields, len(claim.body.encode()) - own_bytes)
    parsed.max_cost_nanos = max_cost_nanos
    quote = quote_async_chat(0, CHAT, current.for_team(claim.team_id), surface, parsed)
    admitted_at = (claim.price_version_id, claim.contract_id or 0)
    prices = [
        each for each in quote.model.prices if (each.version_id, each.contract) == admitted_at
    ]
    if not prices:
        raise errors.ServerError(LOST)
    quote.prices = prices[0]
    quote.lower_to(claim.held_nanos)
    admission = AdmissionResult(
        request_id=request.request_id,
        code="admitted",
        account_id=claim.account_id,
        key_id=claim.key_id,
        team_id=claim.team_id,
        amount_nanos=claim.held_nanos,
    )
    return AdmittedRequest(cast(Gate, ledger), request, quote, admission), request


async def _no_body() -> Mapping[str, Any]:
    return {"type": "http.disconnect"}


async def _no_client(_message: Mapping[str, Any]) -> None:
    """Send nothing: the client polls for the answer."""


def _released(claim: Claim, outcome: str, status: int, error: str) -> Settlement:
    """Return the settlement of a job without an answer, which releases its hold."""
    age = (timezone.now() - claim.created_at).total_seconds() * 1000
    return Settlement(
        request_id=claim.id.hex,
        account_id=claim.account_id,
        key_id=claim.key_id,
        price_version_id=claim.price_version_id,
        model=claim.model,
        surface=claim.surface,
        endpoint=NAME,
        outcome=outcome,
        status=status,
        error=error,
        source="none",
        latency_ms=min(max(0, int(age)), 2**31 - 1),
    )


async def _put_off(
    link: psycopg.AsyncConnection[Any], claim: Claim, error: errors.ApiError
) -> None:
    """Postpone a job whose model is busy. It keeps its `expires_at`."""
    seconds = max(1.0, float(error.headers.get("Retry-After", 1)))
    with suppress(psycopg.Error):
        await link.execute(_WAIT, (seconds, claim.id))


async def _end(
    claim: Claim,
    state: ChatJob.State,
    settlement: Settlement,
    *,
    answer: str = "",
    error: errors.ApiError | None = None,
) -> None:
    """End a job and settle it, unless another worker already has."""
    message = error.message if error is not None else settlement.error
    code = error.code if error is not None else f"chat_{state.value}"
    ending = {
        "state": state,
        "answer": answer,
        "error": "" if answer else message[:500],
        "error_code": "" if answer else code,
        "body": "",
    }
    try:
        result = await asyncio.to_thread(_end_once, claim.id, ending, settlement)
    except Exception:
        # The claim expires, and the next worker calls the upstream again.
        log.exception("async_chat_not_ended", request_id=claim.id.hex)
        return
    if result is not None:
        log.info(
            "async_chat_ended",
            request_id=claim.id.hex,
            state=state.value,
            settlement=result.code,
            charged_nanos=result.charged_nanos,
        )


def _end_once(
    job_id: UUID, ending: dict[str, Any], settlement: Settlement
) -> SettlementResult | None:
    """End a job, from a thread with a connection of its own. See `end_job`."""
    try:
        return end_job(ChatJob, job_id, settlement, **ending)
    finally:
        connection.close()

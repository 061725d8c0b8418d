"""The gate: the relay's only way to the ledger. One statement admits, one settles.

The statements are the SQL functions in `sql/`; `platform/docs/ledger.md` is their contract.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import structlog

from billing.failpoints import ARMED, failpoint
from billing.ledger import spool
from billing.ledger.extension import Extension, ExtensionResult, extension_queue
from billing.ledger.group_commit import (
    NUL,
    BatchQueue,
    LedgerUnavailableError,
    RowResult,
    without_nul,
)
from billing.ledger.lease import ProcessLease
from billing.ledger.refusal_details import RefusalDetails, TightestBudget
from billing.pricing.charge import AttemptCost

__all__ = [
    "Admission",
    "AdmissionResult",
    "Gate",
    "LedgerUnavailableError",
    "Settlement",
    "SettlementResult",
]

log = structlog.get_logger(__name__)

ADMIT_PATIENCE_SECONDS = 2.0


class Admission(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a request needs of the ledger before its upstream call.

    `digests` are the key's, one for each pepper in use, as hex. `minimum_nanos` is the least hold
    that makes sense: below `amount_nanos` where the client doesn't limit the output. `tokens`
    counts against the key's tokens per minute until settlement corrects it; with `minimum_tokens`,
    only what is left of the minute counts, and at least that many. `catalogue_version` is that of
    the snapshot the quote was made from. `model_requests_per_minute` is the model's own limit for
    each key, if it has one. `is_job` says that the reservation outlives the process and the
    client's call, as a video's does: it has no lease and is not one of the team's concurrent calls.
    `free_address` is the client's address if the request costs nothing: it then counts against the
    limits of free models, for the team and for the address. `session_id` and `end_user` are whom
    the key's budgets of sessions and end users count for. `session_budget_nanos` is what the
    client lets the session spend in all. `lease_id` is set by the gate.

    Defaults are left out of the JSON: the ledger counts a missing field as its default.
    """

    request_id: str
    digests: list[str]
    model: str
    surface: str
    price_version_id: int
    amount_nanos: int
    minimum_nanos: int
    tokens: int
    hold_seconds: float
    catalogue_version: int
    model_requests_per_minute: int | None = None
    minimum_tokens: int | None = None
    is_job: bool = False
    free_address: str | None = None
    free_requests_per_minute: int = 0
    free_tokens_per_minute: int = 0
    session_id: str = ""
    end_user: str = ""
    session_budget_nanos: int | None = None
    lease_id: int | None = None


class AdmissionResult(RowResult, kw_only=True):
    """The ledger's answer to an admission (or to `identify`, which reserves nothing).

    `code` is `admitted`, `identified`, or why not: `invalid_api_key`, `wrong_scope`,
    `team_suspended`, `model_not_allowed`, `too_many_calls`, `rate_limited_requests`,
    `rate_limited_tokens`, `rate_limited_free`, `budget_exceeded`, `insufficient_quota`,
    `stale_catalogue`. `amount_nanos` is what was held, and `available_nanos` what the balance and
    the budgets leave besides (`identify` looks at the balance alone). The limits are the key's for
    the current minute, or the model's own if fewer requests are left of that; `reset_at` is in unix
    seconds. `budget` is the one that was exceeded.
    """

    code: str
    catalogue_version: int = 0
    key_id: int = 0
    account_id: int = 0
    team_id: int = 0
    amount_nanos: int = 0
    available_nanos: int = 0
    requests_limit: int = 0
    requests_remaining: int = 0
    tokens_limit: int = 0
    tokens_remaining: int = 0
    reset_at: int = 0
    retry_after_seconds: int = 0
    budget: TightestBudget | None = None


class Settlement(msgspec.Struct, kw_only=True):
    """The end of a reservation and its usage record: every column that the relay knows.

    `outcome` says how the request ended: `completed`, `client_closed`, `upstream_error`,
    `upstream_timeout`, `empty`, ... Where nothing is charged and `source` is `none`, the
    reservation is released, else settled. `lines` explain the amounts (`billing.pricing.charge`),
    and `cost_lines` what the upstreams of all attempts charge us. `body_digest` is a keyed digest
    of the body, by which a retry is recognized; "" without one. `session_id` is the client's own,
    "" without one.

    Unlike an admission's, defaults are sent: the last release's function requires its fields.
    """

    request_id: str
    account_id: int
    key_id: int
    price_version_id: int
    model: str
    surface: str
    endpoint: str
    outcome: str
    status: int
    streamed: bool = False
    upstream: str = ""
    upstream_request_id: str = ""
    end_user: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: int = 0
    pieces: int = 0
    input_nanos: int = 0
    cached_nanos: int = 0
    output_nanos: int = 0
    reasoning_nanos: int = 0
    units_nanos: int = 0
    lines: tuple[tuple[str | int, ...], ...] = ()
    upstream_cost_nanos: int = 0
    cost_lines: list[AttemptCost] = []
    source: str = "none"
    error: str = ""
    finish_reason: str = ""
    attempts: list[dict[str, object]] = []
    latency_ms: int = 0
    first_token_ms: int | None = None
    body_digest: str = ""
    session_id: str = ""


class SettlementResult(RowResult, kw_only=True):
    """What a settlement did: `settled`, `released`, `late` (its hold had expired),
    `already_ended` (a repeat changed nothing), `unknown_reservation`, `spooled` (the gate was
    closed before the ledger had it; Celery replays it), or `refused` (the database would not take
    the row, which is kept in the spool for a person to look at)."""

    code: str
    charged_nanos: int = 0
    written_off_nanos: int = 0
    balance_nanos: int = 0


class Gate:
    """Send admissions and settlements to the ledger, those that wait together as one statement.

    A settlement that has waited for nearly `SETTLE_WAIT_SECONDS` is copied to the spool.
    """

    def __init__(self, database_url: str) -> None:
        self._admissions: BatchQueue[AdmissionResult] = BatchQueue(
            "billing_admit",
            database_url,
            AdmissionResult,
            patience_seconds=ADMIT_PATIENCE_SECONDS,
            missing=_no_such_key,
        )
        self._identities: BatchQueue[AdmissionResult] = BatchQueue(
            "billing_identify",
            database_url,
            AdmissionResult,
            patience_seconds=ADMIT_PATIENCE_SECONDS,
            missing=_no_such_key,
        )
        self._settlements: BatchQueue[SettlementResult] = BatchQueue(
            "billing_settle",
            database_url,
            SettlementResult,
            patience_seconds=None,
            missing=_no_such_account,
        )
        self._extensions = extension_queue(database_url)
        self._lease = ProcessLease(database_url)
        self._details = RefusalDetails(database_url)
        self._copies = spool.OverdueCopies()
        self._encoder = msgspec.json.Encoder()

    async def open(self) -> None:
        """Begin the process's lease and start the batch queues, which connect in the background."""
        await self._lease.open()
        self._admissions.open()
        self._identities.open()
        self._settlements.open()
        self._extensions.open()
        self._copies.open()

    @property
    def lease_id(self) -> int | None:
        """The process's lease, if there is one yet."""
        return self._lease.id

    @property
    def queues(self) -> tuple[BatchQueue[Any], ...]:
        """The batch queues, to be measured."""
        return self._admissions, self._identities, self._settlements, self._extensions

    async def close(self, timeout_seconds: float) -> None:
        """Wait for queued settlements and write those that are left to the spool.

        The file is written before waiting for anything else: a process that stops may have no more
        time. Admissions under way are refused; later settlements are spooled.
        """
        await self._admissions.drain(0)
        await self._identities.drain(0)
        await self._extensions.drain(0)
        left = await self._settlements.drain(timeout_seconds)
        await self._copies.close()
        left = self._copies.without_copy(left)
        if left and (path := _spooled(left)):
            log.warning("settlements_spooled", rows=len(left), file=path.name)
        for queue in self.queues:
            await queue.stop()
        await self._lease.close()
        await self._details.close()

    async def admit(self, admission: Admission) -> AdmissionResult:
        """Return the ledger's answer. Raise LedgerUnavailableError, within ADMIT_PATIENCE_SECONDS.

        Cancelling the caller, or a timeout, does not cancel the statement: what the request was
        admitted for is then released.
        """
        if not admission.is_job:
            admission.lease_id = self._lease.id
        payload = self._payload(admission)
        future = self._admissions.submit(admission.request_id, payload)
        try:
            async with asyncio.timeout(ADMIT_PATIENCE_SECONDS):
                result = await asyncio.shield(future)
        except (asyncio.CancelledError, TimeoutError) as gone:
            future.add_done_callback(lambda answered: self._release(admission, answered))
            if isinstance(gone, TimeoutError):
                raise LedgerUnavailableError from None
            raise
        if ARMED:
            failpoint("after_admit")
        if result.code in ("invalid_api_key", "budget_exceeded"):
            await self._explain(result, admission.digests, payload)
        return result

    async def identify(self, request_id: str, digests: list[str]) -> AdmissionResult:
        """Return whose key it is and its limits; reserve and count nothing.

        Raise LedgerUnavailableError, within ADMIT_PATIENCE_SECONDS.
        """
        payload = self._encoder.encode({"request_id": request_id, "digests": digests})
        try:
            async with asyncio.timeout(ADMIT_PATIENCE_SECONDS):
                result = await self._identities.submit(request_id, payload)
        except TimeoutError:
            raise LedgerUnavailableError from None
        if result.code == "invalid_api_key":
            await self._explain(result, digests, payload)
        return result

    async def _explain(self, result: AdmissionResult, digests: list[str], payload: bytes) -> None:
        """Name a refusal's budget, or give it the code `key_frozen` if the key is frozen."""
        try:
            if result.code == "budget_exceeded":
                result.budget = await self._details.tightest_budget(payload)
            elif await self._details.is_frozen(digests):
                result.code = "key_frozen"
        except (psycopg.Error, TimeoutError) as error:
            log.warning("refusal_not_looked_up", error=str(error))

    def extend(self, extension: Extension) -> asyncio.Future[ExtensionResult]:
        """Queue an extension of a hold, and return its future.

        The future raises LedgerUnavailableError after EXTEND_PATIENCE_SECONDS, and RefusedRowError
        for values that don't fit their columns. The hold may have grown all the same.
        """
        return self._extensions.submit(extension.request_id, self._encoder.encode(extension))

    def count_growth(self, request_id: str, account_id: int, tokens: int) -> None:
        """Count the tokens so far of a running request, if they exceed those counted.

        Don't wait for it. While the database is away nothing is counted until the settlement.
        """
        counted = self.extend(
            Extension(request_id=request_id, account_id=account_id, tokens=tokens)
        )
        counted.add_done_callback(lambda answered: answered.cancelled() or answered.exception())

    def settle(self, settlement: Settlement) -> asyncio.Future[SettlementResult]:
        """Queue a settlement, which is retried until the ledger has it, and return its future.

        The future never raises. Wait for it with a timeout (`asyncio.wait`): it stays open while
        the database is away.
        """
        payload = self._payload(settlement)
        result: asyncio.Future[SettlementResult] = asyncio.get_running_loop().create_future()
        if not self._settlements.takes_rows:
            _spooled([payload])
            result.set_result(SettlementResult(request_id=settlement.request_id, code="spooled"))
            return result
        answer = self._settlements.submit(settlement.request_id, payload)
        self._copies.watched.append(spool.Watched(payload, answer, time.monotonic()))
        answer.add_done_callback(lambda settled: _hand_on(settled, result, payload))
        return result

    def _payload(self, row: Admission | Settlement) -> bytes:
        """Return a row's JSON, with a question mark for what isn't valid UTF-8."""
        try:
            payload = self._encoder.encode(row)
        except UnicodeEncodeError:  # half of a surrogate pair
            fields = msgspec.to_builtins(row)
            payload = json.dumps(fields, ensure_ascii=False).encode(errors="replace")
        return without_nul(payload) if NUL in payload else payload

    def _release(self, admission: Admission, answered: asyncio.Future[AdmissionResult]) -> None:
        """Release what a request was admitted for once its caller had gone."""
        if answered.cancelled() or answered.exception() or answered.result().code != "admitted":
            return
        result = answered.result()
        self.settle(
            Settlement(
                request_id=admission.request_id,
                account_id=result.account_id,
                key_id=result.key_id,
                price_version_id=admission.price_version_id,
                model=admission.model,
                surface=admission.surface,
                endpoint="",
                outcome="client_closed",
                status=499,
                session_id=admission.session_id,
                end_user=admission.end_user,
            )
        )


def _hand_on(
    settled: asyncio.Future[SettlementResult],
    result: asyncio.Future[SettlementResult],
    payload: bytes,
) -> None:
    """Give the caller its result; a row that the database refuses is kept for a person."""
    if ARMED:
        failpoint("after_settle")
    if settled.cancelled():
        return
    refusal = settled.exception()
    if isinstance(refusal, LedgerUnavailableError):  # The gate was closed, which spooled the row.
        answer = SettlementResult(code="spooled")
    elif refusal is not None:
        path = _spooled([payload], refused=True)
        log.error("settlement_refused", file=path.name if path else "", error=str(refusal))
        answer = SettlementResult(code="refused")
    else:
        answer = settled.result()
    if not result.done():
        result.set_result(answer)


def _spooled(rows: list[bytes], *, refused: bool = False) -> Path | None:
    """Write settlements to the spool. Return the file, or None where they are only in the log."""
    try:
        return spool.write(rows, refused=refused)
    except OSError:
        return None


def _no_such_key(request_id: str) -> AdmissionResult:
    return AdmissionResult(request_id=request_id, code="invalid_api_key")


def _no_such_account(request_id: str) -> SettlementResult:
    return SettlementResult(request_id=request_id, code="unknown_reservation")

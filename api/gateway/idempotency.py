"""Idempotency-Key: a repeat of a request gets the first one's answer, and is never charged again.

The semantics are those of the IETF's draft-ietf-httpapi-idempotency-key-header. A request of a paid
operation with the header goes through these steps:

1. It is read, checked and quoted like any other; what is wrong by itself claims nothing.
2. It claims its idempotency key: one row, whose primary key is a digest of both keys, so that of
   any number of processes one has it. The others find the row, and get its answer or an error.
3. It is admitted and answered. It is finished even if the client disconnects.
4. Before the last byte leaves, the answer is stored, encrypted, or the claim is released: by a
   request that was refused, or failed, and cost nothing.

A claim belongs to its process's lease, as a hold does (`billing/ledger/lease.py`). Of a dead
process the ledger says what became of the request: while its hold is open it is in progress; if
nothing was charged, a repeat takes the claim over; what was charged, but whose answer is lost, is
never run again, and a repeat gets an error that names it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
import structlog

from api import errors
from api.gateway.admission import identify
from api.gateway.beside_loop import run_beside
from api.gateway.http import ApiRequest, Downstream, Headers, Send
from api.gateway.idempotency_store import Earlier, KeyClaim, StoredAnswer
from api.gateway.max_cost import HEADER as MAX_COST
from api.gateway.max_cost import take_max_cost
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from billing.failpoints import ARMED, failpoint

log = structlog.get_logger(__name__)

IDEMPOTENCY_KEY = b"idempotency-key"
LONGEST_KEY = 255
MAX_LOOKS = 3
RETRY_SECONDS = 1.0
# How often storing an answer is tried before it is given up, and only that is stored.
MAX_STORES = 60
# Retry-After is as long as the request has run: a client waits at most twice as long as it takes.
LONGEST_WAIT_SECONDS = 30
PIECE_BYTES = 64 * 1024

# A repeat's own, or its connection's.
_FRESH_HEADERS = (
    *(b"access-control-", b"strict-transport-", b"x-content-type-", b"x-ratelimit-"),
    b"anthropic-ratelimit-",
    b"x-request-id",  # it is the first request's, but set again
)
_SUCCESSES = ("", "completed", "empty")  # of a job there is no outcome yet

Handler = Callable[[Gateway, ApiRequest], Awaitable[None]]


class InvalidIdempotencyKeyError(errors.InvalidValueError):
    """The header's value can't be a key."""

    code = "invalid_idempotency_key"
    default_message = (
        f"Invalid Idempotency-Key: expected 1 to {LONGEST_KEY} printable ASCII characters, such as "
        "a UUID."
    )


class IdempotencyConflictError(errors.ConflictError):
    """The first request with the key is still in progress."""

    code = "idempotency_key_in_use"
    default_message = (
        "A request with this Idempotency-Key is in progress. Repeat this one later to get its "
        "answer."
    )


class IdempotencyMismatchError(errors.InvalidRequestError):
    """The key was used for another request."""

    status = 422
    code = "idempotency_key_reused"
    default_message = (
        "This Idempotency-Key was used for another request. Send the same body to the same "
        "endpoint, or use a new key."
    )


class AnswerNotKeptError(errors.InvalidRequestError):
    """The first request was charged, but its answer can't be sent again."""

    status = 410
    code = "idempotent_answer_gone"
    default_message = (
        "The first request with this Idempotency-Key was charged, but its answer can't be sent "
        "again. Use a new key to run the request again; that is charged again."
    )


class ReplayError(Exception):
    """Not an error: a repeat's way out of its operation, with the first request's answer."""

    def __init__(self, request_id: str, answer: StoredAnswer) -> None:
        super().__init__(request_id)
        self.request_id = request_id
        self.answer = answer


async def serve_once(
    gateway: Gateway, request: ApiRequest, send: Send, endpoint: str, handle: Handler
) -> None:
    """Answer a request with an Idempotency-Key. Raise an error of `api.errors`.

    If the client disconnects once the key is claimed, the request goes on in the background.
    """
    run = _Run(gateway, request, send, endpoint)
    task = asyncio.get_running_loop().create_task(run.serve(handle))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        run.note_disconnect()
        if not run.has_begun:
            task.cancel()
        gateway.run_in_background(_outlive(task, request.request_id))
        raise


async def _outlive(task: "asyncio.Task[None]", request_id: str) -> None:
    """Wait for a request whose client has disconnected. If the process stops, end it."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, errors.ApiError):
        log.error("request_failed", request_id=request_id, error=repr(error))


class _Run:
    """A request with an Idempotency-Key, from its body to the answer's last byte.

    `admitted` is set by the admission. `has_begun` says that the key is being claimed.
    """

    def __init__(self, gateway: Gateway, request: ApiRequest, send: Send, endpoint: str) -> None:
        """Raise InvalidIdempotencyKeyError, or AuthenticationError without a well-formed key."""
        self._gateway = gateway
        self._request = request
        self._endpoint = endpoint
        key = _key_in(request.headers[IDEMPOTENCY_KEY])
        self._key = KeyClaim(gateway.jobs, request.api_key(), key)
        self._body_digest = self._key.body_digest()
        self._receive = request.receive
        self._send = send
        self._sender: asyncio.Task[Any] | None = None
        self._start: Mapping[str, Any] = {}
        self._parts: list[bytes] | None = []
        self._size_bytes = 0
        self._is_connected = True
        self._has_claim = False
        self.has_begun = False
        self.admitted: AdmittedRequest | None = None

    async def serve(self, handle: Handler) -> None:
        """Answer the request, or the repeat. Raise an error of `api.errors`."""
        request = self._request
        request.idempotency = self
        request.receive = self._receive_and_digest
        request.downstream = Downstream(self._record_and_send)
        try:
            await handle(self._gateway, request)
        except ReplayError as replay:
            await self._replay(replay)
        finally:
            if self._has_claim:
                await self._end("incomplete" if self._may_be_charged() else "")

    def note_disconnect(self) -> None:
        """Send no more to the client; what is being sent is given up."""
        self._is_connected = False
        if self._sender is not None:
            self._sender.cancel()

    async def claim(self) -> None:
        """Claim the key for this request, unless it has it already.

        Raise ReplayError if there is an answer, or an error of `api.errors`.
        """
        if self.has_begun:
            return
        gateway, request = self._gateway, self._request
        admission = request.admission or await identify(gateway, request, request.key_digests())
        lease_id = gateway.gate.lease_id
        if admission is None or lease_id is None:
            raise errors.ServiceUnavailableError()
        self.has_begun = True
        try:
            for _ in range(MAX_LOOKS):
                self._has_claim = await self._key.take(
                    key_id=admission.key_id,
                    fingerprint=self._fingerprint(),
                    request_id=request.request_id,
                    endpoint=self._endpoint,
                    lease_id=lease_id,
                    seconds=gateway.limits.idempotency_seconds,
                )
                if self._has_claim:
                    if ARMED:
                        failpoint("after_claim")
                    return
                if earlier := await self._key.earlier():
                    self._judge(earlier)
        except psycopg.Error as error:
            log.warning("idempotency_key_not_claimed", error=repr(error))
            raise errors.ServiceUnavailableError() from None
        raise IdempotencyConflictError(retry_after_seconds=1)

    def _judge(self, earlier: Earlier) -> None:
        """Raise what a repeat gets. Return if the claim has become free in the meantime."""
        if earlier.fingerprint != self._fingerprint():
            raise IdempotencyMismatchError()
        request_id = earlier.request_id.hex
        if earlier.state == "stored":
            raise ReplayError(request_id, self._key.unseal(request_id, bytes(earlier.answer)))
        if earlier.state == "running" and (earlier.is_alive or earlier.is_held):
            wait_seconds = min(LONGEST_WAIT_SECONDS, round(earlier.age_seconds))
            raise IdempotencyConflictError(retry_after_seconds=wait_seconds)
        if earlier.state == "running" and not earlier.is_charged:
            return
        reason = (
            "is larger than what is kept" if earlier.state == "too_large" else "was interrupted"
        )
        raise AnswerNotKeptError(
            f"The first request with this Idempotency-Key was charged (request {request_id}), but "
            f"its answer {reason} and can't be sent again. Use a new key to run the request "
            "again; that is charged again."
        )

    async def _replay(self, replay: ReplayError) -> None:
        """Send the first request's answer again."""
        request, answer = self._request, replay.answer
        request.request_id = replay.request_id
        headers: Headers = [*answer.headers, (b"idempotent-replayed", b"true")]
        request.prepare_bytes(headers, answer.status)
        body = answer.body
        for start in range(0, len(body) or 1, PIECE_BYTES):
            end = start + PIECE_BYTES
            try:
                async with asyncio.timeout(self._gateway.limits.write_timeout_seconds):
                    await request.downstream.write(body[start:end], is_last=end >= len(body))
            except TimeoutError:
                return

    async def _receive_and_digest(self) -> Mapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_digest.update(message.get("body", b""))
        return message

    def _fingerprint(self) -> str:
        """Return the digest of the request: its endpoint, mount, body and maximum cost.

        A form's is without its boundary, which clients choose for each try.
        """
        request = self._request
        body = request.body_digest if request.is_form else self._body_digest.hexdigest()
        mount, argument = request.surface.mount, request.argument
        parts = ["POST", mount, self._endpoint, argument, body]
        if MAX_COST in request.headers:
            # It limits the answer, as a member of the body would. Equal amounts are the same.
            parts.append(str(take_max_cost(request.headers, {})[0]))
        return self._key.fingerprint(*parts)

    async def _record_and_send(self, message: Mapping[str, Any]) -> None:
        """Record a part of the answer and send it; store the answer before its last part goes."""
        if self._has_claim:
            if message["type"] == "http.response.start":
                self._start = message
            else:
                self._record(message.get("body", b""))
                if not message.get("more_body", False):
                    await self._end(self._state_of_whole())
        if not self._is_connected:
            return
        self._sender = sender = asyncio.current_task()
        try:
            await self._send(message)
        except asyncio.CancelledError:
            # The server goes on waiting for a client that disconnects while it doesn't read.
            if self._is_connected or sender is None or sender.uncancel() > 0:
                raise
        finally:
            self._sender = None

    def _record(self, part: bytes) -> None:
        self._size_bytes += len(part)
        if self._size_bytes > self._gateway.limits.idempotency_max_bytes:
            self._parts = None
        if self._parts is not None:
            self._parts.append(part)

    def _state_of_whole(self) -> str:
        """Return the state of a claim whose answer was sent whole, "" to release it."""
        admitted = self.admitted
        outcome = admitted.outcome if admitted is not None else ""
        is_success = self._start["status"] < 400 and outcome in _SUCCESSES
        if not is_success and not self._may_be_charged():
            return ""
        return "too_large" if self._parts is None else "stored"

    def _may_be_charged(self) -> bool:
        """Return whether the request was charged, or something will end its hold later."""
        admitted = self.admitted
        return admitted is not None and (
            admitted.settlement is None or admitted.cost.total_nanos > 0
        )

    async def _end(self, state: str) -> None:
        """End the claim, once. If the database is away, wait only as for a settlement."""
        self._has_claim = False
        if ARMED:
            failpoint("before_answer_stored")
        ending = self._gateway.run_in_background(self._store(state))
        await asyncio.wait([ending], timeout=self._gateway.limits.settle_wait_seconds)

    async def _store(self, state: str) -> None:
        """Store what becomes of the claim, as often as it takes."""
        key, request_id = self._key, self._request.request_id
        seconds, answer, tries = self._gateway.limits.idempotency_seconds, b"", 0
        if state == "stored":
            answer = await run_beside(self._size_bytes, self._sealed)
        self._parts = None
        while True:
            try:
                if state:
                    await key.end(request_id, state, answer, seconds)
                else:
                    await key.release(request_id)
            except psycopg.Error as error:
                log.warning("answer_not_stored", request_id=request_id, error=repr(error))
                tries += 1
                if tries == MAX_STORES and state == "stored":
                    state, answer = "incomplete", b""
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        if ARMED:
            failpoint("after_answer_stored")

    def _sealed(self) -> bytes:
        """Return the answer as it is stored."""
        kept = [
            (name, value)
            for name, value in self._start["headers"]
            if not name.startswith(_FRESH_HEADERS)
        ]
        answer = StoredAnswer(self._start["status"], kept, b"".join(self._parts or ()))
        return self._key.seal(self._request.request_id, answer)


def _key_in(header: bytes) -> bytes:
    """Return the key in the header: the draft's structured string, or the same without quotes.

    Raise InvalidIdempotencyKeyError.
    """
    key = header.strip()
    if len(key) > 1 and key[:1] == key[-1:] == b'"':
        key = key[1:-1]
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.decode().isprintable()):
        raise InvalidIdempotencyKeyError()
    return key

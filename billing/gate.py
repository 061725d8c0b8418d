"""The gate: the relay's only way to the ledger. One statement admits, one settles."""

import asyncio

import msgspec


class LedgerUnavailableError(Exception):
    """The database can't be reached now; nothing was reserved."""


class Admission(msgspec.Struct, kw_only=True):
    """What a request asks of the ledger before its upstream call.

    `digests` are the key's, one for each pepper in use, as hex. `minimum_nanos` is the least hold
    that makes sense: below `amount_nanos` where the client left the output's length to us.
    `tokens` counts against the key's tokens per minute until settlement corrects it.
    `catalogue_version` is that of the snapshot the quote was made from.
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


class Verdict(msgspec.Struct, kw_only=True):
    """The ledger's answer to an admission (or to `identify`, which reserves nothing).

    `code` is `admitted`, `identified`, or why not: `invalid_api_key`, `wrong_scope`,
    `team_suspended`, `model_not_allowed`, `rate_limited_requests`, `rate_limited_tokens`,
    `budget_exceeded`, `insufficient_quota`, `stale_catalogue`. `amount_nanos` is what was held.
    The limits are the key's for the current minute; `reset_at` is in unix seconds.
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


class Settlement(msgspec.Struct, kw_only=True):
    """The end of a reservation and its usage record: every column that the relay knows.

    A settlement whose components are all zero releases the reservation. `outcome` says how the
    request ended: `completed`, `client_closed`, `upstream_error`, `upstream_timeout`, `empty`, ...
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
    upstream_cost_nanos: int = 0
    source: str = "none"
    error: str = ""
    finish_reason: str = ""
    attempts: list[dict[str, object]] = []
    latency_ms: int = 0
    first_token_ms: int | None = None


class Receipt(msgspec.Struct, kw_only=True):
    """What a settlement did: `settled`, `released`, `late` (its hold had expired),
    `already_ended` (a repeat changed nothing), or `unknown_reservation`."""

    code: str
    charged_nanos: int = 0
    written_off_nanos: int = 0
    balance_nanos: int = 0


class Gate:
    """Sends admissions and settlements to the ledger, those that wait together as one statement."""

    def __init__(self, database_url: str) -> None:
        raise RuntimeError("replaced in the next commit")

    async def open(self) -> None:
        """Starts the connections in the background; admissions before they stand get 503."""

    async def close(self, timeout_seconds: float) -> None:
        """Waits for queued settlements, writes what is left to the spool, closes."""

    async def admit(self, admission: Admission) -> Verdict:
        """Returns the verdict. Raises LedgerUnavailableError; then nothing was reserved.

        A caller that is cancelled while it waits does not cancel the statement: what it was
        admitted for is released.
        """
        raise RuntimeError

    async def identify(self, digests: list[str]) -> Verdict:
        """Returns who a key belongs to and its limits, reserving and counting nothing."""
        raise RuntimeError

    def settle(self, settlement: Settlement) -> "asyncio.Future[Receipt]":
        """Queues a settlement, which is retried until the ledger has it, and returns its receipt.

        The future is never cancelled by the gate and never raises; wait for it with a bound
        (`asyncio.wait`), since a database that is away keeps it open.
        """
        raise RuntimeError

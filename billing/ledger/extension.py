"""Extensions: what a running request asks of the ledger while its answer grows."""

import msgspec

from billing.ledger.group_commit import BatchQueue, RowResult

# A stream that waits for its next slice may be half an hour old: it is worth more than a request
# that has not begun.
EXTEND_PATIENCE_SECONDS = 10.0


class Extension(msgspec.Struct, kw_only=True, omit_defaults=True):
    """More of a hold, and of a minute's tokens, for an answer that goes on.

    `amount_nanos` is what the whole hold is to be, and `minimum_nanos` the least with which the
    answer can go on. `tokens` are those of the request so far, as they count against tokens per
    minute: those that were counted before are not counted again, and none are refused.
    """

    request_id: str
    account_id: int
    amount_nanos: int = 0
    minimum_nanos: int = 0
    tokens: int = 0


class ExtensionResult(RowResult, kw_only=True):
    """The ledger's answer to an extension: `extended`, `budget_exceeded`, `insufficient_quota`, or
    `ended` if there is no open reservation. `amount_nanos` is what is held now."""

    code: str
    amount_nanos: int = 0


def extension_queue(database_url: str) -> BatchQueue[ExtensionResult]:
    """Return the queue of a process's extensions."""
    return BatchQueue(
        "billing_extend",
        database_url,
        ExtensionResult,
        patience_seconds=EXTEND_PATIENCE_SECONDS,
        missing=lambda request_id: ExtensionResult(request_id=request_id, code="ended"),
    )

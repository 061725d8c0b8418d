"""A hold that grows with its stream, slice by slice and ahead of what is passed on.

A stream's first hold pays for its prompt and a slice of output. Text is passed on only as far as
the hold pays for it, counted at its upper bound: a token is at least a byte. The next slice is
asked for when half of the last one is used up, so that a stream doesn't wait for it, and each slice
is twice the last one, so that a long answer takes few statements.
"""

import asyncio
import math

from api.gateway.quote import UNSEEN_TOKENS, Quote
from api.gateway.upstream_errors import (
    AttemptError,
    BudgetUsedUpError,
    CreditsUsedUpError,
    HoldLostError,
)
from billing.ledger.gate import (
    AdmissionResult,
    Extension,
    ExtensionResult,
    Gate,
    LedgerUnavailableError,
)
from billing.ledger.group_commit import RefusedRowError
from billing.pricing.charge import affordable_output_tokens, quote

# Slices grow up to so many times the first one.
LARGEST_SLICE = 16

_ENDINGS = {"insufficient_quota": CreditsUsedUpError, "budget_exceeded": BudgetUsedUpError}


class GrowingHold:
    """The hold of one stream. Amounts are nano-dollars.

    `paid_bytes` is how much text the hold pays for, `asks_at_bytes` at how much more of it is asked
    for, and `counted_bytes` how much is counted against tokens per minute.
    """

    __slots__ = (
        "_account_id",
        "_asked_nanos",
        "_gate",
        "_held_nanos",
        "_largest_slice",
        "_pending",
        "_quote",
        "_request_id",
        "_slice",
        "asks_at_bytes",
        "counted_bytes",
        "paid_bytes",
    )

    def __init__(
        self, gate: Gate, quoted: Quote, request_id: str, admission: AdmissionResult
    ) -> None:
        self._gate = gate
        self._quote = quoted
        self._request_id = request_id
        self._account_id = admission.account_id
        self._pending: asyncio.Future[ExtensionResult] | None = None
        self._asked_nanos = quoted.amount_nanos
        self._slice = self._paid_tokens(quoted.amount_nanos) or 1
        self._largest_slice = LARGEST_SLICE * self._slice
        self.paid_bytes: float = 0
        self.asks_at_bytes: float = 0
        self.counted_bytes = 0
        self._note_held(admission.amount_nanos)

    def ask_ahead(self, text_bytes: int) -> None:
        """Ask for the next slice after so much text, unless it was asked for."""
        if self._pending is None:
            self._ask(text_bytes, self._held_nanos)

    async def cover(self, text_bytes: int) -> None:
        """Wait until the hold pays for so much text. Raise AttemptError if it can't."""
        if self._pending is not None:
            await self._answer(self._pending)
        if text_bytes <= self.paid_bytes:
            return
        least = self._cost(self._quote.most_output_of(text_bytes))
        result = await self._answer(self._ask(text_bytes, least))
        if result.code != "extended":
            ending = _ENDINGS.get(result.code, HoldLostError)
            raise AttemptError(
                "unfunded", f"the hold was not extended: {result.code}", ending=ending
            )

    def _ask(self, text_bytes: int, least_nanos: int) -> asyncio.Future[ExtensionResult]:
        """Ask for a slice beyond the hold, or beyond so much text."""
        quoted = self._quote
        used = max(quoted.most_output_of(text_bytes), self._paid_tokens(self._held_nanos))
        output = min(used + self._slice, quoted.most_output)
        self._asked_nanos = self._cost(output)
        self.counted_bytes = output
        extension = Extension(
            request_id=self._request_id,
            account_id=self._account_id,
            amount_nanos=self._asked_nanos,
            minimum_nanos=least_nanos,
            tokens=quoted.prompt.likely + quoted.likely_output(output),
        )
        self._pending = pending = self._gate.extend(extension)
        pending.add_done_callback(self._note_answer)
        return pending

    async def _answer(self, pending: asyncio.Future[ExtensionResult]) -> ExtensionResult:
        """Return the ledger's answer. Raise AttemptError if there is none."""
        try:
            result = await asyncio.shield(pending)
        except (LedgerUnavailableError, RefusedRowError) as error:
            raise AttemptError(
                "unfunded", f"no extension: {error!r}", ending=HoldLostError
            ) from None
        self._note_answer(pending)
        return result

    def _note_answer(self, answered: asyncio.Future[ExtensionResult]) -> None:
        """Note what is held, once."""
        if self._pending is not answered:
            return
        self._pending = None
        if answered.cancelled() or answered.exception() is not None:
            return
        result = answered.result()
        if result.code == "extended":
            self._note_held(result.amount_nanos)
            self._slice = min(2 * self._slice, self._largest_slice)
        else:
            self.asks_at_bytes = self.paid_bytes

    def _note_held(self, held_nanos: int) -> None:
        """Work out what the hold pays for. Ask for no more before it is needed if less came."""
        quoted, self._held_nanos = self._quote, held_nanos
        tokens = self._paid_tokens(held_nanos)
        if tokens >= quoted.most_output:
            self.paid_bytes = self.asks_at_bytes = math.inf
            return
        self.paid_bytes = max(0, tokens - UNSEEN_TOKENS * quoted.choices)
        self.asks_at_bytes = self.paid_bytes
        if held_nanos >= self._asked_nanos:
            self.asks_at_bytes = max(0, self.paid_bytes - self._slice // 2)

    def _paid_tokens(self, held_nanos: int) -> int:
        """Return how much output the hold pays for."""
        quoted = self._quote
        tokens = affordable_output_tokens(
            quoted.prices, input_tokens_max=quoted.prompt.most, amount_nanos=held_nanos
        )
        return quoted.most_output if tokens is None else min(tokens, quoted.most_output)

    def _cost(self, output_tokens: int) -> int:
        """Return the whole hold for so much output."""
        quoted = self._quote
        return quote(
            quoted.prices,
            input_tokens_max=quoted.prompt.most,
            output_tokens_max=output_tokens,
        )

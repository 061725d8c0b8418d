"""A hold that grows with its stream, slice by slice and ahead of what is passed on.

A stream's first hold pays for its prompt and a slice of output. Text is passed on only as far as
the hold pays for it, counted at its upper bound: a token is at least a byte. The next slice is
asked for when half of the last one is used up, so that a stream doesn't wait for it, and each slice
is twice the last one, so that a long answer takes few statements.
"""

import asyncio
import math

from msgspec import structs

from api.gateway.http import ApiRequest
from api.gateway.quote import GRANTED_OUTPUT_TOKENS, Quote
from api.gateway.upstream_errors import (
    AttemptError,
    BudgetUsedUpError,
    CreditsUsedUpError,
    HoldLostError,
)
from billing.ledger.extension import Extension, ExtensionResult
from billing.ledger.gate import AdmissionResult, Gate
from billing.ledger.group_commit import LedgerUnavailableError, RefusedRowError
from billing.pricing.charge import Usage, affordable_output_tokens, quote, quote_range

# The least output that the first hold must pay for, where the client names a limit: an answer that
# is cut after a few words is worth less than a refusal.
LEAST_SLICE_TOKENS = 256
# Where the balance pays for so much output, a limit that the dialect demands is left as it is.
LONG_OUTPUT_TOKENS = 16_384
# What an answer can have besides its text: the tokens that end it, and that divide reasoning and
# tool calls from the rest.
UNSEEN_TOKENS = 16
# Slices grow up to so many times the first one.
LARGEST_SLICE = 16

_ENDINGS = {"insufficient_quota": CreditsUsedUpError, "budget_exceeded": BudgetUsedUpError}


def hold_slice(quoted: Quote, slice_tokens: int) -> None:
    """Hold for the prompt and a first slice of a stream's output; the hold is to grow with it.

    Change nothing where all of the output must be held for: if it is no longer than a slice, costs
    nothing, can't be seen as it comes, or is billed to its end whoever reads it.
    """
    first = slice_tokens * quoted.choices
    if first >= quoted.most_output or quoted.job_seconds or not _is_seen_as_it_comes(quoted):
        return
    amount, least = quote_range(
        quoted.prices,
        input_tokens_max=quoted.prompt.most,
        output_tokens_max=first,
        output_tokens_min=min(first, LEAST_SLICE_TOKENS * quoted.choices),
    )
    if amount >= quoted.amount_nanos:
        return
    quoted.whole_nanos, quoted.amount_nanos = quoted.amount_nanos, amount
    quoted.minimum_nanos = min(quoted.minimum_nanos, least)
    if quoted.request.max_tokens is not None:
        granted = min(quoted.max_tokens, GRANTED_OUTPUT_TOKENS)
        surplus = max(0, granted - slice_tokens) * quoted.choices
        quoted.limited_tokens -= surplus
        if quoted.least_limited_tokens is not None:
            quoted.least_limited_tokens -= surplus


def _is_seen_as_it_comes(quoted: Quote) -> bool:
    """Return whether every token that is billed comes as text, and none is billed after a cut."""
    request, model = quoted.request, quoted.model
    if quoted.units is not None or quoted.likely is not None or request.billed or request.echoes:
        return False
    # A chat model whose row names no modalities makes text.
    if model.hides_reasoning or model.output_modalities not in ((), ("text",)):
        return False
    for route in model.routes:
        dialect = route.upstream.dialect
        if (
            route.upstream.drains_on_disconnect
            or (dialect == "anthropic_messages" and request.hides_reasoning)
            # OpenAI's own endpoint streams no reasoning, or a summary.
            or (dialect == "openai_responses" and "reasoning" in model.features)
        ):
            return False
    return True


def fit_growing(quoted: Quote, held_nanos: int, available_nanos: int) -> None:
    """Lower a growing stream's limit to what all that is available pays for.

    A limit that the client names on purpose stays, and one that the dialect demands stays if the
    balance pays for a long answer: those answers end where their hold can't grow.
    """
    request = quoted.request
    if held_nanos == quoted.amount_nanos:
        held_nanos += max(0, available_nanos)
    if request.max_tokens is not None:
        long = min(quoted.max_tokens, LONG_OUTPUT_TOKENS) * quoted.choices
        if not request.is_limit_a_ceiling or held_nanos >= _cost(quoted, long):
            return
    if held_nanos < quoted.whole_nanos:
        quoted.lower_to(held_nanos)


def most_output_of(quoted: Quote, text_bytes: int) -> int:
    """Return the most tokens that so many bytes of text can have been billed as.

    A token is at least a byte, but for those that end or divide an answer.
    """
    return min(text_bytes + UNSEEN_TOKENS * quoted.choices, quoted.most_output)


class GrowingHold:
    """The hold of one stream. Amounts are nano-dollars.

    `paid_bytes` is how much text the hold pays for, `asks_at_bytes` at how much more of it is asked
    for, and `counted_bytes` how much is counted against tokens per minute. `withheld_bytes` is how
    much text had come, and was paid for, when the surface last kept some back, such as reasoning.
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
        "withheld_bytes",
    )

    def __init__(
        self, gate: Gate, quoted: Quote, admission: AdmissionResult, request: ApiRequest
    ) -> None:
        self._gate = gate
        self._quote = quoted
        self._request_id = request.request_id
        self._account_id = admission.account_id
        self._pending: asyncio.Future[ExtensionResult] | None = None
        self._asked_nanos = quoted.amount_nanos
        self._slice = self._paid_tokens(quoted.amount_nanos) or 1
        self._largest_slice = LARGEST_SLICE * self._slice
        self.paid_bytes: float = 0
        self.asks_at_bytes: float = 0
        self.counted_bytes = 0
        self.withheld_bytes = 0
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
        least = _cost(self._quote, most_output_of(self._quote, text_bytes))
        result = await self._answer(self._ask(text_bytes, least))
        if result.code != "extended":
            ending = _ENDINGS.get(result.code, HoldLostError)
            raise AttemptError(
                "unfunded", f"the hold was not extended: {result.code}", ending=ending
            )

    def delivered(self, usage: Usage, text_bytes: int) -> Usage:
        """Return a usage with no more output than so much delivered text can have."""
        quoted = self._quote
        most = min(quoted.likely_output(text_bytes), most_output_of(quoted, text_bytes))
        output = min(usage.output_tokens, most)
        reasoning = min(usage.reasoning_tokens, output)
        return structs.replace(usage, output_tokens=output, reasoning_tokens=reasoning)

    def _ask(self, text_bytes: int, least_nanos: int) -> asyncio.Future[ExtensionResult]:
        """Ask for a slice beyond the hold, or beyond so much text."""
        quoted = self._quote
        used = max(most_output_of(quoted, text_bytes), self._paid_tokens(self._held_nanos))
        output = min(used + self._slice, quoted.most_output)
        self._asked_nanos = _cost(quoted, output)
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


def _cost(quoted: Quote, output_tokens: int) -> int:
    """Return what a hold for the prompt and so much output comes to."""
    return quote(
        quoted.prices, input_tokens_max=quoted.prompt.most, output_tokens_max=output_tokens
    )

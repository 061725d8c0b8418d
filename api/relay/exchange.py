"""An admitted request, from its reservation to its one settlement.

An `Exchange` is made right after the verdict, with no await between, and from then on owns the
settlement: whatever happens (an answer, a fault, a client that leaves, a mistake of ours), exactly
one settlement is queued, and queueing it never waits.
"""

import asyncio
import math
import time

from api.catalogue.snapshot import RouteEntry
from api.relay.call import Call
from api.relay.estimate import tokens_of
from api.relay.faults import AttemptError
from api.relay.plan import Plan
from api.relay.usage import Metered
from api.relay.watch import Watch
from billing.failpoints import failpoint
from billing.ledger.gate import AdmissionResult, Gate, Settlement, SettlementResult
from billing.pricing.charge import (
    NO_CHARGE,
    NOTHING_USED,
    Charge,
    Usage,
    charge_of,
    upstream_cost_nanos,
)

_LONGEST_TEXT = 300
_LONGEST_END_USER = 120


class Exchange:
    """What is known of a request since its admission. Times are `time.monotonic()` seconds."""

    __slots__ = (
        "_gate",
        "_is_handed_over",
        "_receipt",
        "attempts",
        "cost",
        "delivered_bytes",
        "finish_reason",
        "first_token_ms",
        "plan",
        "request_id",
        "route",
        "started_at",
        "surface",
        "upstream_request_id",
        "usage",
        "verdict",
        "was_dispatched",
    )

    def __init__(self, gate: Gate, call: Call, plan: Plan, verdict: AdmissionResult) -> None:
        self._gate = gate
        self.request_id = call.request_id
        self.surface = call.surface
        self.started_at = call.started_at
        self.plan = plan
        self.verdict = verdict
        self.attempts: list[dict[str, object]] = []
        self.route: RouteEntry | None = None
        self.was_dispatched = False
        self.upstream_request_id = ""
        self.first_token_ms: int | None = None
        # The bytes of text that the client has: of content, reasoning and arguments.
        self.delivered_bytes = 0
        self.finish_reason = ""
        self.usage = NOTHING_USED
        self.cost: Charge = NO_CHARGE
        self._receipt: asyncio.Future[SettlementResult] | None = None
        self._is_handed_over = False

    @property
    def elapsed_ms(self) -> int:
        """How long ago the request came."""
        return _ms_since(self.started_at)

    def begin_attempt(self, route: RouteEntry) -> None:
        """Notes that the route's upstream is now asked."""
        self.route = route
        self.was_dispatched = True

    def end_attempt(self, began_at: float, status: int, error: str = "") -> None:
        """Notes how the upstream did; `began_at` as `started_at`."""
        if self.route is not None:
            self.attempts.append(
                {
                    "upstream": self.route.upstream.name,
                    "upstream_model": self.route.upstream_model,
                    "status": status,
                    "ms": _ms_since(began_at),
                    "error": _clean(error),
                }
            )

    def saw_first_token(self) -> None:
        """Notes the time to the first token."""
        self.first_token_ms = _ms_since(self.started_at)

    def complete(self, metered: Metered) -> None:
        """Settles an answer that came to its end, at the upstream's figures or an estimate.

        An empty answer costs nothing.
        """
        if metered.is_empty:
            self._settle("empty", 200)
        elif metered.usage is None:
            self._settle("completed", 200, self.estimated(), "estimated")
        else:
            self._settle("completed", 200, metered.usage, "upstream")

    def complete_units(self, usage: Usage) -> None:
        """Settles an answer that is paid for by the piece, at what was delivered."""
        self._settle("completed", 200, usage, "upstream")

    def fail(self, fault: AttemptError, status: int) -> None:
        """Settles an answer that failed: what was delivered is paid for, nothing else."""
        if self.delivered_bytes:
            self._settle(fault.outcome, status, self.estimated(), "estimated", fault.detail)
        else:
            self._settle(fault.outcome, status, error=fault.detail)

    def abandon(self) -> None:
        """Settles for a client who left: prompt and delivered output, if an upstream was asked.

        What is paid for by the piece is delivered as a whole or not at all.
        """
        if self._is_handed_over:
            return
        if self.was_dispatched and self.plan.units is None:
            self._settle("client_closed", 499, self.estimated(), "estimated")
        else:
            self._settle("client_closed", 499)

    def hand_over(self) -> None:
        """Leaves the settlement of a client who left to who reads on: `settle_abandoned`."""
        self._is_handed_over = True

    def settle_abandoned(self, usage: Usage | None) -> None:
        """Settles for a client who left, at the usage that the upstream billed all the same."""
        self._is_handed_over = False
        if usage is None:
            self.abandon()
        else:
            self._settle("client_closed", 499, usage, "upstream")

    def crash(self, error: BaseException) -> None:
        """Settles after a mistake of ours: free of charge."""
        self._settle("internal_error", 500, error=type(error).__name__)

    async def receipt(self, watch: Watch, patience_seconds: float) -> None:
        """Waits until the settlement is durable, or the patience is over: it stays queued then.

        Only we wait for the receipt, so that a cancellation may end it; the settlement goes on.
        """
        if self._receipt is None or self._receipt.done():
            return
        watch.allow(patience_seconds)
        try:
            await self._receipt
        except asyncio.CancelledError:
            if watch.take_reason() is None:
                raise
        watch.allow(math.inf)

    def estimated(self) -> Usage:
        """Returns the likely prompt and what was delivered, within what was held."""
        plan = self.plan
        output = tokens_of(max(0, self.delivered_bytes - plan.echoed_bytes), plan.model)
        return Usage(
            input_tokens=plan.prompt.likely,
            output_tokens=min(output, plan.max_tokens * plan.choices),
        )

    def _settle(
        self,
        outcome: str,
        status: int,
        usage: Usage = NOTHING_USED,
        source: str = "none",
        error: str = "",
    ) -> None:
        """Queues the settlement, once; later calls change nothing."""
        if self._receipt is not None:
            return
        failpoint("after_upstream_end")
        plan, route = self.plan, self.route
        self.usage = usage
        self.cost = cost = charge_of(plan.prices, usage) if source != "none" else NO_CHARGE
        settlement = Settlement(
            request_id=self.request_id,
            account_id=self.verdict.account_id,
            key_id=self.verdict.key_id,
            price_version_id=plan.prices.version_id,
            model=plan.model.name,
            surface=self.surface.name,
            endpoint=plan.endpoint,
            outcome=outcome,
            status=status,
            streamed=plan.is_streamed,
            upstream=route.upstream.name if route is not None else "",
            upstream_request_id=_clean(self.upstream_request_id),
            end_user=_clean(plan.end_user)[:_LONGEST_END_USER],
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            images=usage.images,
            seconds=usage.seconds,
            pieces=usage.pieces,
            input_nanos=cost.input_nanos,
            cached_nanos=cost.cached_nanos,
            output_nanos=cost.output_nanos,
            reasoning_nanos=cost.reasoning_nanos,
            units_nanos=cost.units_nanos,
            lines=cost.lines,
            upstream_cost_nanos=upstream_cost_nanos(plan.prices, usage) if source != "none" else 0,
            source=source,
            error=_clean(error),
            finish_reason=_clean(self.finish_reason)[:40],
            attempts=self.attempts,
            latency_ms=_ms_since(self.started_at),
            first_token_ms=self.first_token_ms,
        )
        self._receipt = self._gate.settle(settlement)


def _ms_since(began_at: float) -> int:
    return round((time.monotonic() - began_at) * 1000)


def _clean(text: str) -> str:
    """Returns a text cut to a length that PostgreSQL takes: no NUL, no lone surrogates."""
    if not text:
        return text
    text = text[:_LONGEST_TEXT].replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

"""An admitted request, from its reservation to its one settlement.

An `AdmittedRequest` is made right after the admission, with no await between, and from then on owns
the settlement: whatever happens (an answer, an upstream's failure, a client that disconnects, a bug
of ours), exactly one settlement is queued, and queueing it never waits.
"""

import asyncio
import time

import structlog

from api.catalogue.snapshot import RouteEntry
from api.dialects.usage import Metered
from api.gateway.http import ApiRequest
from api.gateway.quote import Quote
from api.gateway.upstream_errors import AttemptError
from billing.failpoints import ARMED, failpoint
from billing.ledger.gate import AdmissionResult, Gate, Settlement, SettlementResult
from billing.pricing.charge import (
    NO_CHARGE,
    NO_UNITS,
    NOTHING_USED,
    Charge,
    Usage,
    charge_and_cost,
)

log = structlog.get_logger(__name__)

# An answer's growth counts against tokens per minute each time that it has so many tokens more.
GROWTH_TOKENS = 2_048

_LONGEST_TEXT = 300
_LONGEST_END_USER = 120


class AdmittedRequest:
    """A request since its admission, and the owner of its settlement.

    Times are `time.monotonic()` seconds. `delivered_bytes` is the text that the client has, of
    content, reasoning and arguments, in UTF-8. `route` is the one that was tried last, and
    `was_dispatched` whether its upstream may have been called. `elapsed_ms` is how long after the
    request's arrival the last attempt ended. `settlement` is the future of the queued settlement:
    done once that is durable, and a caller who cancels it ends only the wait.
    """

    __slots__ = (
        "_counts_at_bytes",
        "_gate",
        "_is_detached",
        "admission",
        "attempts",
        "cost",
        "delivered_bytes",
        "elapsed_ms",
        "finish_reason",
        "first_token_ms",
        "quote",
        "request_id",
        "route",
        "settlement",
        "started_at",
        "surface",
        "upstream_request_id",
        "usage",
        "was_dispatched",
    )

    def __init__(
        self, gate: Gate, request: ApiRequest, quote: Quote, admission: AdmissionResult
    ) -> None:
        self._gate = gate
        self.request_id = request.request_id
        self.surface = request.surface
        self.started_at = request.started_at
        self.quote = quote
        self.admission = admission
        self.attempts: list[dict[str, object]] = []
        self.route: RouteEntry | None = None
        self.was_dispatched = False
        self.upstream_request_id = ""
        self.elapsed_ms = 0
        self.first_token_ms: int | None = None
        self.delivered_bytes = 0
        self.finish_reason = ""
        self.usage = NOTHING_USED
        self.cost: Charge = NO_CHARGE
        self.settlement: asyncio.Future[SettlementResult] | None = None
        self._is_detached = False
        self._counts_at_bytes = quote.echoed_bytes + GROWTH_TOKENS * quote.model.bytes_per_token

    def note_delivered(self, text_bytes: int) -> None:
        """Record how much text the client has, and count its growth against tokens per minute."""
        self.delivered_bytes = text_bytes
        if text_bytes < self._counts_at_bytes:
            return
        quote = self.quote
        self._counts_at_bytes = text_bytes + GROWTH_TOKENS * quote.model.bytes_per_token
        tokens = quote.prompt.likely + quote.likely_output(text_bytes)
        self._gate.count_growth(self.request_id, self.admission.account_id, tokens)

    def end_attempt(self, began_at: float, status: int, error: str = "") -> None:
        """Record an attempt's result; `began_at` as `started_at`."""
        self.elapsed_ms = _ms_since(self.started_at)
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

    def note_first_token(self) -> None:
        """Record the time to the first token."""
        self.first_token_ms = _ms_since(self.started_at)

    def complete(self, metered: Metered) -> None:
        """Settle a complete answer, at the upstream's figures or an estimate.

        An empty answer costs nothing.
        """
        if metered.rejected and self.attempts:
            figures = [_clean(figure) for figure in metered.rejected]
            self.attempts[-1]["rejected_usage"] = figures
            log.error(
                "usage_rejected",
                request_id=self.request_id,
                model=self.quote.model.name,
                upstream=self.attempts[-1]["upstream"],
                figures=figures,
            )
        if metered.is_empty:
            self._settle("empty", 200)
        elif metered.usage is None:
            self._settle("completed", 200, self.estimated(), "estimated")
        else:
            source = "estimated" if metered.is_estimated else "upstream"
            self._settle("completed", 200, metered.usage, source)

    def fail(self, error: AttemptError, status: int) -> None:
        """Settle a failed answer: what was delivered is charged, nothing else."""
        if self.delivered_bytes:
            self._settle(error.outcome, status, self.estimated(), "estimated", error.detail)
        else:
            self._settle(error.outcome, status, error=error.detail)

    def abandon(self) -> None:
        """Settle for a client that disconnected: prompt and output, if an upstream was called.

        What is paid for by the piece is delivered whole or not at all.
        """
        if self._is_detached:
            return
        if self.was_dispatched and self.quote.units is None:
            self._settle("client_closed", 499, self.estimated(), "estimated")
        else:
            self._settle("client_closed", 499)

    def detach(self) -> None:
        """Leave the settlement to whoever reads on for a client that disconnected."""
        self._is_detached = True

    def settle_abandoned(self, usage: Usage | None) -> None:
        """Settle for a client that disconnected, at the usage that the upstream billed."""
        self._is_detached = False
        if usage is None:
            self.abandon()
        else:
            self._settle("client_closed", 499, usage, "upstream")

    def crash(self, error: BaseException) -> None:
        """Settle after a bug of ours: free of charge."""
        self._settle("internal_error", 500, error=type(error).__name__)

    def estimated(self) -> Usage:
        """Return the likely prompt and what was delivered, within what was held."""
        quote = self.quote
        return Usage(
            input_tokens=quote.prompt.likely,
            output_tokens=quote.likely_output(self.delivered_bytes),
            units=quote.likely.units if quote.likely is not None else NO_UNITS,
        )

    def _settle(
        self,
        outcome: str,
        status: int,
        usage: Usage = NOTHING_USED,
        source: str = "none",
        error: str = "",
    ) -> None:
        """Queue the settlement, once; later calls change nothing."""
        if self.settlement is not None:
            return
        if ARMED:
            failpoint("after_upstream_end")
        quote, route = self.quote, self.route
        self.usage = usage
        cost, upstream_cost_nanos = (
            charge_and_cost(quote.prices, usage) if source != "none" else (NO_CHARGE, 0)
        )
        self.cost = cost
        settlement = Settlement(
            request_id=self.request_id,
            account_id=self.admission.account_id,
            key_id=self.admission.key_id,
            price_version_id=quote.prices.version_id,
            model=quote.model.name,
            surface=self.surface.name,
            endpoint=quote.operation,
            outcome=outcome,
            status=status,
            streamed=quote.request.is_streamed,
            upstream=route.upstream.name if route is not None else "",
            upstream_request_id=_clean(self.upstream_request_id),
            end_user=_clean(quote.request.end_user)[:_LONGEST_END_USER],
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
            lines=tuple(cost.lines),
            upstream_cost_nanos=upstream_cost_nanos,
            source=source,
            error=_clean(error),
            finish_reason=_clean(self.finish_reason)[:40],
            attempts=self.attempts,
            latency_ms=_ms_since(self.started_at),
            first_token_ms=self.first_token_ms,
        )
        self.settlement = self._gate.settle(settlement)


def _ms_since(began_at: float) -> int:
    return round((time.monotonic() - began_at) * 1000)


def _clean(text: str) -> str:
    """Return a text that PostgreSQL takes: cut, without NUL and lone surrogates."""
    if not text:
        return text
    text = text[:_LONGEST_TEXT].replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

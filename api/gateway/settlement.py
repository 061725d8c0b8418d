"""An admitted request, from its reservation to its one settlement.

An `AdmittedRequest` is made right after the admission, with no await between, and from then on owns
the settlement: whatever happens (an answer, an upstream's failure, a client that disconnects, a bug
of ours), exactly one settlement is queued, and queueing it never waits.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from msgspec import structs

from api.catalogue.snapshot import RouteEntry
from api.dialects.base import StreamReader
from api.dialects.usage import Metered
from api.gateway import metrics, tracing
from api.gateway.growing_hold import GrowingHold
from api.gateway.http import ApiRequest
from api.gateway.max_cost import usage_within
from api.gateway.quote import Quote
from api.gateway.upstream_errors import AttemptError
from billing.failpoints import ARMED, failpoint
from billing.ledger.gate import AdmissionResult, Gate, Settlement, SettlementResult
from billing.pricing.charge import (
    NO_CHARGE,
    NO_UNITS,
    NOTHING_USED,
    AttemptCost,
    Charge,
    Usage,
    charge_and_cost,
)

log = structlog.get_logger(__name__)

# An answer's growth counts against tokens per minute each time that it has so many tokens more.
GROWTH_TOKENS = 2_048

_LONGEST_TEXT, _LONGEST_END_USER = 300, 120

# What dialects call an end by the limit on output. An answer without text that ends so is not
# empty: what was generated, such as reasoning, is hidden.
_ENDS_BY_LENGTH = frozenset({"length", "max_tokens", "max_output_tokens"})


class AdmittedRequest:
    """A request since its admission, and the owner of its settlement.

    Times are `time.monotonic()` seconds. `delivered_bytes` is the text that the client has, of
    content, reasoning and arguments, in UTF-8. `route` is the one that was tried last,
    `was_dispatched` whether it is being sent to its upstream, which may bill it from then on, and
    `reader` reads its stream, if it is one. `elapsed_ms` is how long after the request's arrival
    the last attempt ended. `settlement` is the future of the queued settlement: done once that is
    durable, and a caller who cancels it ends only the wait. `outcome` is the settlement's, or "".
    `source` is who counted the usage. `hold` is that of a stream whose hold grows, else None.
    """

    __slots__ = (
        "_counts_at_bytes",
        "_gate",
        "_losses",
        "admission",
        "attempts",
        "attempts_began_at",
        "body_digest",
        "cost",
        "delivered_bytes",
        "elapsed_ms",
        "finish_reason",
        "first_token_ms",
        "headers",
        "hold",
        "is_detached",
        "outcome",
        "quote",
        "reader",
        "request_id",
        "route",
        "settlement",
        "source",
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
        self.body_digest = request.body_digest
        self.headers = request.headers
        self.surface = request.surface
        self.started_at = request.started_at
        self.quote, self.admission = quote, admission
        self.attempts: list[dict[str, object]] = []
        self.attempts_began_at: list[float] = []
        self.route: RouteEntry | None = None
        self.was_dispatched = False
        self.reader: StreamReader | None = None
        self.upstream_request_id = self.finish_reason = ""
        self.elapsed_ms = 0
        self.first_token_ms: int | None = None
        self.delivered_bytes = 0
        self.usage, self.cost = NOTHING_USED, NO_CHARGE
        self.settlement: asyncio.Future[SettlementResult] | None = None
        self.outcome, self.source = "", "none"
        self.is_detached = False
        if request.idempotency is not None:
            request.idempotency.admitted = self
        # What upstreams charge us for attempts that failed.
        self._losses: list[AttemptCost] = []
        self.hold = GrowingHold(gate, quote, admission, request) if quote.whole_nanos else None
        self._counts_at_bytes = quote.echoed_bytes + GROWTH_TOKENS * quote.model.bytes_per_token

    def note_delivered(self, text_bytes: int) -> None:
        """Record how much text the client has, and count its growth against tokens per minute."""
        self.delivered_bytes = text_bytes
        if text_bytes < self._counts_at_bytes:
            return
        quote = self.quote
        # What a growing hold pays for was counted with its extension.
        counted = self.hold.counted_bytes if self.hold is not None else 0
        step = GROWTH_TOKENS * quote.model.bytes_per_token
        self._counts_at_bytes = max(text_bytes, counted) + step
        if text_bytes > counted:
            tokens = quote.prompt.likely + quote.likely_output(text_bytes)
            self._gate.count_growth(self.request_id, self.admission.account_id, tokens)

    def note_first_token(self) -> None:
        """Record the time to the first token."""
        self.first_token_ms = _ms_since(self.started_at)

    def complete(self, metered: Metered) -> None:
        """Settle a complete answer, at the upstream's figures or an estimate.

        An empty answer costs nothing, or its input where the route's row says so.
        """
        self._note_rejected(metered.rejected)
        usage = self.estimated() if metered.usage is None else metered.usage
        is_estimated = metered.usage is None or metered.is_estimated
        source = "estimated" if is_estimated else "upstream"
        if not metered.is_empty or self.finish_reason in _ENDS_BY_LENGTH:
            self._settle("completed", 200, usage, source, upstream_usage=usage)
        elif self.route is not None and self.route.charges_empty_answers:
            given = structs.replace(usage, output_tokens=0, reasoning_tokens=0)
            self._settle("empty", 200, given, source, upstream_usage=usage)
        else:
            self._settle("empty", 200, upstream_usage=usage)

    def fail(self, error: AttemptError, status: int) -> None:
        """Settle a failed answer: of a stream that broke off, the prompt and what was delivered.

        Where the upstream broke it off, the route's row says whether that is charged. One whose
        hold could not grow is always charged, what was delivered or withheld alone. If nothing was,
        nothing is charged.
        """
        part = self._part()
        rule = self.route.charges_broken_streams if self.route is not None else "never"
        is_charged = not error.is_upstream_break or rule == "always"
        if (
            self.hold is not None
            and error.kind == "unfunded"
            and (text_bytes := max(self.delivered_bytes, self.hold.withheld_bytes))
        ):
            usage = self.hold.delivered(part.usage, text_bytes)
            self._settle(error.outcome, status, usage, "estimated", error=error.detail)
        elif self.delivered_bytes and (is_charged or (rule == "reported" and part.is_reported)):
            self._settle(error.outcome, status, part.usage, part.source, error=error.detail)
        else:
            self._settle(error.outcome, status, error=error.detail)

    def abandon(self) -> bool:
        """Settle for a client that disconnected, and return whether a call was cancelled by that.

        If an upstream was called, the prompt and what was generated are charged. What is paid for
        by the piece is delivered whole or not at all.
        """
        if self.is_detached or self.settlement is not None:
            return False
        if self.was_dispatched and self.quote.units is None:
            part = self._part()
            self._settle("client_closed", 499, part.usage, part.source)
        else:
            self._settle("client_closed", 499)
        return self.was_dispatched

    def detach(self) -> None:
        """Leave the settlement to whoever reads on for a client that disconnected."""
        self.is_detached = True

    def settle_abandoned(self, metered: Metered | None) -> None:
        """Settle for a client that disconnected, after its answer was read on for.

        The charge is what the upstream billed: the usage that was `metered`, or what had arrived of
        a stream that did not end in time.
        """
        if self.settlement is not None:
            return
        if metered is not None:
            self._note_rejected(metered.rejected)
        if metered is not None and metered.usage is not None:
            source = "estimated" if metered.is_estimated else "upstream"
            usage = metered.usage
            self._settle("client_closed", 499, usage, source, upstream_usage=usage)
            return
        self.is_detached = False
        self.note_loss(was_under_way=True)
        self.abandon()

    def settle_unbilled(self) -> None:
        """Settle for a client that disconnected from a call that then failed."""
        self._settle("client_closed", 499)

    def crash(self, error: BaseException) -> None:
        """Settle after a bug of ours: free of charge."""
        self._settle("internal_error", 500, error=type(error).__name__)

    def estimated(self, text_bytes: int | None = None) -> Usage:
        """Return the likely prompt and output, within what was held.

        The output is `text_bytes` of text, or what was delivered.
        """
        quote = self.quote
        text_bytes = self.delivered_bytes if text_bytes is None else text_bytes
        return Usage(
            input_tokens=quote.prompt.likely,
            output_tokens=quote.likely_output(text_bytes),
            units=quote.likely.units if quote.likely is not None else NO_UNITS,
        )

    def charged_part_of(self, usage: Usage) -> Usage:
        """Return what of a usage is charged: all, or as much as the request's maximum cost pays."""
        max_nanos = self.quote.request.max_cost_nanos
        if max_nanos is None:
            return usage
        return usage_within(
            max_nanos, usage, lambda part: self._charge_and_cost(part)[0].total_nanos
        )

    def cost_of(self, usage: Usage) -> AttemptCost | None:
        """Return what the last attempt's upstream charges us for the usage; None if unknown."""
        return self._charge_and_cost(usage)[1]

    def _charge_and_cost(self, usage: Usage) -> tuple[Charge, AttemptCost | None]:
        """Return what the usage costs the customer, and what it costs us at the last route."""
        route = self.route
        costs = route.costs_at(datetime.now(UTC)) if route is not None and route.costs else None
        charge, cost = charge_and_cost(self.quote.prices, costs, usage)
        if route is None or costs is None:
            return charge, None
        upstream, version = route.upstream.name, costs.version_id
        return charge, AttemptCost(upstream, version, cost.total_nanos, cost.lines)

    def _part(self) -> "_Part":
        """Return what an answer that ended early used."""
        if self.reader is None:
            return _Part(self.estimated(), "estimated", False)
        metered = self.reader.meter_part(self.quote)
        if metered.usage is None:
            # This includes text that was generated but held back.
            usage = self.estimated(self.reader.text_bytes)
            return _Part(usage, "estimated", False, metered.rejected)
        source = "estimated" if metered.is_estimated else "upstream"
        return _Part(metered.usage, source, True, metered.rejected)

    def _note_rejected(self, rejected: tuple[str, ...]) -> None:
        """Keep the figures that can't be true with the last attempt, for staff to be told."""
        if rejected and self.attempts:
            figures = [clean(figure) for figure in rejected]
            known = self.attempts[-1].get("rejected_usage")
            kept = [*known, *figures] if isinstance(known, list) else figures
            self.attempts[-1]["rejected_usage"] = kept
            log.error(
                "usage_rejected",
                request_id=self.request_id,
                model=self.quote.model.name,
                upstream=self.attempts[-1]["upstream"],
                figures=figures,
            )

    def note_loss(self, *, was_under_way: bool) -> None:
        """Add what the upstream charges us for the last attempt, which failed.

        That is what it reported and sent, and at least the prompt of a call that `was_under_way`
        when we ended it.
        """
        part = self._part()
        self._note_rejected(part.rejected)
        may_be_billed = part.is_reported or was_under_way or part.usage.output_tokens
        if self.quote.units is None and may_be_billed and (cost := self.cost_of(part.usage)):
            self._losses.append(cost)

    def _settle(
        self,
        outcome: str,
        status: int,
        usage: Usage = NOTHING_USED,
        source: str = "none",
        *,
        error: str = "",
        upstream_usage: Usage | None = None,
    ) -> None:
        """Queue the settlement, once; later calls change nothing.

        `usage` is the customer's, and `upstream_usage` what the last attempt's upstream bills
        whatever the customer pays; attempts that failed before are added to it.
        """
        if self.settlement is not None:
            return
        if ARMED:
            failpoint("after_upstream_end")
        self.outcome, self.usage, self.source = outcome, usage, source
        cost, upstream_cost = NO_CHARGE, None
        if source != "none":
            self.usage = self.charged_part_of(usage)
            cost, upstream_cost = self._charge_and_cost(self.usage)
            if self.usage is not usage:
                full = self._charge_and_cost(usage)[0]
                self._note_rejected((f"a cost of {full.total_nanos} nanos, over the maximum",))
        if upstream_usage is None:
            upstream_cost = None
        elif upstream_usage is not self.usage:
            upstream_cost = self.cost_of(upstream_usage)
        self.cost = cost
        cost_lines = [*self._losses, upstream_cost] if upstream_cost else self._losses
        settlement = self._settlement_of(outcome, status, error, cost_lines)
        self.settlement = self._gate.settle(settlement)
        metrics.settled.append(settlement)
        if tracing.tracer is not None:
            traceparent = self.headers.get(b"traceparent", b"")
            tracing.tracer.record(settlement, traceparent, self.attempts_began_at)

    def _settlement_of(
        self, outcome: str, status: int, error: str, cost_lines: list[AttemptCost]
    ) -> Settlement:
        """Return the settlement of what was used, with `cost_lines` of every attempt."""
        quote, route, usage, cost = self.quote, self.route, self.usage, self.cost
        return Settlement(
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
            upstream_request_id=clean(self.upstream_request_id),
            end_user=clean(quote.request.end_user)[:_LONGEST_END_USER],
            session_id=quote.request.session_id,
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
            upstream_cost_nanos=sum([each.amount_nanos for each in cost_lines]),
            cost_lines=cost_lines,
            source=self.source,
            error=clean(error),
            finish_reason=clean(self.finish_reason)[:40],
            attempts=self.attempts,
            latency_ms=_ms_since(self.started_at),
            first_token_ms=self.first_token_ms,
            body_digest=self.body_digest,
        )


class _Part(NamedTuple):
    """What an answer that ended early used, the figure's source, and whether it was reported."""

    usage: Usage
    source: str
    is_reported: bool
    rejected: tuple[str, ...] = ()


def _ms_since(began_at: float) -> int:
    return round((time.monotonic() - began_at) * 1000)


def clean(text: str) -> str:
    """Return a text that PostgreSQL takes: cut, without NUL and lone surrogates."""
    text = text[:_LONGEST_TEXT].replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

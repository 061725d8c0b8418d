"""A key's spending against its limit, as Claude Code shows it (its gateway contract).

The headers `anthropic-ratelimit-unified-*` go with the answers of Messages. They inform: the ledger
alone decides. Each process reads a key's limits beside its requests, at most every READ_SECONDS,
and sends what it read last, so no request waits for them. Only keys that the ledger has accepted
are read, so that unknown ones take no thread from look-ups.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from accounts.models import ApiKey
from api import errors
from api.gateway.http import Downstream, Headers
from api.gateway.look_ups import look_up
from api.gateway.process import Gateway
from billing.ledger.gate import AdmissionResult
from billing.ledger.refusal_details import TightestBudget
from billing.models import CreditAccount
from billing.usage.key_spending import spending_of

READ_SECONDS = 10.0
MOST_KEYS = 10_000
# Where Claude Code tells its user, as fractions of the limit.
THRESHOLDS = (0.95, 0.75)
_PREFIX = b"anthropic-ratelimit-unified-"
_PERIODS = {"day": b"daily", "week": b"weekly", "month": b"monthly"}


class SpendLimit(NamedTuple):
    """What was spent of a limit in its period. `resets_at` is the period's end."""

    period: Literal["daily", "weekly", "monthly"]
    limit_nanos: int
    spent_nanos: int
    resets_at: datetime

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left."""
        return self.spent_nanos >= self.limit_nanos

    @property
    def utilization(self) -> float:
        """The spent fraction with two decimals, below 1 while anything is left."""
        if self.is_reached:
            return 1.0
        return min(0.99, round(self.spent_nanos / self.limit_nanos, 2))

    @property
    def threshold(self) -> float | None:
        """The highest of THRESHOLDS that was passed; None below all."""
        return next((each for each in THRESHOLDS if self.utilization > each), None)


class _Request(Protocol):
    """What is asked of a request here."""

    admission: AdmissionResult | None
    downstream: Downstream

    def key_digests(self) -> list[str]:
        """Return the digests of its key."""


def limits_of(key: ApiKey, now: datetime) -> list[SpendLimit]:
    """Return the key's budgets and the team's balance as limits, in one query.

    The balance is a limit of the month: what the key has spent of it, and what is left. So is a
    budget in all.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = today + timedelta(days=1)
    next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    spending = spending_of(key, now)
    account = CreditAccount.objects.filter(team_id=key.team_id).first()
    left = max(0, account.posted_nanos - account.held_nanos) if account is not None else 0
    spent = spending.month.spent_nanos
    found = [SpendLimit("monthly", spent + left, spent, next_month)]
    for budget in spending.budgets:
        if budget.limit_nanos is not None:
            is_daily = budget.period == "day"
            period: Literal["daily", "monthly"] = "daily" if is_daily else "monthly"
            ends_at = tomorrow if is_daily else next_month
            found.append(SpendLimit(period, budget.limit_nanos, budget.spent_nanos, ends_at))
    return found


def fullest(limits: list[SpendLimit]) -> SpendLimit:
    """Return the limit that stops the key first, of reached ones the one that ends last."""
    reached = [limit for limit in limits if limit.is_reached]
    if reached:
        return max(reached, key=lambda limit: limit.resets_at)
    return max(limits, key=lambda limit: (limit.utilization, -limit.limit_nanos))


def headers_of(limit: SpendLimit) -> Headers:
    """Return the headers of a successful answer."""
    status = b"allowed" if limit.threshold is None else b"allowed_warning"
    headers = [
        (_PREFIX + b"status", status),
        (_PREFIX + b"representative-claim", b"overage"),
        (_PREFIX + b"overage-status", status),
        (_PREFIX + b"overage-utilization", b"%.2f" % min(0.99, limit.utilization)),
        *_reset_headers(limit.resets_at.timestamp()),
    ]
    if limit.threshold is not None:
        headers.append((_PREFIX + b"overage-surpassed-threshold", b"%.2f" % limit.threshold))
    return headers


def refusal_headers_of(budget: TightestBudget | None, now: datetime) -> Headers:
    """Return the headers of an answer that says that a budget is used up: the key's or another.

    Without claim and overage status, so that Claude Code shows the error's own message; without a
    time to wait for where the budget is unknown or never resets.
    """
    headers = [
        (_PREFIX + b"status", b"rejected"),
        (_PREFIX + b"overage-disabled-reason", b"org_spend_cap_reached"),
    ]
    if budget is None or budget.resets_at is None:
        return headers
    wait_seconds = max(1, budget.resets_at - int(now.timestamp()))
    return [
        *headers,
        (b"retry-after", b"%d" % wait_seconds),
        (_PREFIX + b"overage-utilization", b"1"),
        (_PREFIX + b"overage-surpassed-threshold", b"1"),
        (_PREFIX + b"overage-period", _PERIODS[budget.period]),
        *_reset_headers(budget.resets_at),
    ]


def _reset_headers(resets_at: float) -> Headers:
    value = b"%d" % resets_at
    return [(_PREFIX + b"reset", value), (_PREFIX + b"overage-reset", value)]


class _Known(NamedTuple):
    """A key that was accepted, and its limit as it was last read; None before the first time."""

    key_id: int
    team_id: int
    read_at: float
    limit: SpendLimit | None


class SpendLimits:
    """The limits that this process has read, by their keys' digests."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def show_in(self, gateway: Gateway, request: _Request) -> None:
        """Add the key's limit to the headers of the request's answer."""
        try:
            digest = request.key_digests()[0]
        except errors.AuthenticationError:
            return
        if digest in self._known:
            self._refresh(gateway, digest)
        send = request.downstream.send

        async def send_with_limit(message: Mapping[str, Any]) -> None:
            admission = request.admission
            if message["type"] == "http.response.start" and admission is not None:
                added: Headers = []
                if message["status"] == 200:
                    added = self._headers(gateway, digest, admission)
                elif admission.code == "budget_exceeded":
                    added = refusal_headers_of(admission.budget, datetime.now(UTC))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        request.downstream = Downstream(send_with_limit)

    def _headers(self, gateway: Gateway, digest: str, admission: AdmissionResult) -> Headers:
        """Return the headers of a successful answer; none for a key's first, which has it read."""
        known = self._known.get(digest)
        if known is None:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            never = float("-inf")
            self._known[digest] = _Known(admission.key_id, admission.team_id, never, None)
            self._refresh(gateway, digest)
            return []
        return headers_of(known.limit) if known.limit is not None else []

    def _refresh(self, gateway: Gateway, digest: str) -> None:
        """Have a known key's limit read if that was long ago."""
        known, now = self._known[digest], time.monotonic()
        if now - known.read_at > READ_SECONDS:
            # At once, so that only one request reads it.
            self._known[digest] = known._replace(read_at=now)
            gateway.run_in_background(self._read(digest, known))

    async def _read(self, digest: str, known: _Known) -> None:
        """Read a key's limit; what can't be read now is read by a later request."""

        def read() -> SpendLimit | None:
            key = ApiKey.objects.select_related("spend").filter(pk=known.key_id).first()
            return fullest(limits_of(key, datetime.now(UTC))) if key is not None else None

        try:
            limit = await look_up(known.team_id, read)
        except errors.ApiError:
            return
        self._known[digest] = known._replace(read_at=time.monotonic(), limit=limit)

"""`GET …/key`: the key's budget, spending and limits, as OpenRouter's API shows them."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from accounts.models import ApiKey
from api import errors
from api.dialects.base import json_dollars
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.operations.base import KEY_ERRORS, DocsPage, Operation
from billing.ledger.gate import AdmissionResult
from billing.usage.balances import has_paid
from billing.usage.key_spending import Budget, KeySpending, spending_of, week_nanos

_encode = msgspec.json.Encoder().encode
_RESETS = {"day": "daily", "month": "monthly", "total": None}

Dollars = Annotated[float, Meta(description="US dollars.")]


async def show_key(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the key's own state. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    found = await look_up(admission.team_id, lambda: _state_of(admission, datetime.now(UTC)))
    await request.respond(_encode({"data": found}))


def _state_of(admission: AdmissionResult, now: datetime) -> dict[str, object]:
    key = ApiKey.objects.select_related("spend").filter(pk=admission.key_id).first()
    if key is None:
        raise errors.InvalidApiKeyError()
    spending = spending_of(key, now)
    budget = tightest_budget(spending)
    week = week_nanos(admission.account_id, key.pk, now)
    return {
        "label": f"{key.prefix}...{key.last_four}",
        "name": key.name,
        "limit": _dollars(budget.limit_nanos if budget else None),
        "limit_remaining": _dollars(remaining_nanos(spending, budget) if budget else None),
        "limit_reset": _RESETS[budget.period] if budget else None,
        "usage": _dollars(spending.total.spent_nanos),
        "usage_daily": _dollars(spending.day.spent_nanos),
        "usage_weekly": _dollars(week),
        "usage_monthly": _dollars(spending.month.spent_nanos),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "include_byok_in_limit": False,
        "is_free_tier": not has_paid(admission.team_id),
        "is_management_key": False,
        "is_provisioning_key": False,
        "creator_user_id": None,
        "expires_at": key.ends_at,
        "rate_limit": {
            "requests": admission.requests_limit,
            "interval": "1m",
            "note": "Requests per minute.",
        },
    }


def tightest_budget(spending: KeySpending) -> Budget | None:
    """Return the budget with the least left; None without a budget."""
    budgets = [budget for budget in spending.budgets if budget.limit_nanos is not None]
    return min(budgets, key=lambda budget: remaining_nanos(spending, budget), default=None)


def remaining_nanos(spending: KeySpending, budget: Budget) -> int:
    """Return what is left of a budget, less what open requests hold; at least 0."""
    return max(0, (budget.limit_nanos or 0) - budget.spent_nanos - spending.held_nanos)


def _dollars(amount_nanos: int | None) -> msgspec.Raw | None:
    return None if amount_nanos is None else json_dollars(amount_nanos)


class RateLimit(Struct):
    """The key's limit of requests."""

    requests: int
    interval: str
    note: str


class KeyState(Struct):
    """The key of the request. Days, weeks (from Monday) and months are in UTC."""

    label: Annotated[str, Meta(description="The key's beginning and end.")]
    name: str
    limit: Annotated[
        Dollars | None,
        Meta(description="The budget with the least left: daily, monthly or total; or none."),
    ]
    limit_remaining: Annotated[
        Dollars | None, Meta(description="Less what running requests reserve.")
    ]
    limit_reset: Literal["daily", "monthly"] | None
    usage: Dollars
    usage_daily: Dollars
    usage_weekly: Dollars
    usage_monthly: Dollars
    byok_usage: float
    byok_usage_daily: float
    byok_usage_weekly: float
    byok_usage_monthly: float
    include_byok_in_limit: bool
    is_free_tier: Annotated[bool, Meta(description="Whether the team has never paid.")]
    is_management_key: bool
    is_provisioning_key: bool
    creator_user_id: str | None
    expires_at: datetime | None
    rate_limit: RateLimit


class KeyAnswer(Struct):
    """The key of the request."""

    data: KeyState


KEY = Operation(
    name="key",
    handle=show_key,
    methods=("GET", "HEAD"),
    path="/key",
    at_root=False,
    operation_id="get_key",
    tag="Account",
    summary="Get the key's budget and usage",
    description=(
        "Shows the budget, the spending and the rate limit of the key that the request is made "
        "with, in the format of OpenRouter's API. Amounts are dollars. Free, and outside all "
        "limits."
    ),
    answer=KeyAnswer,
    answer_example={
        "data": {
            "label": "sk-tg-...x3Yz",
            "name": "CI",
            "limit": 25,
            "limit_remaining": 21.75,
            "limit_reset": "monthly",
            "usage": 103.5,
            "usage_daily": 0.25,
            "usage_weekly": 1.5,
            "usage_monthly": 3.25,
            "byok_usage": 0,
            "byok_usage_daily": 0,
            "byok_usage_weekly": 0,
            "byok_usage_monthly": 0,
            "include_byok_in_limit": False,
            "is_free_tier": False,
            "is_management_key": False,
            "is_provisioning_key": False,
            "creator_user_id": None,
            "expires_at": None,
            "rate_limit": {"requests": 60, "interval": "1m", "note": "Requests per minute."},
        }
    },
    errors=KEY_ERRORS,
    page=DocsPage(
        slug="key",
        title="Key status",
        summary="A key's budget, spending and rate limit.",
        charge="Nothing.",
    ),
)

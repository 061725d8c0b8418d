"""Operations that Claude Code needs of a gateway that it is signed in to, beside Messages.

Its contract (`GET /protocol` of its own gateway): the metadata of the sign-in (RFC 8414), the
amounts for its status line, and a place for its telemetry. The pages and the token endpoint are the
portal's (`portal/authorize`).
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings
from msgspec import Meta, Struct

from accounts.models import ApiKey
from api import errors
from api.dialects.anthropic_messages import MESSAGES
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.gateway.spend_limits import THRESHOLDS, SpendLimit, fullest, limits_of
from api.operations.base import COMMON_HEADERS, KEY_ERRORS, Operation
from billing.ledger.gate import AdmissionResult
from billing.usage.key_spending import spending_of, week_nanos

_NANOS_PER_CENT = 10**7
_NO_STORE = [(b"cache-control", b"no-store")]
METADATA_PATH = "/.well-known/oauth-authorization-server"

_encode = msgspec.json.Encoder().encode


async def show_metadata(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with where to sign in. Everything is at the root of BASE_URL, whatever the mount."""
    base_url = settings.BASE_URL.rstrip("/")
    metadata = {
        "issuer": base_url + request.surface.mount,
        "device_authorization_endpoint": f"{base_url}/oauth/device_authorization",
        "token_endpoint": f"{base_url}/oauth/token",
        "revocation_endpoint": f"{base_url}/oauth/revoke",
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    }
    await request.respond(_encode(metadata))


async def show_spending(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the key's spending against its limits. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    found = await look_up(admission.team_id, lambda: _spending(admission, datetime.now(UTC)))
    await request.respond(_encode(found), headers=_NO_STORE)


def _spending(admission: AdmissionResult, now: datetime) -> dict[str, Any]:
    key = ApiKey.objects.select_related("spend").filter(pk=admission.key_id).first()
    if key is None:
        raise errors.InvalidApiKeyError()
    limits = limits_of(key, now)
    shown = fullest(limits)
    spending = spending_of(key, now)
    return {
        "extra_usage": {
            "is_enabled": True,
            "monthly_limit": _cents(shown.limit_nanos),
            "used_credits": _cents(shown.spent_nanos),
            "utilization": round(shown.utilization * 100),
            "currency": "USD",
            "daily": _amount(spending.day.spent_nanos),
            "weekly": _amount(week_nanos(admission.account_id, key.pk, now)),
        },
        "limits": [
            {
                "kind": "spend",
                "group": limit.period,
                "percent": round(limit.utilization * 100),
                "resets_at": limit.resets_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "severity": _severity(limit),
                "is_active": limit is shown,
            }
            for limit in limits
        ],
    }


def _severity(limit: SpendLimit) -> str:
    if limit.threshold is None:
        return "normal"
    return "critical" if limit.threshold == max(THRESHOLDS) else "warning"


def _amount(spent_nanos: int) -> dict[str, Any]:
    return {"limit": None, "used_credits": _cents(spent_nanos), "utilization": None}


def _cents(amount_nanos: int) -> int:
    return amount_nanos // _NANOS_PER_CENT


async def drop_telemetry(gateway: Gateway, request: ApiRequest) -> None:
    """Read and drop a client's telemetry: without an answer it would complain each time.

    Raise an error of `api.errors`: an answer to an unknown key would forgive its address's refused
    requests (`api/gateway/refusals.py`).
    """
    await known_key(gateway, request)
    await request.drain_body()
    await request.respond(b"{}")


class SignInMetadata(Struct):
    """Where programs sign in (RFC 8414)."""

    issuer: str
    device_authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]


Cents = Annotated[int, Meta(description="US cents.")]
Percent = Annotated[int, Meta(ge=0, le=100)]


class SpentAmount(Struct):
    """What was spent in a period without a limit."""

    limit: None
    used_credits: Cents
    utilization: None


class ExtraUsage(Struct):
    """The limit that is the fullest: a budget of the key, or the balance."""

    is_enabled: bool
    monthly_limit: Cents
    used_credits: Cents
    utilization: Percent
    currency: Literal["USD"]
    daily: SpentAmount
    weekly: SpentAmount


class SpendRow(Struct):
    """One limit."""

    kind: Literal["spend"]
    group: Literal["daily", "weekly", "monthly"]
    percent: Percent
    resets_at: datetime
    severity: Literal["normal", "warning", "critical"]
    is_active: bool


class SpendingAnswer(Struct):
    """The key's spending against its limits, as Claude Code shows it."""

    extra_usage: ExtraUsage
    limits: list[SpendRow]


class DroppedTelemetry(Struct):
    """An empty object."""


METADATA = Operation(
    name="sign_in_metadata",
    handle=show_metadata,
    methods=("GET", "HEAD"),
    path=METADATA_PATH,
    also_at=("/api/.well-known/oauth-authorization-server",),
    root_prefix=METADATA_PATH,
    operation_id="get_sign_in_metadata",
    tag="Account",
    summary="Find where programs sign in",
    description="Authorization server metadata (RFC 8414) for Claude Code. No key required.",
    answer=SignInMetadata,
    answer_example={
        "issuer": "https://api.example.com",
        "device_authorization_endpoint": "https://api.example.com/oauth/device_authorization",
        "token_endpoint": "https://api.example.com/oauth/token",
        "revocation_endpoint": "https://api.example.com/oauth/revoke",
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    },
    errors=(500,),
    headers=COMMON_HEADERS,
    is_public=True,
)

SPENDING = Operation(
    name="spending",
    handle=show_spending,
    methods=("GET", "HEAD"),
    path="/api/oauth/usage",
    also_at=("/api/api/oauth/usage",),
    root_prefix="/api/oauth/usage",
    operation_id="get_spending",
    tag="Account",
    summary="Get the key's spending for Claude Code",
    description=(
        "What Claude Code shows in `/usage` and its status line: spending against the key's "
        "budgets and the balance. Free, and outside all limits."
    ),
    render_error=MESSAGES.render_error,
    answer=SpendingAnswer,
    answer_example={
        "extra_usage": {
            "is_enabled": True,
            "monthly_limit": 5000,
            "used_credits": 2714,
            "utilization": 54,
            "currency": "USD",
            "daily": {"limit": None, "used_credits": 120, "utilization": None},
            "weekly": {"limit": None, "used_credits": 980, "utilization": None},
        },
        "limits": [
            {
                "kind": "spend",
                "group": "monthly",
                "percent": 54,
                "resets_at": "2027-01-01T00:00:00.000Z",
                "severity": "normal",
                "is_active": True,
            }
        ],
    },
    errors=KEY_ERRORS,
)

TELEMETRY = Operation(
    name="telemetry",
    handle=drop_telemetry,
    methods=("POST",),
    path="/metrics",
    also_at=("/logs", "/traces", "/v1/metrics", "/v1/logs", "/v1/traces"),
    at_root=False,
    operation_id="drop_telemetry",
    tag="Account",
    summary="Accept telemetry and drop it",
    description=(
        "Claude Code sends its telemetry to the service that it is signed in to. It is neither "
        "read nor stored."
    ),
    render_error=MESSAGES.render_error,
    answer=DroppedTelemetry,
    answer_example={},
    errors=KEY_ERRORS,
)

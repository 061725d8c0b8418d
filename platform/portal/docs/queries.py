"""The key that an agent is set up with, and its first call."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import key_actions
from accounts.client_ip import client_ip
from accounts.models import ApiKey
from billing.models import UsageRecord
from portal.access import MemberRequest
from portal.docs.agents import Agent
from portal.ui.devices import system_name
from portal.ui.money import dollars_exact

# What an agent's key may spend and how long it works, until its owner changes it.
BUDGET_DAY_NANOS = 5_000_000_000
EXPIRY_DAYS = 90


def key_name(agent: Agent, request: HttpRequest) -> str:
    """Return the name of an agent's key, such as "Codex on Linux"."""
    system = system_name(request.headers.get("User-Agent", ""))
    return f"{agent.name} on {system}" if system else agent.name


def create_limited_key(request: MemberRequest, agent: Agent, prefix: str) -> tuple[ApiKey, str]:
    """Create a limited key for an agent and return it with its plaintext.

    Raise TooManyKeysError.
    """
    return key_actions.create_key(
        request.actor,
        key_name(agent, request),
        prefix=prefix,
        budget_day_nanos=BUDGET_DAY_NANOS,
        expires_at=timezone.now() + timedelta(days=EXPIRY_DAYS),
        ip_address=client_ip(request),
    )


def first_call_of(key: ApiKey) -> dict[str, Any]:
    """Return whether a key was used, and the model and the cost of its first request."""
    found = None
    if ApiKey.objects.filter(pk=key.pk, spend__last_used_at__isnull=False).exists():
        records = UsageRecord.objects.filter(account__team=key.team_id, key=key)
        # Records have the database's time, keys this machine's: an hour covers their difference.
        since = key.created_at - timedelta(hours=1)
        found = records.filter(created_at__gte=since).order_by("created_at").first()
    if found is None:
        return {"status": "waiting"}
    return {
        "status": "arrived",
        "model": found.model,
        "cost": dollars_exact(found.charged_nanos),
        "cost_nanos": found.charged_nanos,
        "url": reverse("request", args=[found.request_id]),
    }

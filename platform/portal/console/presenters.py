"""A customer's facts and key states as the console shows them."""

from django.utils import timezone

from accounts.models import ApiKey, Team, User
from billing.usage.balances import balance_of
from portal.ui.money import dollars


def facts_of(team: Team, staff: User) -> list[tuple[str, str]]:
    """Return the facts above an action's form, as labels and values."""
    facts = [("Team", team.name), ("Plan", team.plan.title)]
    if staff.has_perm("billing.view_creditaccount"):
        facts.append(("Available", dollars(balance_of(team).available_nanos)))
    if team.suspended_at:
        facts.append(("Frozen", team.suspended_reason or "without a reason"))
    return facts


def key_states(keys: list[ApiKey]) -> list[tuple[ApiKey, str, str]]:
    """Return keys with their state in a word and the badge's kind."""
    return [(key, *_state_of(key)) for key in keys]


def _state_of(key: ApiKey) -> tuple[str, str]:
    if key.revoked_at:
        return "Revoked", ""
    if key.frozen_at:
        return "Frozen", "bad"
    if key.ends_at and key.ends_at <= timezone.now():
        return "Expired", ""
    return "Active", "good"

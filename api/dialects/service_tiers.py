"""Service tiers: the one that a request asks for, and the one that its answer was served at."""

from typing import Any

import msgspec

from api.dialects.usage import Metered

# Names of the default tier.
STANDARD = ("auto", "default", "standard", "standard_only")


def named_tier(fields: dict[str, Any]) -> str:
    """Return the service tier that a request asks for; empty for the standard one."""
    tier = fields.get("service_tier")
    return tier if isinstance(tier, str) and tier not in STANDARD else ""


def with_served_tier(metered: Metered, reported: object) -> Metered:
    """Return the metered usage with the reported service tier, for prices that have tiers.

    OpenAI reports it next to the usage, Anthropic within it.
    """
    if metered.usage is None or not isinstance(reported, str):
        return metered
    return metered._replace(usage=msgspec.structs.replace(metered.usage, service_tier=reported))

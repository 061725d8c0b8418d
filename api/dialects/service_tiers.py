"""Service tiers: the one that a request names, and the one that its answer was served at."""

from typing import Any

import msgspec

from api.dialects.usage import Metered

# What a request says for the tier that it gets anyway.
STANDARD = ("auto", "default", "standard", "standard_only")


def named_tier(fields: dict[str, Any]) -> str:
    """Return the service tier that a request names, or nothing for the standard one."""
    tier = fields.get("service_tier")
    return tier if isinstance(tier, str) and tier not in STANDARD else ""


def with_served_tier(metered: Metered, reported: object) -> Metered:
    """Return what an answer used with the tier that it reports: for prices that have tiers.

    OpenAI says it beside the usage, Anthropic within.
    """
    if metered.usage is None or not isinstance(reported, str):
        return metered
    return metered._replace(usage=msgspec.structs.replace(metered.usage, service_tier=reported))

"""The usage object of a response, as the client is to see it."""

from typing import Any

from api.dialects.base import without_cost
from billing.pricing.charge import Usage

Json = dict[str, Any]


def shown_usage(reported: object, usage: Usage) -> Json:
    """Return the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    reported = without_cost(reported)
    return {
        **reported,
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            **_part(reported, "input_tokens_details"),
            "cached_tokens": usage.cached_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {
            **_part(reported, "output_tokens_details"),
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _part(reported: Json, name: str) -> Json:
    part = reported.get(name)
    return part if isinstance(part, dict) else {}

"""Usage in Anthropic's form, where what was read from and written to the cache stands beside input.

All of the input is `input_tokens` + `cache_creation_input_tokens` + `cache_read_input_tokens`
(Anthropic's API reference, usage).
"""

from typing import Any

from api.dialects.base import without_cost
from billing.pricing.charge import Usage

Json = dict[str, Any]


def shown_usage(reported: object, usage: Usage) -> Json:
    """Return the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    short, long = usage.units.get("cache_write", 0), usage.units.get("cache_write_1h", 0)
    figures: Json = {
        **without_cost(reported),
        "input_tokens": usage.input_tokens - usage.cached_tokens - short - long,
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if short or long:
        figures["cache_creation"] = {
            "ephemeral_5m_input_tokens": short,
            "ephemeral_1h_input_tokens": long,
        }
    if usage.reasoning_tokens:
        figures["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return figures


def merged_usage(earlier: Json, later: object) -> Json:
    """Return the figures of two reports of one stream: the later ones, where they say something.

    A stream's first event reports the input, and its last the output, in all.
    """
    if not isinstance(later, dict):
        return earlier
    told = {name: value for name, value in later.items() if value or name not in earlier}
    return {**earlier, **told}

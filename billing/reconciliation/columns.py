"""The columns of an export: the mapping that is proposed for a header nobody has mapped yet."""

import re

from billing.models import UpstreamStatement

_ALIASES = {
    "request_id": (
        *("request_id", "upstream_request_id", "x_request_id", "generation_id", "response_id"),
        *("completion_id", "call_id", "id"),
    ),
    "time": (
        *("time", "timestamp", "created_at", "created", "datetime", "date_time", "start_time"),
        *("started_at", "request_time", "usage_time", "time_utc", "date"),
    ),
    "model": ("model", "model_name", "model_id", "model_slug", "model_permaslug", "deployment"),
    "input_tokens": (
        *("input_tokens", "prompt_tokens", "tokens_prompt", "tokens_in", "native_tokens_prompt"),
        *("input_token_count", "context_tokens", "n_context_tokens_total", "tokens_input"),
    ),
    "cached_tokens": (
        *("cached_tokens", "cached_input_tokens", "input_cached_tokens", "cache_read_tokens"),
        *("cache_read_input_tokens", "tokens_cached", "native_tokens_cached", "cached_prompt"),
        *("prompt_cached_tokens", "cache_hit_tokens", "prompt_cache_hit_tokens"),
    ),
    "output_tokens": (
        *("output_tokens", "completion_tokens", "tokens_completion", "tokens_out"),
        *("native_tokens_completion", "output_token_count", "generated_tokens"),
        *("n_generated_tokens_total", "tokens_output"),
    ),
    "cost": (
        *("cost", "total_cost", "cost_total", "cost_usd", "usd_cost", "total_cost_usd", "amount"),
        *("amount_usd", "price", "charge", "usd", "cost_cents", "amount_cents", "cost_micro_usd"),
    ),
}
_UNITS = (
    ("micro", UpstreamStatement.CostUnit.MICRO),
    ("cent", UpstreamStatement.CostUnit.CENT),
)
UNIT_NANOS = {
    UpstreamStatement.CostUnit.DOLLAR: 10**9,
    UpstreamStatement.CostUnit.CENT: 10**7,
    UpstreamStatement.CostUnit.MICRO: 10**3,
}


def propose_columns(header: list[str]) -> dict[str, str]:
    """Return the column that each field's name suggests, for the fields with such a column."""
    names: dict[str, str] = {}
    for name in header:
        names.setdefault(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"), name)
    found = {}
    for field, aliases in _ALIASES.items():
        alias = next((alias for alias in aliases if alias in names), None)
        if alias is not None:
            found[field] = names[alias]
    return found


def propose_unit(cost_column: str) -> UpstreamStatement.CostUnit:
    """Return the unit that the name of the cost's column suggests."""
    name = cost_column.lower()
    return next(
        (unit for part, unit in _UNITS if part in name),
        UpstreamStatement.CostUnit.DOLLAR,
    )

"""Prices as the models list shows them."""

from typing import Any

from billing.pricing.charge import ONE
from billing.pricing.components import extra_components
from billing.pricing.money import PER_MILLION, factor_text, unit_price_text
from billing.pricing.rates import Prices, Rates


def listed_prices(prices: Prices) -> dict[str, Any]:
    """Return the prices of a model, with those of tiers."""
    pricing: dict[str, Any] = _shown_rates(prices)
    if prices.steps:
        pricing["context_tiers"] = [
            {"above_input_tokens": step.above_input_tokens, **_shown_rates(step)}
            for step in prices.steps[1:]
        ]
    if prices.service_tiers:
        pricing["service_tiers"] = {
            name: factor_text(factor) for name, factor in prices.service_tiers.items()
        }
    return pricing


def _shown_rates(rates: Rates) -> dict[str, str]:
    """Return rates with their factor: dollars per token and per piece."""
    factor = rates.multiplier_millionths

    def shown(nanos: int, per: int = PER_MILLION) -> str:
        return unit_price_text(nanos * factor, per * ONE)

    pricing = {
        "prompt": shown(rates.input_nanos_per_million),
        "completion": shown(rates.output_nanos_per_million),
    }
    if rates.cached_input_nanos_per_million != rates.input_nanos_per_million:
        pricing["input_cache_read"] = shown(rates.cached_input_nanos_per_million)
    if rates.reasoning_nanos_per_million != rates.output_nanos_per_million:
        pricing["internal_reasoning"] = shown(rates.reasoning_nanos_per_million)
    pieces = {
        "image": rates.image_nanos,
        "second": rates.second_nanos,
        "video": rates.piece_nanos,
        "request": rates.request_nanos,
    }
    pricing |= {name: shown(nanos, 1) for name, nanos in pieces.items() if nanos}
    for component in extra_components():
        nanos = rates.extra.get(component.name)
        if nanos is not None:
            pricing[component.name] = shown(nanos, component.per)
    return pricing

"""A model's object in the models list: its facts, and its prices in dollars."""

from typing import TYPE_CHECKING, Any

from billing.pricing.charge import ONE
from billing.pricing.components import extra_components
from billing.pricing.money import PER_MILLION, factor_text, unit_price_text
from billing.pricing.rates import Prices, Rates

if TYPE_CHECKING:
    from api.catalogue.snapshot import ModelEntry


def facts_of(entry: "ModelEntry") -> dict[str, Any]:
    """Return all of a models-list object but its prices: Weatmood's and Answira's fields."""
    facts: dict[str, Any] = {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owner,
        "name": entry.title or entry.name,
    }
    if entry.description:
        facts["description"] = entry.description
    if entry.context_tokens:
        facts["context_length"] = entry.context_tokens
        facts["max_completion_tokens"] = entry.max_output_tokens
    facts |= {
        "reasoning": "reasoning" in entry.supported_features,
        "supports_files": "file" in entry.input_modalities,
        "supports_images": "image" in entry.input_modalities,
        "input_modalities": list(entry.input_modalities),
        "output_modalities": list(entry.output_modalities),
        "quantization": entry.quantization or None,
        "pricing": {},
        "supported_sampling_parameters": list(entry.sampling_parameters),
        "supported_features": list(entry.supported_features),
        "datacenters": [{"country_code": code} for code in entry.datacenters],
    }
    return facts


def pricing_of(prices: Prices) -> dict[str, Any]:
    """Return the prices as the models list shows them, with those of tiers."""
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

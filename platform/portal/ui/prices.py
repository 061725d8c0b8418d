"""The catalogue as people read it: a line for each model, prices in dollars."""

from dataclasses import dataclass

from django.utils import timezone

from api.catalogue.snapshot import ModelEntry, Snapshot
from billing.pricing.components import extra_components
from billing.pricing.money import dollars_short_text
from billing.pricing.rates import Prices


@dataclass(frozen=True)
class PricedModel:
    """A model's line in a price list; prices are texts such as `$0.70`, empty where none apply.

    Those of cached input and of reasoning are empty where they are those of input and output.
    """

    entry: ModelEntry
    name: str
    title: str
    kind: str
    context: str
    max_output: str
    input_price: str
    cached_price: str
    output_price: str
    reasoning_price: str
    unit_price: str


def price_list(snapshot: Snapshot) -> list[PricedModel]:
    """Return the lines of all models that have a price now, in the catalogue's order."""
    now = timezone.now()
    priced = [(model, model.price_at(now)) for model in snapshot.public_models()]
    return [_line(model, prices) for model, prices in priced if prices is not None]


def _line(model: ModelEntry, prices: Prices) -> PricedModel:
    is_chat = model.kind == "chat"
    takes_text = is_chat or prices.input_nanos_per_million > 0
    cached, reasoning = prices.cached_input_nanos_per_million, prices.reasoning_nanos_per_million
    has_cached = is_chat and cached != prices.input_nanos_per_million
    has_reasoning = is_chat and reasoning != prices.output_nanos_per_million
    return PricedModel(
        entry=model,
        name=model.name,
        title=model.title or model.name,
        kind=model.kind,
        context=f"{model.context_tokens:,}" if takes_text else "",
        max_output=f"{model.max_output_tokens:,}" if is_chat else "",
        input_price=_dollars(prices.input_nanos_per_million) if takes_text else "",
        cached_price=_dollars(cached) if has_cached else "",
        output_price=_dollars(prices.output_nanos_per_million) if is_chat else "",
        reasoning_price=_dollars(reasoning) if has_reasoning else "",
        unit_price=_unit_price(prices) or ("" if takes_text else "free"),
    )


def _unit_price(prices: Prices) -> str:
    """Return the prices of what is counted, and of components without a column of their own."""
    units = {
        "an image": prices.image_nanos,
        "a video": prices.piece_nanos,
        "a second": prices.second_nanos,
        "a request": prices.request_nanos,
    }
    texts = [f"{_dollars(nanos)} {unit}" for unit, nanos in units.items() if nanos]
    for component in extra_components():
        nanos = prices.extra.get(component.name)
        if nanos == 0:
            texts.append(f"free {component.plural}")
        elif nanos is not None:
            unit = component.singular if component.per == 1 else f"million {component.plural}"
            texts.append(f"{_dollars(nanos)} per {unit}")
    return ", ".join(texts)


def _dollars(amount_nanos: int) -> str:
    """Return the amount with at least its cents."""
    if amount_nanos == 0:
        return "free"
    whole, _, decimals = dollars_short_text(amount_nanos).partition(".")
    return f"${whole}.{decimals:0<2}"

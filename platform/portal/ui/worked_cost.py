"""A worked example: a request's cost at a model's current prices, as the ledger would charge it."""

from dataclasses import dataclass
from datetime import datetime

from accounts.formats import number_text
from api.catalogue.snapshot import ModelEntry
from api.gateway.quote import TOKENS_PER_MESSAGE, TOKENS_PER_PROMPT
from billing.pricing.charge import ONE, Charge, ChargeLine, Usage, charge_of, quote
from billing.pricing.components import COMPONENTS
from billing.pricing.money import factor_text
from billing.pricing.rates import Prices

PROMPT_BYTES = 2_000
MAX_TOKENS = 1_500
INPUT_TOKENS = 500
OUTPUT_TOKENS = 1_000
CACHED_TOKENS = 200
IMAGES = 2
SECONDS = 5
EXAMPLES = ("chat", "image", "video")


@dataclass(frozen=True)
class Line:
    """One component: its quantity, its price per million or per unit, and the amount.

    Amounts are nano-dollars. `factor` is the price's multiplier; empty if that is 1.
    """

    title: str
    quantity: int
    price_nanos: int
    amount_nanos: int
    is_per_million: bool
    factor: str = ""


@dataclass(frozen=True)
class WorkedCost:
    """An example: what is held before the upstream is called, and what is charged in the end.

    Amounts are nano-dollars. `lines` add up to `charged_nanos`. For text, the hold covers
    `input_tokens_max` and `output_tokens_max`.
    """

    model: ModelEntry
    prices: Prices
    lines: list[Line]
    held_nanos: int
    charged_nanos: int
    input_tokens_max: int = 0
    output_tokens_max: int = 0

    @property
    def returned_nanos(self) -> int:
        """The part of the hold that is released."""
        return self.held_nanos - self.charged_nanos


def example_model(models: list[ModelEntry], now: datetime) -> ModelEntry | None:
    """Return the model for the example: a model with a price, preferably a chat model.

    There are examples for chat, image and video models.
    """
    priced = [(model, model.price_at(now)) for model in models if model.kind in EXAMPLES]
    paid = [model for model, prices in priced if prices is not None and prices.bounds]
    return next((model for model in paid if model.kind == "chat"), paid[0] if paid else None)


def worked_cost(model: ModelEntry, prices: Prices, *, with_cache: bool = False) -> WorkedCost:
    """Return the example for a model of any of these kinds: a chat, two images or one video.

    With `with_cache`, part of the chat's input is read from the cache.
    """
    if model.kind == "chat":
        return _chat(model, prices, CACHED_TOKENS if with_cache else 0)
    seconds = SECONDS if prices.second_nanos else 0
    usage = Usage(images=IMAGES) if model.kind == "image" else Usage(pieces=1, seconds=seconds)
    charge = charge_of(prices, usage)
    return WorkedCost(
        model=model,
        prices=prices,
        lines=_lines(charge),
        held_nanos=quote(prices, images=usage.images, seconds=seconds, pieces=usage.pieces),
        charged_nanos=charge.total_nanos,
    )


def _chat(model: ModelEntry, prices: Prices, cached_tokens: int) -> WorkedCost:
    usage = Usage(
        input_tokens=INPUT_TOKENS, cached_tokens=cached_tokens, output_tokens=OUTPUT_TOKENS
    )
    charge = charge_of(prices, usage)
    input_most = min(PROMPT_BYTES + TOKENS_PER_MESSAGE + TOKENS_PER_PROMPT, model.context_tokens)
    output_most = min(MAX_TOKENS, model.max_output_tokens)
    return WorkedCost(
        model=model,
        prices=prices,
        lines=_lines(charge),
        held_nanos=quote(prices, input_tokens_max=input_most, output_tokens_max=output_most),
        charged_nanos=charge.total_nanos,
        input_tokens_max=input_most,
        output_tokens_max=output_most,
    )


def _lines(charge: Charge) -> list[Line]:
    return [
        Line(
            COMPONENTS[line.component].label(line.quantity),
            line.quantity,
            line.rate_nanos,
            line.amount_nanos,
            line.per > 1,
            ""
            if line.factor_millionths == ONE
            else number_text(factor_text(line.factor_millionths)),
        )
        for line in (ChargeLine(*each) for each in charge.lines)
    ]

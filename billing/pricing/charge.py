"""What usage costs: pure functions from rates and counts to nano-dollars."""

import msgspec

from billing.pricing.money import price_of
from billing.pricing.rates import Prices, Rates


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request used. Cached is part of input, reasoning is part of output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    seconds: int = 0
    pieces: int = 0
    requests: int = 1


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What usage costs, by component, in nano-dollars."""

    input_nanos: int = 0
    cached_nanos: int = 0
    output_nanos: int = 0
    reasoning_nanos: int = 0
    units_nanos: int = 0

    @property
    def total_nanos(self) -> int:
        """The components' sum."""
        return (
            self.input_nanos
            + self.cached_nanos
            + self.output_nanos
            + self.reasoning_nanos
            + self.units_nanos
        )


NOTHING_USED = Usage(requests=0)
NO_COST = Cost()


def cost_of(rates: Rates, usage: Usage) -> Cost:
    """Returns the cost of the usage in nano-dollars, each component rounded by itself.

    Expects counts that are not negative, cached within input and reasoning within output; the
    reader of the upstream's usage sees to that (a negative component would be a gift).
    """
    return Cost(
        input_nanos=price_of(
            usage.input_tokens - usage.cached_tokens, rates.input_nanos_per_million
        ),
        cached_nanos=price_of(usage.cached_tokens, rates.cached_input_nanos_per_million),
        output_nanos=price_of(
            usage.output_tokens - usage.reasoning_tokens, rates.output_nanos_per_million
        ),
        reasoning_nanos=price_of(usage.reasoning_tokens, rates.reasoning_nanos_per_million),
        units_nanos=usage.images * rates.image_nanos
        + usage.seconds * rates.second_nanos
        + usage.pieces * rates.piece_nanos
        + usage.requests * rates.request_nanos,
    )


def upstream_cost_nanos(prices: Prices, usage: Usage) -> int:
    """Returns what the upstream asks of the operator for the usage, in nano-dollars."""
    return cost_of(prices.costs, usage).total_nanos

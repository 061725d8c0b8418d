"""What usage costs: pure functions from prices and counts to nano-dollars."""

from datetime import datetime

import msgspec

from billing.money import PER_MILLION, price_of


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """A price version as the relay holds it. Amounts are nano-dollars, token prices per million."""

    version_id: int
    effective_from: datetime
    input_nanos_per_million: int = 0
    cached_input_nanos_per_million: int = 0
    output_nanos_per_million: int = 0
    reasoning_nanos_per_million: int = 0
    image_nanos: int = 0
    second_nanos: int = 0
    piece_nanos: int = 0
    request_nanos: int = 0


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


def cost_of(prices: Prices, usage: Usage) -> Cost:
    """Returns the cost of the usage, each component rounded by itself."""
    return Cost(
        input_nanos=price_of(
            usage.input_tokens - usage.cached_tokens, prices.input_nanos_per_million
        ),
        cached_nanos=price_of(usage.cached_tokens, prices.cached_input_nanos_per_million),
        output_nanos=price_of(
            usage.output_tokens - usage.reasoning_tokens, prices.output_nanos_per_million
        ),
        reasoning_nanos=price_of(usage.reasoning_tokens, prices.reasoning_nanos_per_million),
        units_nanos=usage.images * prices.image_nanos
        + usage.seconds * prices.second_nanos
        + usage.pieces * prices.piece_nanos
        + usage.requests * prices.request_nanos,
    )


def quote(prices: Prices, *, input_tokens_max: int, output_tokens_max: int) -> int:
    """Returns the most that a chat request can cost, in nano-dollars.

    Cached input and reasoning are priced at the dearer of the two prices they could get, and one
    nano-dollar a component is added, since what is split is rounded more than once.
    """
    input_price = max(prices.input_nanos_per_million, prices.cached_input_nanos_per_million)
    output_price = max(prices.output_nanos_per_million, prices.reasoning_nanos_per_million)
    tokens = price_of(input_tokens_max, input_price) + price_of(output_tokens_max, output_price)
    return tokens + (2 if tokens else 0) + prices.request_nanos


def affordable_output_tokens(prices: Prices, *, input_tokens_max: int, amount_nanos: int) -> int:
    """Returns the largest `output_tokens_max` whose quote is within `amount_nanos`, or 0."""
    rest = amount_nanos - quote(prices, input_tokens_max=input_tokens_max, output_tokens_max=0) - 2
    output_price = max(prices.output_nanos_per_million, prices.reasoning_nanos_per_million)
    if output_price == 0:
        raise ValueError("Output that costs nothing has no affordable limit.")
    return max(0, (rest * PER_MILLION - PER_MILLION // 2) // output_price)

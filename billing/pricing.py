"""What usage costs: pure functions from prices and counts to nano-dollars."""

from datetime import datetime

import msgspec

from billing.money import PER_MILLION, price_of


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What each component costs, in nano-dollars; tokens per million, the rest per piece."""

    input_nanos_per_million: int = 0
    cached_input_nanos_per_million: int = 0
    output_nanos_per_million: int = 0
    reasoning_nanos_per_million: int = 0
    image_nanos: int = 0
    second_nanos: int = 0
    piece_nanos: int = 0
    request_nanos: int = 0


class Prices(Rates, frozen=True, kw_only=True):
    """A price version as the relay holds it: the customer's rates, and `costs`, the upstream's.

    Where the row leaves the price of cached input or of reasoning empty, these fields repeat the
    price of input or of output.
    """

    version_id: int
    effective_from: datetime
    costs: Rates = Rates()


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


def _slack(price: int, other_price: int) -> int:
    """Returns by how much parts that are rounded apart can pass the rounded whole: 1 or 0.

    Each of two parts gains at most half a nano-dollar. Where a token costs a whole number of
    nano-dollars, as it does at $0.70 per million, nothing is ever rounded.
    """
    return 1 if price % PER_MILLION or other_price % PER_MILLION else 0


def _most(quantity: int, price: int, other_price: int) -> int:
    """Returns the most that `quantity` tokens can cost, split between two prices in any way.

    Where the whole at the dearer price rounds to nothing, so does every part of it.
    """
    whole = price_of(quantity, max(price, other_price))
    return whole + _slack(price, other_price) if whole else 0


def quote(
    prices: Rates,
    *,
    input_tokens_max: int = 0,
    output_tokens_max: int = 0,
    images: int = 0,
    seconds: int = 0,
    pieces: int = 0,
    requests: int = 1,
) -> int:
    """Returns the most that a request can cost, in nano-dollars: no usage within it costs more.

    A request for `n` choices passes `n` times the output of one. Whatever is cached and whatever
    is reasoning, `cost_of` a usage within these bounds is within the quote.
    """
    return (
        _most(
            input_tokens_max, prices.input_nanos_per_million, prices.cached_input_nanos_per_million
        )
        + _most(
            output_tokens_max, prices.output_nanos_per_million, prices.reasoning_nanos_per_million
        )
        + images * prices.image_nanos
        + seconds * prices.second_nanos
        + pieces * prices.piece_nanos
        + requests * prices.request_nanos
    )


def affordable_output_tokens(
    prices: Rates, *, input_tokens_max: int, amount_nanos: int
) -> int | None:
    """Returns the largest `output_tokens_max` whose quote is within `amount_nanos`.

    0 where no output is affordable, be it that the input alone costs more; None where output costs
    nothing and the input is affordable, so that money sets no limit. All choices of a request
    share the result. The inverse of `quote` in that `quote(n) <= amount < quote(n + 1)`.
    """
    rest = amount_nanos - quote(prices, input_tokens_max=input_tokens_max)
    if rest < 0:
        return 0
    price = max(prices.output_nanos_per_million, prices.reasoning_nanos_per_million)
    if price == 0:
        return None
    slack = _slack(prices.output_nanos_per_million, prices.reasoning_nanos_per_million)
    # The largest n with price_of(n) <= most, hence n * price < (most + 1) million - half a million.
    most = max(rest - slack, 0)
    return ((most + 1) * PER_MILLION - PER_MILLION // 2 - 1) // price

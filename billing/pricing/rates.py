"""Rates, and the most that a request can cost at them."""

from datetime import datetime

import msgspec

from billing.pricing.money import PER_MILLION, price_of


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

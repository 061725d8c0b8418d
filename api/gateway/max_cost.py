"""A request's maximum cost: the header `X-Max-Cost`, or `max_cost` in the body, in dollars.

It bounds the hold and is the most that is charged. Output is limited to what it pays for: the limit
that goes upstream is lowered, and a stream whose upstream disregards that limit is ended. What
can't be lowered, such as a prompt or a fixed price, must be covered, or the request is refused.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from api import errors
from api.gateway.quote import LEAST_OUTPUT_TOKENS, Quote
from api.phrases import Phrase
from billing.pricing.charge import (
    NO_UNITS,
    NOTHING_USED,
    Usage,
    affordable_output_tokens,
    quote_range,
)
from billing.pricing.money import NANOS_PER_DOLLAR, dollars_short_text, nanos_from_dollars

HEADER = b"x-max-cost"
FIELD = "max_cost"
LARGEST_DOLLARS = 1_000_000
# A stream ends here once its text has so many times the bytes that the tokens usually have which
# the maximum pays for. Some scripts take more than twice the bytes of English for a token.
MOST_TEXT = 4

_encode = msgspec.json.Encoder().encode


class InvalidMaxCostError(errors.InvalidValueError):
    """The maximum cost is not an amount."""

    code = "invalid_max_cost"
    default_message = (
        "Invalid maximum cost: expected dollars as a decimal number above 0 and at most 1000000, "
        "with at most nine decimals, such as 0.05."
    )


class MaxCostTooLowError(errors.InvalidRequestError):
    """The request needs more than its maximum cost, whatever its answer is limited to."""

    code = "max_cost_too_low"
    default_message = (
        "The maximum cost doesn't cover the request. Raise it, or send a smaller request."
    )
    default_param = FIELD


class MaxCostReachedError(errors.InvalidRequestError):
    """The maximum cost pays for no more of an answer that has begun."""

    code = "max_cost_reached"
    default_message = "The answer ends here: it has reached the request's maximum cost."
    template = (
        "The answer ends here: it has reached the request's maximum cost. You were charged {} for "
        "what was delivered."
    )


def take_max_cost(headers: Mapping[bytes, bytes], fields: dict[str, Any]) -> tuple[int | None, int]:
    """Return the request's maximum cost in nano-dollars, and take it out of the body's fields.

    The lower of the header's and the body's counts. Also return how many bytes of the body it was:
    they are no part of the prompt. Raise InvalidMaxCostError.
    """
    own_bytes = 0
    named: list[int] = []
    if (stated := headers.get(HEADER)) is not None:
        named.append(_nanos_of(stated.decode("latin-1").strip(), "X-Max-Cost"))
    if (field := fields.pop(FIELD, None)) is not None:
        named.append(_nanos_of(field, FIELD))
        own_bytes = len(_encode({FIELD: field})) + 1  # without braces; a comma and two spaces
    return min(named, default=None), own_bytes


def _nanos_of(dollars: object, place: str) -> int:
    """Return an amount: a text, or a number of JSON, whose float is the decimal that was sent."""
    if isinstance(dollars, float):
        dollars = Decimal(repr(dollars))
    try:
        if isinstance(dollars, bool) or not isinstance(dollars, str | int | Decimal):
            raise ValueError
        nanos = nanos_from_dollars(dollars)
    except ValueError:
        raise InvalidMaxCostError(param=place) from None
    if not 0 < nanos <= LARGEST_DOLLARS * NANOS_PER_DOLLAR:
        raise InvalidMaxCostError(param=place)
    return nanos


def limit_to_max_cost(quoted: Quote, max_nanos: int) -> None:
    """Lower a quote to the maximum cost, by limiting its output. Raise MaxCostTooLowError."""
    if quoted.amount_nanos <= max_nanos:
        return
    least_nanos = quoted.amount_nanos
    is_counted = quoted.units is not None or quoted.likely is not None
    if quoted.most_output and not is_counted:
        _, least_nanos = quote_range(
            quoted.prices,
            input_tokens_max=quoted.prompt.most,
            output_tokens_max=quoted.most_output,
            output_tokens_min=min(quoted.max_tokens, LEAST_OUTPUT_TOKENS) * quoted.choices,
        )
    if least_nanos > max_nanos:
        raise MaxCostTooLowError(
            Phrase(
                "The maximum cost of ${max_cost} doesn't cover the request, which needs at least "
                "${least}. Raise it, or send a smaller request.",
                max_cost=dollars_short_text(max_nanos),
                least=dollars_short_text(least_nanos),
            )
        )
    granted = quoted.limited_tokens - quoted.prompt.likely
    quoted.lower_to(max_nanos)
    quoted.amount_nanos, _ = quote_range(
        quoted.prices,
        input_tokens_max=quoted.prompt.most,
        output_tokens_max=quoted.most_output,
        output_tokens_min=quoted.most_output,
    )
    quoted.minimum_nanos = min(quoted.minimum_nanos, quoted.amount_nanos)
    surplus = max(0, granted - quoted.most_output)
    quoted.limited_tokens -= surplus
    if quoted.least_limited_tokens is not None:
        quoted.least_limited_tokens = min(quoted.least_limited_tokens, quoted.limited_tokens)


def most_text_bytes(quoted: Quote) -> float:
    """Return how much text of an answer passes: no answer that the maximum cost covers has more."""
    max_nanos = quoted.request.max_cost_nanos
    if max_nanos is None:
        return math.inf
    tokens = affordable_output_tokens(
        quoted.prices, input_tokens_max=quoted.prompt.most, amount_nanos=max_nanos
    )
    if tokens is None:
        return math.inf
    return quoted.echoed_bytes + math.ceil(MOST_TEXT * tokens * quoted.bytes_per_token)


def usage_within(max_nanos: int, usage: Usage, nanos_of: Callable[[Usage], int]) -> Usage:
    """Return the part of a usage that a maximum cost pays for.

    Upstreams can report more than was asked of them. Output is left out first, then input.
    `nanos_of` returns what a usage costs in nano-dollars.
    """
    if nanos_of(usage) <= max_nanos:
        return usage
    # Parts of the input that have other rates: what remains of the input is charged as input.
    usage = structs.replace(usage, units=NO_UNITS)
    for whole, part in (("output_tokens", "reasoning_tokens"), ("input_tokens", "cached_tokens")):
        least = _cut(usage, whole, part, 0)
        if nanos_of(least) <= max_nanos:
            price = partial(_price_of_cut, nanos_of, usage, whole, part)
            paid = bisect_right(range(getattr(usage, whole) + 1), max_nanos, key=price)
            return _cut(usage, whole, part, paid - 1)
        usage = least
    return NOTHING_USED


def _cut(usage: Usage, whole: str, part: str, tokens: int) -> Usage:
    """Return a usage with so many tokens of one kind, of which some are a `part` of their own."""
    return structs.replace(usage, **{whole: tokens, part: min(getattr(usage, part), tokens)})


def _price_of_cut(
    nanos_of: Callable[[Usage], int], usage: Usage, whole: str, part: str, tokens: int
) -> int:
    return nanos_of(_cut(usage, whole, part, tokens))

"""Prices beside what an upstream charges for the same, component by component."""

from collections.abc import Iterator
from typing import NamedTuple

from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS, Component
from billing.pricing.rates import Rates


class RatePair(NamedTuple):
    """What a component is sold and bought for, with factors, at one context and service tier.

    Both are in nano-dollars times `ONE` for each `per` of the component, so that nothing is
    rounded.
    """

    component: Component
    price: int
    cost: int
    above_input_tokens: int = 0
    service_tier: str = ""

    @property
    def is_below_cost(self) -> bool:
        """Whether each unit sold is a loss."""
        return self.price < self.cost

    @property
    def margin_percent(self) -> float | None:
        """What is left of the price, in percent of it; None where nothing is paid."""
        return 100 * (self.price - self.cost) / self.price if self.price else None


def rate_pairs(prices: Rates, costs: Rates) -> Iterator[RatePair]:
    """Yield the pair of each component that has a price or a cost, at each tier.

    A component that only one of the two has counts as 0 on the other side: where, for instance, a
    video is sold by the piece and bought by the second, only a person can compare them.
    """
    thresholds = {
        0,
        *(tier.above_input_tokens for tier in (*prices.context_tiers, *costs.context_tiers)),
    }
    for service_tier in ("", *prices.service_tiers):
        sold, bought = prices.at_service_tier(service_tier), costs.at_service_tier(service_tier)
        for above in sorted(thresholds):
            yield from _pairs_at(
                sold.at_input(above + 1), bought.at_input(above + 1), above, service_tier
            )


def _pairs_at(sold: Rates, bought: Rates, above: int, service_tier: str) -> Iterator[RatePair]:
    for name, component in COMPONENTS.items():
        if sold.of(name) or bought.of(name):
            yield RatePair(
                component,
                sold.charged(name) * sold.multiplier_millionths,
                bought.charged(name) * bought.multiplier_millionths,
                above,
                service_tier,
            )


def is_below_cost(prices: Rates, costs: Rates) -> bool:
    """Return whether any component is sold for less than it is bought for, at any tier."""
    return any(pair.is_below_cost for pair in rate_pairs(prices, costs))


def rate_text(times_one: int) -> str:
    """Return a rate of a pair in dollars as people write it, such as `0.0375` or `0.70`."""
    whole, fraction = divmod(times_one, ONE * 10**9)
    digits = f"{fraction:015d}".rstrip("0")
    return f"{whole:,}.{digits:0<2}"

"""Context tiers, service tiers and factors: charged exactly, and never above what was held."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.charge import (
    ONE,
    ChargeLine,
    Usage,
    affordable_output_tokens,
    charge_and_cost,
    charge_of,
    price_of,
    quote,
)
from billing.pricing.components import COMPONENTS
from billing.pricing.rates import ContextTier, Costs, Prices
from tests.billing.test_pricing import LONG_AGO, counts, per_million, prices, rates, units

LONG = 200_000
# Gemini 2.5 Pro's price list: $1.25 and $10 up to 200,000 tokens of prompt, $2.50 and $15 above.
GEMINI = prices(
    input_nanos_per_million=1_250_000_000,
    cached_input_nanos_per_million=125_000_000,
    output_nanos_per_million=10_000_000_000,
    context_tiers=(ContextTier(LONG, {"input": 2_500_000_000, "output": 15_000_000_000}),),
    service_tiers={"priority": 1_750_000, "flex": 500_000},
)


def test_the_whole_request_is_charged_at_the_tier_that_its_input_reaches() -> None:
    below = charge_of(GEMINI, Usage(input_tokens=LONG, cached_tokens=1_000, output_tokens=10))
    above = charge_of(GEMINI, Usage(input_tokens=LONG + 1, cached_tokens=1_000, output_tokens=10))
    assert below.lines == [
        ("input", 199_000, 1_250_000_000, 1_000_000, 248_750_000),
        ("cached_input", 1_000, 125_000_000, 1_000_000, 125_000),
        ("output", 10, 10_000_000_000, 1_000_000, 100_000),
    ]
    # Cached input has a price of its own, which the tier leaves as it is.
    assert above.lines == [
        ("input", 199_001, 2_500_000_000, 1_000_000, 497_502_500, ONE, LONG, ""),
        ("cached_input", 1_000, 125_000_000, 1_000_000, 125_000, ONE, LONG, ""),
        ("output", 10, 15_000_000_000, 1_000_000, 150_000, ONE, LONG, ""),
    ]
    assert above.total_nanos == 497_502_500 + 125_000 + 150_000


def test_a_part_without_a_price_of_its_own_follows_its_whole_into_the_tier() -> None:
    figures = prices(
        input_nanos_per_million=1_000_000,
        output_nanos_per_million=2_000_000,
        context_tiers=(ContextTier(10, {"input": 5_000_000, "cache_write": 7_000_000}),),
    )
    used = Usage(input_tokens=20, cached_tokens=5, units={"cache_write": 3})
    assert charge_of(figures, used).lines == [
        ("input", 12, 5_000_000, 1_000_000, 60, ONE, 10, ""),
        ("cached_input", 5, 5_000_000, 1_000_000, 25, ONE, 10, ""),
        ("cache_write", 3, 7_000_000, 1_000_000, 21, ONE, 10, ""),
    ]


def test_tiers_build_on_each_other_in_whatever_order_they_are_given() -> None:
    figures = prices(
        input_nanos_per_million=1_000_000,
        image_nanos=3,
        context_tiers=(
            ContextTier(20, {"image": 9}),
            ContextTier(10, {"input": 2_000_000}),
        ),
    )
    totals = [
        charge_of(figures, Usage(input_tokens=tokens, images=1)).total_nanos
        for tokens in (10, 11, 20, 21)
    ]
    assert totals == [10 + 3, 22 + 3, 40 + 3, 42 + 9]


def test_a_factor_multiplies_each_component_before_its_one_rounding() -> None:
    figures = prices(
        input_nanos_per_million=700_000,
        output_nanos_per_million=2_500_000,
        request_nanos=5,
        factor_millionths=800_000,
    )
    charge = charge_of(figures, Usage(input_tokens=5, output_tokens=3))
    # 5 x 0.7 x 0.8 = 2.8, 3 x 2.5 x 0.8 = 6, 5 x 0.8 = 4
    assert charge.lines == [
        ("input", 5, 700_000, 1_000_000, 3, 800_000, 0, ""),
        ("output", 3, 2_500_000, 1_000_000, 6, 800_000, 0, ""),
        ("request", 1, 5, 1, 4, 800_000, 0, ""),
    ]
    assert (charge.input_nanos, charge.output_nanos, charge.units_nanos) == (3, 6, 4)
    # Rounding the price first, and then its product, would make 4 of 3.5, and 3 of 3.2.
    odd = prices(input_nanos_per_million=700_000, factor_millionths=1_000_001)
    assert charge_of(odd, Usage(input_tokens=5)).total_nanos == 4


def test_a_service_tier_is_quoted_and_charged_at_its_factor() -> None:
    fast = GEMINI.at_service_tier("priority")
    used = Usage(input_tokens=100, output_tokens=10)
    assert charge_of(fast, used).lines == [
        ("input", 100, 1_250_000_000, 1_000_000, 218_750, 1_750_000, 0, "priority"),
        ("output", 10, 10_000_000_000, 1_000_000, 175_000, 1_750_000, 0, "priority"),
    ]
    # A cached token costs 218.75 nano-dollars, so a split of the input may round up once more.
    assert quote(fast, input_tokens_max=100, output_tokens_max=10) == 393_750 + 1
    assert GEMINI.at_service_tier("unknown") is GEMINI
    assert fast.at_service_tier("priority") is fast
    assert fast.at_service_tier("") == GEMINI


def test_factors_of_contract_and_tier_multiply_exactly() -> None:
    figures = msgspec.structs.replace(GEMINI, factor_millionths=827_500)
    assert figures.at_service_tier("priority").multiplier_millionths == 1_448_125


@pytest.mark.parametrize(
    ("held", "served", "charged"),
    [
        ("priority", "priority", "priority"),
        ("priority", "Default", ""),
        ("priority", "standard", ""),
        ("priority", "flex", "flex"),
        ("priority", "", "priority"),
        ("priority", "scale", "priority"),  # says nothing, as it has no price
        ("", "priority", ""),  # which nobody asked for
        ("", "flex", "flex"),
        ("flex", "default", "flex"),  # more than what was held
    ],
)
def test_the_tier_that_the_upstream_served_decides_up_to_what_was_held(
    held: str, served: str, charged: str
) -> None:
    used = Usage(input_tokens=1_000, output_tokens=1_000, service_tier=served)
    charge, _ = charge_and_cost(GEMINI.at_service_tier(held), None, used)
    assert charge == charge_of(GEMINI.at_service_tier(charged), used)


def test_the_upstreams_cost_is_that_of_the_tier_that_it_served() -> None:
    costs = Costs(
        version_id=1,
        effective_from=LONG_AGO,
        input_nanos_per_million=1_000_000_000,
        context_tiers=(ContextTier(100, {"input": 2_000_000_000}),),
        factor_millionths=900_000,
        service_tiers={"priority": 2_000_000},
    )

    def cost(held: str, served: str, tokens: int = 10) -> int:
        used = Usage(input_tokens=tokens, service_tier=served)
        return charge_and_cost(GEMINI.at_service_tier(held), costs, used)[1].total_nanos

    assert cost("", "") == 10 * 900
    assert cost("", "", 101) == 101 * 1_800
    assert cost("priority", "") == 10 * 1_800
    assert cost("priority", "default") == 10 * 900
    # We owe what was served, whatever the customer's charge is bounded by.
    assert cost("", "priority") == 10 * 1_800


def test_a_plain_price_has_plain_lines() -> None:
    plain = prices(input_nanos_per_million=1_000_000, factor_millionths=ONE)
    assert plain.is_text_only
    assert charge_of(plain, Usage(input_tokens=5)).lines == [("input", 5, 1_000_000, 1_000_000, 5)]
    assert not GEMINI.is_text_only
    assert not prices(factor_millionths=2 * ONE).is_text_only


factors = st.one_of(st.just(ONE), st.integers(1, 3 * ONE), st.integers(1, 1_000 * ONE))
tiers = st.lists(
    st.builds(
        ContextTier,
        above_input_tokens=st.one_of(st.integers(1, 50), st.integers(1, 2_000_000)),
        rates=st.dictionaries(
            st.sampled_from(["input", "cached_input", "cache_write", "output", "reasoning"]),
            per_million,
        ),
    ),
    max_size=3,
    unique_by=lambda tier: tier.above_input_tokens,
).map(tuple)


@st.composite
def tiered(draw: st.DrawFn) -> Prices:
    """Prices with any tiers and factors."""
    figures = msgspec.structs.asdict(draw(rates))
    columns = {name: figures[name] for name in figures if "nanos" in name}
    return Prices(
        version_id=1,
        effective_from=GEMINI.effective_from,
        **columns,
        factor_millionths=draw(factors),
        context_tiers=draw(tiers),
        service_tiers=draw(st.dictionaries(st.sampled_from(["priority", "flex"]), factors)),
    )


served = st.sampled_from(["", "default", "priority", "flex", "scale"])


@given(tiered(), served, served, counts, counts, units, st.data())
def test_no_usage_within_its_bounds_is_charged_more_than_the_hold(
    figures: Prices,
    asked: str,
    served: str,
    input_max: int,
    output_max: int,
    images: int,
    data: st.DataObject,
) -> None:
    held = figures.at_service_tier(asked)
    most = quote(
        held, input_tokens_max=input_max, output_tokens_max=output_max, images=images, seconds=2
    )
    edges = [0, input_max, *(tier.above_input_tokens for tier in figures.context_tiers)]
    near = [edge + more for edge in edges for more in (0, 1) if edge + more <= input_max]
    input_tokens = data.draw(st.one_of(st.sampled_from(near), st.integers(0, input_max)))
    output_tokens = data.draw(st.one_of(st.just(output_max), st.integers(0, output_max)))
    cached = data.draw(st.integers(0, input_tokens))
    used = Usage(
        input_tokens=input_tokens,
        cached_tokens=cached,
        output_tokens=output_tokens,
        reasoning_tokens=data.draw(st.integers(0, output_tokens)),
        images=data.draw(st.integers(0, images)),
        seconds=data.draw(st.integers(0, 2)),
        units={"cache_write": data.draw(st.integers(0, input_tokens - cached))},
        service_tier=served,
    )
    charge, _ = charge_and_cost(held, None, used)
    assert charge.total_nanos <= most
    _assert_proved(charge.lines, charge.total_nanos)


def _assert_proved(lines: list[Any], total_nanos: int) -> None:
    """Each line is its quantity at its rate and factor, and they add up."""
    for line in (ChargeLine(*line) for line in lines):
        assert line.component in COMPONENTS
        exact = price_of(line.quantity, line.rate_nanos * line.factor_millionths, line.per * ONE)
        assert line.amount_nanos == exact
    assert total_nanos == sum(line[4] for line in lines)


@given(tiered(), counts, counts, counts)
def test_a_quote_never_falls_when_more_is_asked(
    figures: Prices, input_max: int, output_max: int, more: int
) -> None:
    less = quote(figures, input_tokens_max=input_max, output_tokens_max=output_max)
    assert less <= quote(figures, input_tokens_max=input_max, output_tokens_max=output_max + more)
    assert less <= quote(figures, input_tokens_max=input_max + more, output_tokens_max=output_max)


@given(tiered(), counts, st.one_of(st.integers(0, 100), st.integers(0, 10**13)))
def test_what_is_affordable_is_the_exact_inverse_of_the_quote(
    figures: Prices, input_max: int, amount: int
) -> None:
    most = affordable_output_tokens(figures, input_tokens_max=input_max, amount_nanos=amount)

    def cost(output: int) -> int:
        return quote(figures, input_tokens_max=input_max, output_tokens_max=output)

    if cost(0) > amount:
        assert most == 0
    elif most is None:
        assert cost(10**15) == cost(0)
    else:
        assert cost(most) <= amount < cost(most + 1)


def test_a_hold_counts_the_dearest_tier_within_reach_and_no_other() -> None:
    cheaper_above = prices(
        input_nanos_per_million=10_000_000,
        output_nanos_per_million=1_000_000,
        context_tiers=(ContextTier(100, {"input": 1_000_000}),),
    )
    # 100 tokens below the tier cost more than 500 above it.
    assert quote(cheaper_above, input_tokens_max=500, output_tokens_max=1) == 100 * 10 + 1
    assert quote(GEMINI, input_tokens_max=LONG) == LONG * 1_250
    assert quote(GEMINI, input_tokens_max=LONG + 1) == (LONG + 1) * 2_500

"""Costs are exact; a quote is an upper bound of them, and what is affordable is its inverse."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.charge import (
    NO_COST,
    NOTHING_USED,
    Cost,
    Usage,
    cost_of,
    upstream_cost_nanos,
)
from billing.pricing.rates import Prices, Rates, affordable_output_tokens, quote

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# Small prices show the rounding (a token below a nano-dollar), large ones the sizes.
per_million = st.one_of(
    st.integers(0, 3_000_000),
    st.integers(0, 10**12),
    st.integers(0, 10**6).map(lambda nanos_per_token: nanos_per_token * 10**6),
)
per_piece = st.one_of(st.just(0), st.integers(0, 10**10))
rates = st.builds(
    Rates,
    input_nanos_per_million=per_million,
    cached_input_nanos_per_million=per_million,
    output_nanos_per_million=per_million,
    reasoning_nanos_per_million=per_million,
    image_nanos=per_piece,
    second_nanos=per_piece,
    piece_nanos=per_piece,
    request_nanos=per_piece,
)
counts = st.one_of(st.integers(0, 50), st.integers(0, 2_000_000))
units = st.integers(0, 20)


def prices(**figures: int) -> Prices:
    figures.setdefault("cached_input_nanos_per_million", figures.get("input_nanos_per_million", 0))
    figures.setdefault("reasoning_nanos_per_million", figures.get("output_nanos_per_million", 0))
    return Prices(version_id=1, effective_from=LONG_AGO, **figures)


GLM_5_2 = prices(input_nanos_per_million=700_000_000, output_nanos_per_million=2_500_000_000)


def test_a32_the_worked_example_costs_exactly_0_00285_dollars() -> None:
    cost = cost_of(GLM_5_2, Usage(input_tokens=500, output_tokens=1000))
    assert cost == Cost(input_nanos=350_000, output_nanos=2_500_000)
    assert cost.total_nanos == 2_850_000


def test_a29_cached_input_has_its_own_price() -> None:
    answira = prices(
        input_nanos_per_million=475_000_000,
        cached_input_nanos_per_million=80_000_000,
        output_nanos_per_million=2_000_000_000,
    )
    cost = cost_of(answira, Usage(input_tokens=1500, cached_tokens=1200, output_tokens=200))
    # 300 x 0.475 + 1200 x 0.08 + 200 x 2.00 millionths of a dollar
    assert cost == Cost(input_nanos=142_500, cached_nanos=96_000, output_nanos=400_000)
    assert cost.total_nanos == 638_500


def test_reasoning_is_part_of_the_output_and_may_cost_more() -> None:
    figures = prices(output_nanos_per_million=1_000_000_000, reasoning_nanos_per_million=3 * 10**9)
    cost = cost_of(figures, Usage(output_tokens=10, reasoning_tokens=4))
    assert cost == Cost(output_nanos=6_000, reasoning_nanos=12_000)


def test_a29_images_videos_and_seconds_are_priced_by_the_piece() -> None:
    assert cost_of(prices(image_nanos=15_000_000), Usage(images=4)).total_nanos == 60_000_000
    assert cost_of(prices(piece_nanos=200_000_000), Usage(pieces=1)).total_nanos == 200_000_000
    assert cost_of(prices(second_nanos=7), Usage(seconds=6)).total_nanos == 42
    assert cost_of(prices(request_nanos=5), Usage()).total_nanos == 5


def test_nothing_used_costs_nothing() -> None:
    assert cost_of(prices(request_nanos=5), NOTHING_USED) == NO_COST


def test_the_upstreams_cost_is_reckoned_from_its_own_rates() -> None:
    with_costs = msgspec.structs.replace(
        GLM_5_2,
        costs=Rates(
            input_nanos_per_million=420_000_000,
            cached_input_nanos_per_million=42_000_000,
            output_nanos_per_million=1_500_000_000,
            reasoning_nanos_per_million=1_500_000_000,
        ),
    )
    used = Usage(input_tokens=500, cached_tokens=100, output_tokens=1000, reasoning_tokens=10)
    # 400 x 420 + 100 x 42 + 1000 x 1500
    assert upstream_cost_nanos(with_costs, used) == 168_000 + 4_200 + 1_500_000
    assert upstream_cost_nanos(GLM_5_2, used) == 0


@given(rates, counts, counts, units, units, units, units, st.data())
def test_no_usage_within_its_bounds_costs_more_than_the_quote(
    figures: Rates,
    input_max: int,
    output_max: int,
    images: int,
    seconds: int,
    pieces: int,
    requests: int,
    data: st.DataObject,
) -> None:
    most = quote(
        figures,
        input_tokens_max=input_max,
        output_tokens_max=output_max,
        images=images,
        seconds=seconds,
        pieces=pieces,
        requests=requests,
    )
    input_tokens = data.draw(st.one_of(st.just(input_max), st.integers(0, input_max)))
    output_tokens = data.draw(st.one_of(st.just(output_max), st.integers(0, output_max)))
    used = Usage(
        input_tokens=input_tokens,
        cached_tokens=data.draw(st.integers(0, input_tokens)),
        output_tokens=output_tokens,
        reasoning_tokens=data.draw(st.integers(0, output_tokens)),
        images=data.draw(st.integers(0, images)),
        seconds=data.draw(st.integers(0, seconds)),
        pieces=data.draw(st.integers(0, pieces)),
        requests=data.draw(st.integers(0, requests)),
    )
    assert cost_of(figures, used).total_nanos <= most


def test_the_quotes_margin_is_a_nano_dollar_a_side_where_tokens_cost_a_fraction() -> None:
    # Half a nano-dollar a token: two tokens cost 1, but 1 + 1 when one of them is cached.
    halves = prices(input_nanos_per_million=500_000)
    apart = cost_of(halves, Usage(input_tokens=2, cached_tokens=1)).total_nanos
    assert (cost_of(halves, Usage(input_tokens=2)).total_nanos, apart) == (1, 2)
    assert quote(halves, input_tokens_max=2) == 2


def test_a32_the_worked_example_is_quoted_exactly() -> None:
    assert quote(GLM_5_2, input_tokens_max=500, output_tokens_max=1000) == 2_850_000
    assert affordable_output_tokens(GLM_5_2, input_tokens_max=500, amount_nanos=2_850_000) == 1000
    assert affordable_output_tokens(GLM_5_2, input_tokens_max=500, amount_nanos=2_849_999) == 999


@given(rates, counts, counts, counts)
def test_a_quote_never_falls_when_more_is_asked(
    figures: Rates, input_max: int, output_max: int, more: int
) -> None:
    less = quote(figures, input_tokens_max=input_max, output_tokens_max=output_max)
    assert less <= quote(figures, input_tokens_max=input_max, output_tokens_max=output_max + more)
    assert less <= quote(figures, input_tokens_max=input_max + more, output_tokens_max=output_max)


@given(rates, counts, st.one_of(st.integers(0, 100), st.integers(0, 10**13)))
def test_what_is_affordable_is_the_exact_inverse_of_the_quote(
    figures: Rates, input_max: int, amount: int
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


@pytest.mark.parametrize("amount", [0, 1, 10**9])
def test_output_that_costs_nothing_has_no_affordable_limit(amount: int) -> None:
    free = prices()
    assert affordable_output_tokens(free, input_tokens_max=10, amount_nanos=amount) is None


def test_input_that_is_not_affordable_leaves_no_output_even_a_free_one() -> None:
    figures = prices(input_nanos_per_million=10**9)
    assert affordable_output_tokens(figures, input_tokens_max=10, amount_nanos=9_999) == 0
    assert affordable_output_tokens(figures, input_tokens_max=10, amount_nanos=10_000) is None


def test_a_free_model_is_quoted_at_nothing() -> None:
    assert quote(prices(), input_tokens_max=10**6, output_tokens_max=10**6) == 0


def test_choices_are_quoted_together() -> None:
    one = quote(GLM_5_2, output_tokens_max=1000)
    assert quote(GLM_5_2, output_tokens_max=3 * 1000) == 3 * one

"""A quote never falls short, and what is affordable is its inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.charge import (
    Usage,
    affordable_output_tokens,
    charge_of,
    quote,
    quote_parts,
)
from billing.pricing.rates import Rates
from tests.billing.test_pricing import GLM_5_2, counts, prices, rates


def test_the_quotes_margin_is_a_nano_dollar_a_side_where_tokens_cost_a_fraction() -> None:
    # Half a nano-dollar a token: two tokens cost 1, but 1 + 1 when one of them is cached.
    halves = prices(input_nanos_per_million=500_000)
    apart = charge_of(halves, Usage(input_tokens=2, cached_tokens=1)).total_nanos
    assert (charge_of(halves, Usage(input_tokens=2)).total_nanos, apart) == (1, 2)
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


@given(rates, counts, counts)
def test_the_parts_of_a_quote_add_up_to_it(figures: Rates, input_max: int, output_max: int) -> None:
    parts = quote_parts(figures, {"output": output_max, "request": 1}, input_max)
    whole = quote(figures, input_tokens_max=input_max, output_tokens_max=output_max)
    assert sum(parts.values()) == whole

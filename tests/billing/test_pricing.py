"""Costs are exact; a quote is an upper bound of them, and what is affordable is its inverse."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr

from api.catalogue.file import RatesTable
from billing.models import PriceVersion
from billing.pricing.charge import (
    NO_CHARGE,
    NOTHING_USED,
    Charge,
    Usage,
    affordable_output_tokens,
    charge_and_cost,
    charge_of,
    price_of,
    quote,
)
from billing.pricing.components import COMPONENTS, Component, check_extra_rates
from billing.pricing.money import PER_MILLION
from billing.pricing.rates import SUMMARIES, Costs, Prices, Rates

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


def prices(**figures: Any) -> Prices:
    figures.setdefault("cached_input_nanos_per_million", figures.get("input_nanos_per_million", 0))
    figures.setdefault("reasoning_nanos_per_million", figures.get("output_nanos_per_million", 0))
    return Prices(version_id=1, effective_from=LONG_AGO, **figures)


GLM_5_2 = prices(input_nanos_per_million=700_000_000, output_nanos_per_million=2_500_000_000)


def test_a32_the_worked_example_costs_exactly_0_00285_dollars() -> None:
    cost = charge_of(GLM_5_2, Usage(input_tokens=500, output_tokens=1000))
    assert cost == Charge(
        lines=[
            ("input", 500, 700_000_000, 1_000_000, 350_000),
            ("output", 1000, 2_500_000_000, 1_000_000, 2_500_000),
        ],
        input_nanos=350_000,
        output_nanos=2_500_000,
        total_nanos=2_850_000,
    )
    assert cost.total_nanos == 2_850_000


def test_a29_cached_input_has_its_own_price() -> None:
    answira = prices(
        input_nanos_per_million=475_000_000,
        cached_input_nanos_per_million=80_000_000,
        output_nanos_per_million=2_000_000_000,
    )
    cost = charge_of(answira, Usage(input_tokens=1500, cached_tokens=1200, output_tokens=200))
    # 300 x 0.475 + 1200 x 0.08 + 200 x 2.00 millionths of a dollar
    assert cost == Charge(
        lines=[
            ("input", 300, 475_000_000, 1_000_000, 142_500),
            ("cached_input", 1200, 80_000_000, 1_000_000, 96_000),
            ("output", 200, 2_000_000_000, 1_000_000, 400_000),
        ],
        input_nanos=142_500,
        cached_nanos=96_000,
        output_nanos=400_000,
        total_nanos=638_500,
    )
    assert cost.total_nanos == 638_500


def test_reasoning_is_part_of_the_output_and_may_cost_more() -> None:
    figures = prices(output_nanos_per_million=1_000_000_000, reasoning_nanos_per_million=3 * 10**9)
    cost = charge_of(figures, Usage(output_tokens=10, reasoning_tokens=4))
    assert cost == Charge(
        lines=[
            ("output", 6, 1_000_000_000, 1_000_000, 6_000),
            ("reasoning", 4, 3_000_000_000, 1_000_000, 12_000),
        ],
        output_nanos=6_000,
        reasoning_nanos=12_000,
        total_nanos=18_000,
    )


def test_a29_images_videos_and_seconds_are_priced_by_the_piece() -> None:
    assert charge_of(prices(image_nanos=15_000_000), Usage(images=4)).total_nanos == 60_000_000
    assert charge_of(prices(piece_nanos=200_000_000), Usage(pieces=1)).total_nanos == 200_000_000
    assert charge_of(prices(second_nanos=7), Usage(seconds=6)).total_nanos == 42
    assert charge_of(prices(request_nanos=5), Usage()).total_nanos == 5


def test_nothing_used_costs_nothing() -> None:
    assert charge_of(prices(request_nanos=5), NOTHING_USED) == NO_CHARGE


def test_what_is_counted_and_free_has_no_line_and_free_tokens_have_one() -> None:
    charge = charge_of(prices(image_nanos=5), Usage(images=2, seconds=3, output_tokens=7))
    assert charge.lines == [("output", 7, 0, 1_000_000, 0), ("image", 2, 5, 1, 10)]


# Two components that the table does not have: one counted by itself, two within the input.
TOYS = (
    Component(name="toy_search", singular="toy search", plural="toy searches"),
    Component(
        name="toy_write",
        singular="toy write",
        plural="toy writes",
        per=PER_MILLION,
        part_of="input",
        summary="input_nanos",
    ),
    Component(
        name="toy_audio",
        singular="toy audio token",
        plural="toy audio tokens",
        per=PER_MILLION,
        part_of="input",
        summary="input_nanos",
    ),
)


@pytest.fixture(scope="module")
def toys() -> Iterator[None]:
    """The table of components with three more."""
    with pytest.MonkeyPatch.context() as patch:
        for toy in TOYS:
            patch.setitem(COMPONENTS, toy.name, toy)
        yield


@pytest.mark.usefixtures("toys")
def test_a_part_with_a_rate_of_its_own_is_taken_out_of_its_whole() -> None:
    used = Usage(input_tokens=100, cached_tokens=10, units={"toy_write": 40, "toy_audio": 5})
    with_rate = prices(input_nanos_per_million=1_000_000, extra={"toy_write": 2_000_000})
    charge = charge_of(with_rate, used)
    assert charge.lines == [
        ("input", 50, 1_000_000, 1_000_000, 50),
        ("cached_input", 10, 1_000_000, 1_000_000, 10),
        ("toy_write", 40, 2_000_000, 1_000_000, 80),
    ]
    # Audio has no rate here: it is charged as the input that it is.
    assert (charge.input_nanos, charge.cached_nanos, charge.total_nanos) == (130, 10, 140)


def test_a_rate_of_a_component_that_is_not_in_the_table_is_left_alone() -> None:
    figures = prices(input_nanos_per_million=1_000_000, extra={"of_a_later_release": 5})
    used = Usage(input_tokens=3, units={"of_a_later_release": 9})
    assert charge_of(figures, used).total_nanos == 3
    assert quote(figures, input_tokens_max=3, units={"of_a_later_release": 9}) == 3


@given(rates, st.data())
def test_lines_add_up_to_the_columns_and_each_is_its_product(
    figures: Rates, data: st.DataObject
) -> None:
    input_tokens, output_tokens = data.draw(counts), data.draw(counts)
    charge = charge_of(
        figures,
        Usage(
            input_tokens=input_tokens,
            cached_tokens=data.draw(st.integers(0, input_tokens)),
            output_tokens=output_tokens,
            reasoning_tokens=data.draw(st.integers(0, output_tokens)),
            images=data.draw(units),
            seconds=data.draw(units),
            pieces=data.draw(units),
        ),
    )
    sums = dict.fromkeys(SUMMARIES, 0)
    for name, quantity, rate_nanos, per, amount_nanos in charge.lines:
        assert amount_nanos == price_of(quantity, rate_nanos, per)
        sums[COMPONENTS[name].summary] += amount_nanos
    assert {column: getattr(charge, column) for column in SUMMARIES} == sums
    assert charge.total_nanos == sum(line[-1] for line in charge.lines)


@given(rates, counts, counts, st.data())
def test_the_quick_way_of_text_is_the_same_as_the_loop(
    figures: Rates, input_tokens: int, output_tokens: int, data: st.DataObject
) -> None:
    text = msgspec.structs.replace(
        figures, image_nanos=0, second_nanos=0, piece_nanos=0, request_nanos=0
    )
    assert text.is_text_only
    by_loop = msgspec.structs.replace(text)
    force_setattr(by_loop, "is_text_only", False)
    used = Usage(
        input_tokens=input_tokens,
        cached_tokens=data.draw(st.integers(0, input_tokens)),
        output_tokens=output_tokens,
        reasoning_tokens=data.draw(st.integers(0, output_tokens)),
    )
    assert charge_of(text, used) == charge_of(by_loop, used)
    assert not charge_of(text, NOTHING_USED).lines


def test_the_upstreams_cost_is_reckoned_from_its_own_rates() -> None:
    costs = Costs(
        version_id=1,
        effective_from=LONG_AGO,
        input_nanos_per_million=420_000_000,
        cached_input_nanos_per_million=42_000_000,
        output_nanos_per_million=1_500_000_000,
        reasoning_nanos_per_million=1_500_000_000,
    )
    used = Usage(input_tokens=500, cached_tokens=100, output_tokens=1000, reasoning_tokens=10)
    # 400 x 420 + 100 x 42 + 1000 x 1500
    charge, cost = charge_and_cost(GLM_5_2, costs, used)
    assert charge == charge_of(GLM_5_2, used)
    assert cost.total_nanos == 168_000 + 4_200 + 1_500_000
    assert sum(line[4] for line in cost.lines) == cost.total_nanos
    assert charge_and_cost(GLM_5_2, None, used)[1] == NO_CHARGE


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
    assert charge_of(figures, used).total_nanos <= most


@pytest.mark.usefixtures("toys")
@given(
    rates,
    st.fixed_dictionaries(
        {}, optional={"toy_search": per_piece, "toy_write": per_million, "toy_audio": per_million}
    ),
    counts,
    units,
    st.data(),
)
def test_no_usage_of_further_components_costs_more_than_the_quote(
    figures: Rates, extra: dict[str, int], input_max: int, searches: int, data: st.DataObject
) -> None:
    figures = msgspec.structs.replace(figures, extra=extra)
    most = quote(figures, input_tokens_max=input_max, units={"toy_search": searches})
    left = input_max
    parts = []
    for _ in range(3):
        parts.append(data.draw(st.one_of(st.just(left // 2), st.integers(0, left))))
        left -= parts[-1]
    used = Usage(
        input_tokens=input_max,
        cached_tokens=parts[0],
        units={
            "toy_write": parts[1],
            "toy_audio": parts[2],
            "toy_search": data.draw(st.integers(0, searches)),
        },
    )
    assert charge_of(figures, used).total_nanos <= most


@pytest.mark.usefixtures("toys")
def test_what_is_affordable_leaves_room_for_the_units() -> None:
    figures = prices(output_nanos_per_million=1_000_000, extra={"toy_search": 30})
    bounds = {"input_tokens_max": 0, "amount_nanos": 100}
    assert affordable_output_tokens(figures, **bounds) == 100
    assert affordable_output_tokens(figures, **bounds, units={"toy_search": 2}) == 40
    assert affordable_output_tokens(figures, **bounds, units={"toy_search": 4}) == 0


def test_the_table_of_components_is_sound() -> None:
    """A new line with a slip in it is found here, before a charge or a page goes by it."""
    for name, component in COMPONENTS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert component.name == name
        assert component.summary in SUMMARIES
        if component.part_of:
            whole = COMPONENTS[component.part_of]
            assert (whole.per, whole.part_of) == (component.per, "")
        if component.field:
            assert component.field in Usage.__struct_fields__
            assert component.rate_column in Rates.__struct_fields__
            columns = {field.name for field in PriceVersion._meta.fields}
            assert component.rate_column in columns
    keys = set(RatesTable.__struct_fields__) - {"extra"}
    assert keys == {name for name, component in COMPONENTS.items() if component.field}


@pytest.mark.parametrize(
    "wrong",
    [[], {"input": 5}, {"nothing": 5}, {"toy_search": -1}, {"toy_search": 1.5}, {"toy_write": "1"}],
)
@pytest.mark.usefixtures("toys")
def test_extra_rates_that_price_nothing_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        check_extra_rates(wrong)
    check_extra_rates({"toy_search": 0, "toy_write": 10**12})

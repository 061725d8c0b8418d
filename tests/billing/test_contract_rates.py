"""Contract prices: which applies when, what they charge, and that a hold still bounds the cost."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.charge import ONE, Usage, charge_and_cost, charge_of, price_of, quote
from billing.pricing.contracts import Contract, contract_at, prices_under, with_factor
from billing.pricing.rates import ContextTier, Prices, Rates
from tests.billing.test_pricing import counts, prices, rates

START = datetime(2026, 5, 1, tzinfo=UTC)
END = datetime(2026, 6, 1, tzinfo=UTC)
LISTED = prices(
    input_nanos_per_million=1_000_000_000,
    cached_input_nanos_per_million=100_000_000,
    output_nanos_per_million=4_000_000_000,
    reasoning_nanos_per_million=4_000_000_000,
)
SECOND = timedelta(seconds=1)


def contract(**fields: object) -> Contract:
    known = {"id": 7, "team_id": 1, "product_id": 5, "starts_at": START, "ends_at": END}
    return msgspec.convert({**known, **fields}, Contract)


def under(*contracts: Contract, at: datetime = START, listed: Prices = LISTED) -> Prices:
    """Return the price in force at a moment for the product 5."""
    found = prices_under(contracts, 5, [listed])
    assert [each.effective_from for each in found] == sorted(
        {each.effective_from for each in found}, reverse=True
    )
    return next(each for each in found if each.effective_from <= at)


def test_a_factor_multiplies_every_line_and_each_line_names_the_contract() -> None:
    found = under(contract(factor_millionths=850_000))
    charge = charge_of(found, Usage(input_tokens=1_001, cached_tokens=1_000, output_tokens=3))
    assert charge.lines == [
        ("input", 1, 1_000_000_000, 1_000_000, 850, 850_000, 0, "", 7),
        ("cached_input", 1_000, 100_000_000, 1_000_000, 85_000, 850_000, 0, "", 7),
        ("output", 3, 4_000_000_000, 1_000_000, 10_200, 850_000, 0, "", 7),
    ]
    assert charge.total_nanos == 96_050


def test_own_rates_replace_the_list_price_and_keep_its_version() -> None:
    own = prices(input_nanos_per_million=300_000_000, output_nanos_per_million=900_000_000)
    found = under(contract(rates=msgspec.structs.replace(own, version_id=7)))
    assert (found.version_id, found.contract) == (LISTED.version_id, 7)
    charge = charge_of(found, Usage(input_tokens=10, output_tokens=10))
    assert [line[2:5] + line[8:] for line in charge.lines] == [
        (300_000_000, 1_000_000, 3_000, 7),
        (900_000_000, 1_000_000, 9_000, 7),
    ]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(START - SECOND, 0), (START, 7), (END - SECOND, 7), (END, 0), (END + SECOND, 0)],
)
def test_it_applies_from_its_start_to_before_its_end(moment: datetime, expected: int) -> None:
    assert under(contract(factor_millionths=500_000), at=moment).contract == expected


def test_a_contract_for_the_model_comes_before_one_for_all_models() -> None:
    for_all = contract(id=1, product_id=None, factor_millionths=900_000, ends_at=None)
    for_one = contract(id=2, factor_millionths=500_000)
    for_another = contract(id=3, product_id=6, factor_millionths=100_000)
    for order in ([for_all, for_one, for_another], [for_another, for_one, for_all]):
        assert under(*order).contract == 2
        assert under(*order, at=END).contract == 1
        assert contract_at(order, 6, START).id == 3  # type: ignore[union-attr]


def test_a_new_list_price_is_multiplied_from_its_moment_on() -> None:
    dearer = msgspec.structs.replace(
        LISTED,
        version_id=2,
        effective_from=START + timedelta(days=3),
        input_nanos_per_million=2_000_000_000,
    )
    found = prices_under([contract(factor_millionths=500_000)], 5, [dearer, LISTED])
    assert [
        (each.version_id, each.contract, charge_of(each, Usage(input_tokens=1)).total_nanos)
        for each in found
    ] == [(2, 0, 2_000), (2, 7, 1_000), (1, 7, 500), (1, 0, 1_000)]


def test_what_is_not_sold_yet_has_no_contract_price() -> None:
    later = msgspec.structs.replace(LISTED, effective_from=END + SECOND)
    assert prices_under([contract(factor_millionths=500_000)], 5, [later]) == (later,)
    assert prices_under([contract()], 5, []) == ()


def test_the_factors_are_multiplied_and_rounded_down_to_a_millionth_but_never_to_zero() -> None:
    listed = prices(
        output_nanos_per_million=1_000_000, factor_millionths=333_333, service_tiers={"fast": 3}
    )
    found = under(contract(factor_millionths=850_000), listed=listed)
    assert found.multiplier_millionths == 283_333  # 0.28333305
    assert found.at_service_tier("fast").multiplier_millionths == 1
    assert found.at_service_tier("fast").notes == (1, 0, "fast", 7)


def test_tiers_are_at_the_contract_price_too() -> None:
    listed = msgspec.structs.replace(
        LISTED,
        context_tiers=(ContextTier(100, {"input": 2_000_000_000}),),
        service_tiers={"priority": 2_000_000},
    )
    found = under(contract(factor_millionths=500_000), listed=listed)
    charge, _ = charge_and_cost(
        found.at_service_tier("priority"),
        None,
        Usage(input_tokens=101, service_tier="priority"),
    )
    line = ("input", 101, 2_000_000_000, 1_000_000, 202_000, ONE, 100, "priority", 7)
    assert charge.lines == [line]


@given(rates, counts, counts, st.integers(10_000, 10_000_000))
def test_a_hold_at_a_contract_price_bounds_the_charge(
    listed: Rates, tokens: int, output_tokens: int, factor: int
) -> None:
    found = with_factor(listed, 7, factor)
    used = Usage(
        input_tokens=tokens, cached_tokens=tokens // 3, output_tokens=output_tokens, images=2
    )
    charge = charge_of(found, used)
    most = quote(found, input_tokens_max=tokens, output_tokens_max=output_tokens, images=2)
    assert charge.total_nanos <= most
    assert charge.total_nanos == sum(
        price_of(line[1], line[2] * line[5], line[3] * ONE) for line in charge.lines
    )

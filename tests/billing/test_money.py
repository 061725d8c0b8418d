"""Money is read and written exactly; there is one rounding rule."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.charge import price_of
from billing.pricing.money import (
    dollars_short_text,
    dollars_text,
    nanos_from_dollars,
    unit_price_text,
)


@pytest.mark.parametrize(
    ("quantity", "price", "nanos"),
    [
        (1, 499_999, 0),
        (1, 500_000, 1),  # half goes up
        (3, 500_000, 2),
        (1, 1_499_999, 1),
        (1, 1_500_000, 2),
        (500, 700_000_000, 350_000),
        (1000, 2_500_000_000, 2_500_000),
        (1, 37_500_000, 38),  # $0.0375 per million is exact, its token is not
        (1_000_000, 37_500_000, 37_500_000),
    ],
)
def test_a_component_is_rounded_half_up(quantity: int, price: int, nanos: int) -> None:
    assert price_of(quantity, price) == nanos


@given(st.integers(0, 10**12), st.integers(0, 10**15))
def test_rounding_agrees_with_decimal_arithmetic(quantity: int, price: int) -> None:
    exact = Decimal(quantity * price).scaleb(-6)
    whole, rest = divmod(quantity * price, 10**6)
    assert price_of(quantity, price) == whole + (rest >= 500_000)
    assert abs(price_of(quantity, price) - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0.70", 700_000_000),
        ("2", 2_000_000_000),
        ("-1", -1_000_000_000),
        ("+0.000000001", 1),
        ("0.0000000010", 1),
        ("-0.000000001", -1),
        ("123456789012345.123456789", 123_456_789_012_345_123_456_789),
        (5, 5_000_000_000),
        (Decimal("2.50"), 2_500_000_000),
        (Decimal("1E+2"), 100_000_000_000),
        (Decimal("1E-9"), 1),
    ],
)
def test_dollars_become_nanos_exactly(text: str | int | Decimal, nanos: int) -> None:
    assert nanos_from_dollars(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "1_000",
        "1,5",
        "1e3",
        ".5",
        "5.",
        "NaN",
        "Infinity",
        "$5",
        "\u0661",  # an Arabic digit
        "0.0000000001",
        "1." + "0" * 8 + "05",
        "1." + "0" * 29 + "1",
        "1" * 5_000,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1E+1000000"),
        Decimal("1E-10"),
    ],
)
def test_what_is_no_amount_or_too_fine_is_refused(text: str | Decimal) -> None:
    with pytest.raises(ValueError, match=r"amount|whole number"):
        nanos_from_dollars(text)


@given(st.integers(-(10**23), 10**23))
def test_written_dollars_are_read_back_the_same(nanos: int) -> None:
    assert nanos_from_dollars(dollars_text(nanos)) == nanos
    assert nanos_from_dollars(dollars_short_text(nanos)) == nanos


def test_dollars_are_written_with_nine_decimals_or_short() -> None:
    assert dollars_text(2_850_000) == "0.002850000"
    assert dollars_text(-1) == "-0.000000001"
    assert dollars_short_text(15_000_000) == "0.015"
    assert dollars_short_text(2_000_000_000) == "2"
    assert dollars_short_text(10_000_000_000) == "10"
    assert dollars_short_text(0) == "0"


def test_a27_prices_per_token_are_plain_decimals() -> None:
    assert unit_price_text(475_000_000) == "0.000000475"
    assert unit_price_text(2_000_000_000) == "0.000002"
    assert unit_price_text(80_000_000) == "0.00000008"
    assert unit_price_text(1) == "0.000000000000001"
    assert unit_price_text(0) == "0"
    assert unit_price_text(10**16) == "10"

"""Headlines add up as shown, to the cent."""

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from portal.ui.money import (
    Balances,
    balances_in_cents,
    cents,
    cents_exactly,
    cents_of,
    parts_in_cents,
)

CENT = 10_000_000
AMOUNTS = st.one_of(
    st.integers(0, 10**15), st.integers(0, 3 * CENT), st.integers(0, 10**6).map(lambda n: n * CENT)
)


def shown_cents(amount_nanos: int) -> int:
    """Return what a reader would add up: the cents of the amount as text."""
    found = cents_of(cents_exactly(amount_nanos))
    assert found is not None
    return found


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_statement_adds_up_as_shown(opening: int, credits_: int, debits: int) -> None:
    debits = min(debits, opening + credits_)
    exact = Balances(opening, credits_, debits, opening + credits_ - debits)

    shown = balances_in_cents(exact)

    texts = [shown_cents(amount) for amount in shown]
    assert texts[0] + texts[1] - texts[2] == texts[3]
    for amount, rounded in zip(exact, shown, strict=True):
        assert abs(amount - rounded) < CENT
    assert shown.closing_nanos <= exact.closing_nanos, "shows more than there is"


def test_the_statement_of_the_issue_adds_up() -> None:
    spent = 25_002_300_000
    shown = balances_in_cents(Balances(0, 26 * 10**9, spent, 26 * 10**9 - spent))

    assert [cents_exactly(amount) for amount in shown] == ["$0.00", "$26.00", "$25.01", "$0.99"]


@given(st.lists(AMOUNTS, max_size=12))
def test_parts_add_up_to_the_total_as_shown(parts: list[int]) -> None:
    shown = parts_in_cents(parts)

    total_text = cents(sum(parts))
    if total_text == "<$0.01":
        assert shown == [total_text if amount else "$0.00" for amount in parts]
        return
    in_cents = [cents_of(text) for text in shown]
    assert sum(each for each in in_cents if each is not None) == cents_of(total_text)
    for amount, rounded in zip(parts, in_cents, strict=True):
        assert rounded is not None
        assert abs(amount - rounded * CENT) < CENT
        assert amount or not rounded, "nothing is shown as something"


def test_parts_of_a_total_below_a_cent_are_shown_like_it() -> None:
    assert cents(3_000_000) == "<$0.01"
    assert parts_in_cents([3_000_000]) == ["<$0.01"]
    assert parts_in_cents([2_000_000, 0, 1_000_000]) == ["<$0.01", "$0.00", "<$0.01"]
    assert parts_in_cents([]) == []


@pytest.mark.parametrize(
    ("language", "typed", "amount"),
    [
        ("en", "12.50", 1250),
        ("en", "$1,250.00", 125_000),
        ("en", "12,50", None),
        ("cs", "12,50", 1250),
        ("cs", "12.50", 1250),
        ("cs", "1\N{NO-BREAK SPACE}250,00\N{NO-BREAK SPACE}$", 125_000),
        ("ru", "12,5", 1250),
        ("ru", "1,250", None),
    ],
)
def test_an_amount_is_typed_as_the_language_writes_it(
    language: str, typed: str, amount: int | None
) -> None:
    with translation.override(language):
        assert cents_of(typed) == amount

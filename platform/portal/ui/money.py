"""Amounts of money as people read and type them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from accounts.formats import dollars_text, typed_number
from billing.pricing import money
from billing.pricing.money import NANOS_PER_CENT

# Dollars as people write them. A comma only separates thousands: elsewhere it separates cents.
_DOLLARS = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)


def dollars(amount_nanos: int | None) -> str:
    """Return the amount as a person reads it: whole cents at least, and all that is finer.

    `$12.50`, `$0.00285`, `-$3.00`; nothing for None.
    """
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = money.dollars_short_text(abs(amount_nanos)).partition(".")
    return dollars_text(f"{sign}${int(whole):,}.{decimals:0<2}")


def dollars_exact(amount_nanos: int | None) -> str:
    """Return the amount with all nine decimals, as the books have it: `$0.002850000`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = money.dollars_text(abs(amount_nanos)).partition(".")
    return dollars_text(f"{sign}${int(whole):,}.{decimals}")


def cents(amount_nanos: int | None) -> str:
    """Return the amount rounded down to cents, for headlines; a smaller one as `<$0.01`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole_cents = abs(amount_nanos) // NANOS_PER_CENT
    if amount_nanos and not whole_cents:
        return dollars_text(f"{sign}<$0.01")
    return dollars_text(sign + money.cents_text(whole_cents))


def cents_exactly(amount_nanos: int | None) -> str:
    """Return an amount that `balances_in_cents` rounded: `$0.00` for nothing.

    Unlike `cents`, it never shows `<$0.01`, which can't stand in a sum.
    """
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    return dollars_text(sign + money.cents_text(abs(amount_nanos) // NANOS_PER_CENT))


def parts_in_cents(parts_nanos: Sequence[int]) -> list[str]:
    """Return the parts as text, in cents that add up to the total as `cents` shows it.

    The total is rounded down; the parts with the largest remainders get the cents that are missing.
    Each part is less than a cent from its exact amount, and a part of nothing stays nothing. Where
    the total is `<$0.01`, so are its parts.
    """
    total_nanos = sum(parts_nanos)
    if 0 < total_nanos < NANOS_PER_CENT:
        return [cents(part) for part in parts_nanos]
    total_cents = total_nanos // NANOS_PER_CENT
    floors = [part // NANOS_PER_CENT for part in parts_nanos]
    missing = total_cents - sum(floors)
    by_remainder = sorted(
        range(len(floors)), key=lambda place: parts_nanos[place] % NANOS_PER_CENT, reverse=True
    )
    for place in by_remainder[:missing]:
        floors[place] += 1
    return [dollars_text(money.cents_text(floor)) for floor in floors]


class Balances(NamedTuple):
    """What a headline adds up: opening + credits - debits = closing, each in nano-dollars."""

    opening_nanos: int
    credits_nanos: int
    debits_nanos: int
    closing_nanos: int


def balances_in_cents(exact: Balances) -> Balances:
    """Return a statement's figures rounded to cents so that they add up as shown.

    The balances are rounded down, as they are everywhere else. Credits and debits take up the
    difference, each by less than a cent.
    """
    opening = exact.opening_nanos // NANOS_PER_CENT
    closing = exact.closing_nanos // NANOS_PER_CENT
    credits_cents, credits_rest = divmod(exact.credits_nanos, NANOS_PER_CENT)
    debits_cents = opening + credits_cents - closing
    # Debits a cent or more below their amount: credits are rounded up instead of down.
    if credits_rest and exact.debits_nanos - debits_cents * NANOS_PER_CENT >= NANOS_PER_CENT:
        credits_cents, debits_cents = credits_cents + 1, debits_cents + 1
    rounded = (opening, credits_cents, debits_cents, closing)
    return Balances(*(amount * NANOS_PER_CENT for amount in rounded))


def dollars_of_cents(amount_cents: int | None) -> str:
    """Return an amount that is counted in cents, as Stripe's are: `$12.50`."""
    return "" if amount_cents is None else dollars_text(money.cents_text(amount_cents))


def cents_of(text: str) -> int | None:
    """Return an amount that was typed in dollars; None: it is none."""
    found = _DOLLARS.fullmatch(typed_number(text))
    if found is None:
        return None
    whole, fraction = found.groups("")
    return int(whole.replace(",", "")) * 100 + int(fraction.ljust(2, "0"))

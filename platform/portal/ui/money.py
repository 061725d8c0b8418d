"""Amounts of money as people read and type them."""

import re

from billing.pricing.money import NANOS_PER_CENT, cents_text, dollars_short_text, dollars_text

# Dollars as people write them. A comma only separates thousands: elsewhere it separates cents.
_DOLLARS = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)


def dollars(amount_nanos: int | None) -> str:
    """Return the amount as a person reads it: whole cents at least, and all that is finer.

    `$12.50`, `$0.00285`, `-$3.00`; nothing for None.
    """
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = dollars_short_text(abs(amount_nanos)).partition(".")
    return f"{sign}${int(whole):,}.{decimals:0<2}"


def dollars_exact(amount_nanos: int | None) -> str:
    """Return the amount with all nine decimals, as the books have it: `$0.002850000`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = dollars_text(abs(amount_nanos)).partition(".")
    return f"{sign}${int(whole):,}.{decimals}"


def cents(amount_nanos: int | None) -> str:
    """Return the amount rounded down to cents, for headlines; a smaller one as `<$0.01`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole_cents = abs(amount_nanos) // NANOS_PER_CENT
    if amount_nanos and not whole_cents:
        return f"{sign}<$0.01"
    return sign + cents_text(whole_cents)


def dollars_of_cents(amount_cents: int | None) -> str:
    """Return an amount that is counted in cents, as Stripe's are: `$12.50`."""
    return "" if amount_cents is None else cents_text(amount_cents)


def cents_of(text: str) -> int | None:
    """Return an amount that was typed in dollars; None: it is none."""
    found = _DOLLARS.fullmatch(text.strip())
    if found is None:
        return None
    whole, fraction = found.groups("")
    return int(whole.replace(",", "")) * 100 + int(fraction.ljust(2, "0"))

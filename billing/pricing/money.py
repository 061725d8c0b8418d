"""Amounts of money, integer nano-dollars, parsed from text and formatted as text."""

import re
from decimal import Decimal

NANOS_PER_DOLLAR = 1_000_000_000
NANOS_PER_CENT = NANOS_PER_DOLLAR // 100

PER_MILLION = 1_000_000

# Decimal() also takes "1_0", "1e9", " 1 ", "NaN" and other scripts' digits, which are not amounts.
_AMOUNT = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,30})?", re.ASCII)

# Up to 999,999,999.999999999: ten digits of dollars would not all fit a bigint of nano-dollars.
_BUDGET = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_FACTOR = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?", re.ASCII)
BUDGET_INVALID = 'Enter an amount in dollars, such as "12.50".'


def nanos_from_dollars(dollars: str | int | Decimal) -> int:
    """Return an exact amount in nano-dollars.

    Accept a plain decimal number ("0.70", "-1", Decimal("2.5")). Raise ValueError for anything
    else, and for what is finer than a nano-dollar.
    """
    if isinstance(dollars, Decimal) and dollars.is_finite() and abs(dollars.adjusted()) <= 30:
        text = f"{dollars:f}"
    else:
        text = str(dollars)
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is not an amount in dollars.")
    # The digits themselves, since Decimal's arithmetic would round to its context's precision.
    whole, _, fraction = text.partition(".")
    if fraction[9:].strip("0"):
        raise ValueError(f"{text!r} is not a whole number of nano-dollars.")
    return int(whole + fraction[:9].ljust(9, "0"))


def budget_nanos(text: str) -> int:
    """Return an API key's budget in nano-dollars. Raise ValueError with `BUDGET_INVALID`."""
    if not _BUDGET.fullmatch(text):
        raise ValueError(BUDGET_INVALID)
    return nanos_from_dollars(text)


def dollars_text(amount_nanos: int) -> str:
    """Return the amount in dollars with all nine decimals, such as `0.002850000`."""
    sign = "-" if amount_nanos < 0 else ""
    whole, fraction = divmod(abs(amount_nanos), NANOS_PER_DOLLAR)
    return f"{sign}{whole}.{fraction:09d}"


def dollars_short_text(amount_nanos: int) -> str:
    """Return the amount in dollars without the zeros at its end, such as `0.015` or `2`."""
    return dollars_text(amount_nanos).rstrip("0").rstrip(".")


def cents_text(amount_cents: int) -> str:
    """Return an amount that is counted in cents, as Stripe's are, such as `$1,250.00`."""
    whole, fraction = divmod(abs(amount_cents), 100)
    return f"{'-' if amount_cents < 0 else ''}${whole:,}.{fraction:02d}"


def typed_cents_text(amount_cents: int) -> str:
    """Return an amount that is counted in cents as a form's input has it, such as `1250.00`."""
    return f"{amount_cents // 100}.{amount_cents % 100:02d}"


def unit_price_text(rate_nanos: int, per: int = PER_MILLION) -> str:
    """Return the dollars that one unit costs, such as `0.000000475` for $0.475 per million.

    Exact: a rate per million times a factor with six decimals has at most 21 decimals.
    """
    whole, fraction = divmod(rate_nanos * 10**12 // per, NANOS_PER_DOLLAR * 10**12)
    return f"{whole}.{fraction:021d}".rstrip("0").rstrip(".")


def factor_from_text(text: str) -> int:
    """Return a factor in millionths. Raise ValueError for anything else, and for more decimals."""
    if not _FACTOR.fullmatch(text):
        raise ValueError(f"{text!r} is not a factor with at most six decimals, such as 0.85.")
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(6, "0"))


def factor_text(millionths: int) -> str:
    """Return a factor as people write it, such as `1.75`."""
    whole, fraction = divmod(millionths, 1_000_000)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")

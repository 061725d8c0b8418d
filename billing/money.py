"""Money: integer nano-dollars, and the one rounding rule."""

from decimal import Decimal, InvalidOperation

from billing.models import NANOS_PER_DOLLAR

PER_MILLION = 1_000_000


def price_of(quantity: int, nanos_per_million: int) -> int:
    """Returns what `quantity` units cost, in nano-dollars, rounded half up.

    This is the only place where an amount of money is rounded.
    """
    return (quantity * nanos_per_million + PER_MILLION // 2) // PER_MILLION


def nanos_from_dollars(dollars: str | int | Decimal) -> int:
    """Returns an exact amount in nano-dollars.

    Raises ValueError for a text that is no amount or is finer than a nano-dollar.
    """
    try:
        nanos = Decimal(dollars) * NANOS_PER_DOLLAR
    except InvalidOperation:
        raise ValueError(f"{dollars!r} is no amount of dollars.") from None
    if not nanos.is_finite() or nanos != nanos.to_integral_value():
        raise ValueError(f"{dollars!r} is no whole number of nano-dollars.")
    return int(nanos)


def dollars_text(amount_nanos: int) -> str:
    """Returns the amount in dollars with all nine decimals, such as `0.002850000`."""
    sign = "-" if amount_nanos < 0 else ""
    whole, fraction = divmod(abs(amount_nanos), NANOS_PER_DOLLAR)
    return f"{sign}{whole}.{fraction:09d}"

"""Types of the commands' arguments."""

import argparse
from datetime import UTC, datetime

from billing.pricing.money import nanos_from_dollars

_MOST_DOLLARS = 1_000_000_000


def dollars(text: str) -> int:
    """Return nano-dollars for an amount in dollars. Raise ArgumentTypeError."""
    try:
        nanos = nanos_from_dollars(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 <= nanos <= nanos_from_dollars(_MOST_DOLLARS):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to {_MOST_DOLLARS} dollars.")
    return nanos


def moment(text: str) -> datetime:
    """Return an ISO 8601 time, UTC if it names no zone. Raise ArgumentTypeError."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2027-01-31T12:00:00Z."
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)

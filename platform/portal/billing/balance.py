"""What the balance is made of, and what of it is spent next."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from accounts.access import Actor
from billing.models import CreditAccount
from billing.usage.lots import Lot, lots_left

MOST_PARTS = 6


@dataclass(frozen=True)
class Part:
    """Credits of one kind that expire together, or never: what is left of them, nano-dollars."""

    left_nanos: int
    is_paid: bool
    expires_at: datetime | None
    memo: str = ""


@dataclass(frozen=True)
class Composition:
    """The booked balance as the sum of its parts, in the order in which they are spent.

    `later_nanos` are grants that expire after those shown, of which there are too many.
    """

    parts: list[Part]
    later_nanos: int
    posted_nanos: int

    @property
    def has_paid(self) -> bool:
        """Whether some of it was bought."""
        return any(part.is_paid for part in self.parts)

    @property
    def next(self) -> Part | None:
        """What the next request is paid from."""
        return self.parts[0] if self.parts else None


def balance_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `balance`, the account's composition."""
    return {"balance": composition_of(lots_left(account) if account is not None else [])}


def composition_of(lots: list[Lot]) -> Composition:
    """Returns the composition of lots that come in the order in which they are spent."""
    parts = [
        _part(list(group))
        for _, group in groupby(lots, key=lambda lot: (lot.is_paid, lot.expires_at))
    ]
    granted = [part for part in parts if not part.is_paid]
    shown = [*granted[:MOST_PARTS], *(part for part in parts if part.is_paid)]
    return Composition(
        parts=shown,
        later_nanos=sum(part.left_nanos for part in granted[MOST_PARTS:]),
        posted_nanos=sum(part.left_nanos for part in parts),
    )


def _part(lots: list[Lot]) -> Part:
    return Part(
        left_nanos=sum(lot.left_nanos for lot in lots),
        is_paid=lots[0].is_paid,
        expires_at=lots[0].expires_at,
        memo=lots[0].memo if len(lots) == 1 else "",
    )

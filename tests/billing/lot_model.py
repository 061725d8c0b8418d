"""The lots of the ledger's model."""

from dataclasses import dataclass


@dataclass
class Lot:
    """What is left of one credit. `expires` is in hours from now; None: never."""

    reference: str
    is_paid: bool
    left: int
    expires: int | None = None
    lasting: int = 0  # what was given and has not expired

    def __post_init__(self) -> None:
        self.lasting = self.left

    @property
    def turn(self) -> tuple[bool, float]:
        """When it is spent; of the same turn, the older is first."""
        return self.is_paid, float("inf") if self.expires is None else self.expires


# What was drawn from lots, and (negative) what returned to them.
Draws = list[tuple[Lot, int]]


def draw(queue: list[Lot], amount: int) -> Draws:
    """Take an amount from the first lots of a queue."""
    drawn = []
    for lot in queue:
        taken = min(lot.left, amount)
        lot.left -= taken
        amount -= taken
        drawn.append((lot, taken))
    assert amount == 0
    return drawn

"""A team's balance, for people to read. (The gate and the ledger never act on what was read.)"""

from dataclasses import dataclass

from accounts.models import Team
from billing.models import CreditAccount
from billing.pricing.money import dollars_text


@dataclass(frozen=True)
class Balance:
    """What a team has, in nano-dollars. Part of what is posted may be held by open requests."""

    posted_nanos: int = 0
    held_nanos: int = 0

    @property
    def available_nanos(self) -> int:
        """What can be spent: posted less held."""
        return self.posted_nanos - self.held_nanos

    def as_json(self) -> dict[str, str | int]:
        """Returns the three amounts as dollars with nine decimals, and as nano-dollars."""
        return {
            "posted": dollars_text(self.posted_nanos),
            "held": dollars_text(self.held_nanos),
            "available": dollars_text(self.available_nanos),
            "posted_nanos": self.posted_nanos,
            "held_nanos": self.held_nanos,
            "available_nanos": self.available_nanos,
        }


def balance_of(team: Team) -> Balance:
    """Returns the team's balance: nothing where it has no credit account yet."""
    account = CreditAccount.objects.filter(team=team).first()
    return Balance(account.posted_nanos, account.held_nanos) if account else Balance()

"""A team's balance, for display. The gate and the ledger never decide by it."""

from dataclasses import dataclass

from accounts.models import Team
from billing.models import CreditAccount
from billing.pricing.money import dollars_text


@dataclass(frozen=True)
class Balance:
    """A team's balance in nano-dollars. Open requests may hold a part of what is posted."""

    posted_nanos: int = 0
    held_nanos: int = 0

    @property
    def available_nanos(self) -> int:
        """The balance that can be spent: posted less held."""
        return self.posted_nanos - self.held_nanos

    def as_json(self) -> dict[str, str | int]:
        """Return the three amounts as dollars with nine decimals, and as nano-dollars."""
        return {
            "posted": dollars_text(self.posted_nanos),
            "held": dollars_text(self.held_nanos),
            "available": dollars_text(self.available_nanos),
            "posted_nanos": self.posted_nanos,
            "held_nanos": self.held_nanos,
            "available_nanos": self.available_nanos,
        }


def balance_of(team: Team) -> Balance:
    """Return the team's balance, which is zero without a credit account."""
    account = CreditAccount.objects.filter(team=team).first()
    return Balance(account.posted_nanos, account.held_nanos) if account else Balance()

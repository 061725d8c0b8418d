"""A team's balance, for display. The gate and the ledger never decide by it."""

from dataclasses import dataclass

from django.db.models import F, Sum

from accounts.models import Team
from billing.models import CreditAccount, KeySpend, Order, SubscriptionPayment
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


@dataclass(frozen=True)
class CreditTotals:
    """A team's credits since its first: received and used, in nano-dollars.

    What is left is the balance, so what was refunded, disputed or expired counts as not received.
    """

    received_nanos: int = 0
    used_nanos: int = 0

    @property
    def left_nanos(self) -> int:
        """The balance, including what open requests hold."""
        return self.received_nanos - self.used_nanos


def credit_totals(team_id: int) -> CreditTotals:
    """Return the credits that the team received and used."""
    account = CreditAccount.objects.filter(team_id=team_id).first()
    if account is None:
        return CreditTotals()
    spent = KeySpend.objects.filter(key__team_id=team_id).aggregate(
        nanos=Sum(F("total_nanos") - F("carried_total_nanos"))
    )
    used = int(spent["nanos"] or 0)
    return CreditTotals(account.posted_nanos + used, used)


def has_paid(team_id: int) -> bool:
    """Return whether the team has ever bought credits or paid for a plan."""
    paid = Order.objects.filter(team_id=team_id, state=Order.State.PAID)
    return (
        paid.exists() or SubscriptionPayment.objects.filter(subscription__team_id=team_id).exists()
    )


def balance_of(team: Team) -> Balance:
    """Return the team's balance, which is zero without a credit account."""
    account = CreditAccount.objects.filter(team=team).first()
    return Balance(account.posted_nanos, account.held_nanos) if account else Balance()

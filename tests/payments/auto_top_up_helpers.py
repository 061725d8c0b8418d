"""Helpers of tests of auto top-up: a saved card, a low balance, and the passing of time."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F

from accounts.models import Team, User
from billing.ledger import postings
from billing.models import AutoTopUp, CreditAccount, Order, PaymentCustomer
from billing.payments import auto_top_up, customers
from billing.usage.balances import balance_of

if TYPE_CHECKING:
    from tests.payments.conftest import StripeStandIn

DOLLAR = 10**9
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHARGE = "POST /v1/payment_intents"
AUTHORIZED = {"authorization": "Bearer sk_test"}


def keep_card(
    stand_in: "StripeStandIn", team: Team, user: User, card: str = "pm_card_visa"
) -> PaymentCustomer:
    """Save a card for the team at Stripe, as its default."""
    customer = customers.get_or_create_customer(team, user)
    stand_in.web.post(
        f"{stand_in.url}/v1/payment_methods/{card}/attach",
        data={"customer": customer.stripe_id},
        headers=AUTHORIZED,
    ).raise_for_status()
    return customers.refresh_card(customer)


def enable_auto_top_up(team: Team, **changes: Any) -> AutoTopUp:
    """Let the team buy $10 below $5, at most $50 a month."""
    fields = {
        "is_enabled": True,
        "threshold_nanos": 5 * DOLLAR,
        "amount_cents": 1000,
        "monthly_limit_cents": 5000,
    } | changes
    return AutoTopUp.objects.update_or_create(team=team, defaults=fields)[0]


def spend_all(account: CreditAccount) -> None:
    """Spend the available balance."""
    account.refresh_from_db()
    if account.available_nanos:
        count = account.transfers.count()
        postings.adjust(
            account, -account.available_nanos, reference=f"{account.pk} {count}", memo="spent"
        )


def pass_time(team: Team, span: timedelta) -> None:
    """Move everything about the team's auto top-up into the past."""
    AutoTopUp.objects.filter(team=team).update(next_attempt_at=F("next_attempt_at") - span)
    Order.objects.filter(team=team).update(created_at=F("created_at") - span)


def charged_cents(stand_in: "StripeStandIn") -> list[int]:
    """Return the amounts of paid charges, newest first."""
    charges = stand_in.get("charges", limit=100)["data"]
    return [charge["amount"] for charge in charges if charge["paid"]]


def run_round(team: Team) -> Order | None:
    """Run a round of Celery for the team."""
    if team.pk not in auto_top_up.due_teams():
        return None
    return auto_top_up.top_up(team.pk)


def settings_of(team: Team) -> AutoTopUp:
    """Return the team's current auto top-up row."""
    return AutoTopUp.objects.get(team=team)


def available(team: Team) -> int:
    """Return the team's available balance."""
    return balance_of(team).available_nanos

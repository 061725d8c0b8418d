"""What is left of paid orders: what the tests of refunds and disputes share."""

import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Team, User
from billing.ledger import postings
from billing.models import CatalogueVersion, Dispute, Order, Refund, Transfer
from billing.payments import refunds
from billing.usage.balances import balance_of
from tests.billing.customers import Customer, make_key

CENT = 10**7
DOLLAR = 100 * CENT
_counter = itertools.count()


def spend(team: Team, nanos: int) -> None:
    """Takes credits as use does."""
    account = postings.open_account(team)
    postings.adjust(account, -nanos, reference=f"spent {next(_counter)}", memo="used")


def posted(team: Team) -> int:
    """Returns the balance; fails for a negative one."""
    balance = balance_of(team)
    assert balance.posted_nanos >= balance.held_nanos >= 0
    return balance.posted_nanos


def customer_of(team: Team) -> Customer:
    """Returns the team as the gate's tests ask for it, with a key of its own."""
    version = CatalogueVersion.objects.get(pk=1).version
    return Customer(team, postings.open_account(team), make_key(team), version)


def moved(team: Team, *kinds: str) -> list[tuple[str, int]]:
    """Returns the kinds and amounts of what befell the team's credits, of some kinds or all."""
    found = Transfer.objects.filter(customer__team=team).order_by("sequence")
    return [(each.kind, each.amount_nanos) for each in found if not kinds or each.kind in kinds]


def booked(kind: str) -> list[int]:
    """Returns the amounts of the transfers of a kind."""
    return list(Transfer.objects.filter(kind=kind).values_list("amount_nanos", flat=True))


def all_about(order: Order) -> dict[str, Any]:
    """Returns what the order came to, without ids and times."""
    order.refresh_from_db()
    team = Team.objects.get(pk=order.team_id)
    refunds = Refund.objects.filter(order=order)
    disputes = Dispute.objects.filter(order=order)
    return {
        "balance": posted(team),
        "paused": team.suspended_reason,
        "order": (order.state, order.amount_cents, order.tax_cents),
        "moved": sorted(moved(team)),
        "refunds": sorted(
            refunds.values_list("amount_cents", "tax_cents", "credit_nanos", "state", "is_forced")
        ),
        "disputes": sorted(
            disputes.values_list(
                *("amount_cents", "tax_cents", "credit_nanos", "owed_nanos", "status"),
                *("is_withdrawn", "is_reinstated"),
            )
        ),
    }


def give_back(order: Order, cents: int, staff: User, **more: Any) -> Refund:
    """Asks for a refund as staff do."""
    options = {"reason": "Asked for by the customer", "is_forced": False} | more
    return refunds.request_refund(order, cents, staff=staff, **options)


def at_stripe(stand_in: Any) -> list[int]:
    """Returns the amounts of the refunds that stand at Stripe, the oldest first."""
    found = stand_in.get("refunds", limit=100)["data"][::-1]
    return [each["amount"] for each in found if each["status"] in {"succeeded", "pending"}]


def make_old() -> None:
    """Lets the refunds have been asked for some minutes ago."""
    Refund.objects.update(created_at=timezone.now() - timedelta(minutes=5))

"""Helpers of tests of refunds and disputes: spending, balances, transfers and requests."""

import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Team, User
from billing.ledger import postings
from billing.models import CatalogueVersion, Dispute, Order, Refund, Transfer
from billing.payments import refunds
from billing.usage.balances import balance_of
from tests.billing.ledger_calls import Customer, make_key

CENT = 10**7
DOLLAR = 100 * CENT
_counter = itertools.count()


def spend(team: Team, nanos: int) -> None:
    """Spend credits."""
    account = postings.open_account(team)
    postings.adjust(account, -nanos, reference=f"spent {next(_counter)}", memo="used")


def posted(team: Team) -> int:
    """Return the posted balance. Fail if it is negative or less than what is held."""
    balance = balance_of(team)
    assert balance.posted_nanos >= balance.held_nanos >= 0
    return balance.posted_nanos


def customer_of(team: Team) -> Customer:
    """Return the team as a customer of the gate's tests, with its own key."""
    version = CatalogueVersion.objects.get(pk=1).version
    return Customer(team, postings.open_account(team), make_key(team), version)


def moved(team: Team, *kinds: str) -> list[tuple[str, int]]:
    """Return the kinds and amounts of the team's transfers: all of them, or some kinds."""
    found = Transfer.objects.filter(customer__team=team).order_by("sequence")
    return [(each.kind, each.amount_nanos) for each in found if not kinds or each.kind in kinds]


def booked(kind: str) -> list[int]:
    """Return the amounts of the transfers of a kind."""
    return list(Transfer.objects.filter(kind=kind).values_list("amount_nanos", flat=True))


def state_of(order: Order) -> dict[str, Any]:
    """Return the state of the order and everything about it, without ids and times."""
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


def request_refund(order: Order, cents: int, staff: User, **more: Any) -> Refund:
    """Request a refund as staff do."""
    options = {"reason": "Asked for by the customer", "is_forced": False} | more
    return refunds.request_refund(order, cents, staff=staff, **options)


def refunds_at_stripe(stand_in: Any) -> list[int]:
    """Return the amounts of pending and succeeded refunds at Stripe, oldest first."""
    found = stand_in.get("refunds", limit=100)["data"][::-1]
    return [each["amount"] for each in found if each["status"] in {"succeeded", "pending"}]


def age_refunds() -> None:
    """Move the requests for refunds some minutes into the past."""
    Refund.objects.update(created_at=timezone.now() - timedelta(minutes=5))

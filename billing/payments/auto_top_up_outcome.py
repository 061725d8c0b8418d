"""The effect of a closed order on its team's auto top-up, recorded in the closing transaction.

So it does not matter which process closes the order, nor when one dies. `orders` calls this and
`auto_top_up` calls `orders`: in one module with either, they would import each other.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from billing.models import AutoTopUp, Order

Problem = AutoTopUp.Problem

# After the first decline in a row, the second, and so on; then auto top-up is switched off.
DECLINE_RETRY_DELAYS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
TIMEOUT_RETRY_DELAY = timedelta(minutes=10)

# Nothing is bought until the owner has acted on these.
OWNER_ACTION_PROBLEMS = (Problem.AUTHENTICATION, Problem.NO_CARD)
# A payment at Checkout resolves these: it saves a card that its owner has just paid with.
CARD_PROBLEMS = (Problem.DECLINED, Problem.AUTHENTICATION, Problem.NO_CARD)


def record_paid(order: Order) -> None:
    """Clear the problem of the team's auto top-up, unless it was switched off."""
    rows = AutoTopUp.objects.filter(team=order.team_id)
    if order.origin != Order.Origin.AUTO_TOP_UP:
        rows = rows.filter(is_enabled=True, problem__in=CARD_PROBLEMS)
    rows.update(problem=Problem.NONE, problem_at=None, failures=0, next_attempt_at=None)


def record_failed(order: Order, problem: Problem) -> None:
    """Record why an auto top-up failed and when to retry. Call it once an order.

    Problem.NONE means that Stripe was never reached, so the card is not to blame. Orders placed by
    a person are ignored.
    """
    if order.origin != Order.Origin.AUTO_TOP_UP:
        return
    with transaction.atomic():
        row = AutoTopUp.objects.select_for_update().filter(team=order.team_id).first()
        if row is None:
            return
        now = timezone.now()
        row.next_attempt_at = None
        if problem == Problem.NONE:
            row.next_attempt_at = now + TIMEOUT_RETRY_DELAY
            row.save()
            return
        row.problem, row.problem_at = problem, now
        if problem == Problem.DECLINED:
            row.failures += 1
            if row.failures > len(DECLINE_RETRY_DELAYS):
                row.is_enabled = False
            else:
                row.next_attempt_at = now + DECLINE_RETRY_DELAYS[row.failures - 1]
        row.save()

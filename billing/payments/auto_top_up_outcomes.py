"""What the end of an order means to its team's auto top-up, noted in the transaction that ends it.

So it does not matter who finds out first, nor when anybody dies.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from billing.models import AutoTopUp, Order

Problem = AutoTopUp.Problem

# After a decline, after the next one in a row, and so on; then auto top-up is switched off.
PAUSES = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
PAUSE_AFTER_SILENCE = timedelta(minutes=10)

# Nothing is bought before the owner has done something about these.
WAITING_FOR_OWNER = (Problem.AUTHENTICATION, Problem.NO_CARD)
# A payment at Checkout shows that these are over: it leaves a card that its owner stood by.
CARD_PROBLEMS = (Problem.DECLINED, Problem.AUTHENTICATION, Problem.NO_CARD)


def note_paid(order: Order) -> None:
    """The order is paid: auto top-up goes on, unless it was switched off."""
    rows = AutoTopUp.objects.filter(team=order.team_id)
    if order.origin != Order.Origin.AUTO_TOP_UP:
        rows = rows.filter(is_enabled=True, problem__in=CARD_PROBLEMS)
    rows.update(problem=Problem.NONE, problem_at=None, failures=0, next_attempt_at=None)


def note_failed(order: Order, problem: Problem) -> None:
    """The order came to nothing, which is called once for each. A person's own order says nothing.

    Problem.NONE: the card is not to blame, as Stripe was never reached.
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
            row.next_attempt_at = now + PAUSE_AFTER_SILENCE
            row.save()
            return
        row.problem, row.problem_at = problem, now
        if problem == Problem.DECLINED:
            row.failures += 1
            if row.failures > len(PAUSES):
                row.is_enabled = False
            else:
                row.next_attempt_at = now + PAUSES[row.failures - 1]
        row.save()

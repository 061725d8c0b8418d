"""What Celery does for the ledger: every task may run twice, late or at once, and does no harm."""

import structlog
from celery import shared_task
from django.utils import timezone

from billing.ledger import invariants, postings, spool
from billing.ledger.alerts import raise_alert
from billing.usage import records

log = structlog.get_logger(__name__)

SWEEP_ROWS = 1000


@shared_task
def sweep_expired_reservations() -> int:
    """Ends reservations whose process died before it settled. Returns how many."""
    total = 0
    while ended := postings.sweep(SWEEP_ROWS):
        total += ended
    if total:
        log.warning("reservations_expired", count=total)
    return total


@shared_task
def expire_credits() -> int:
    """Takes back what is left of gifts that have expired. Returns how many."""
    total = 0
    while expired := postings.expire_lots(SWEEP_ROWS):
        total += expired
    return total


@shared_task
def replay_spooled_settlements() -> int:
    """Settles what stopping processes left in the spool. Returns how many settlements."""
    return spool.replay()


@shared_task
def roll_up_usage(hours: int = 2) -> int:
    """Makes the hourly roll-up of the last `hours` hours anew, and of all that is missing.

    Returns the rows written.
    """
    return records.roll_up_recent(hours)


@shared_task
def prove_ledger() -> int:
    """Checks the ledger's invariants and raises an alert for each that is broken."""
    broken = [finding for finding in invariants.check() if finding.count]
    for finding in broken:
        log.error("ledger_invariant_broken", invariant=finding.invariant.name, count=finding.count)
        raise_alert(
            "invariant",
            f"{finding.invariant.name} {timezone.now():%Y-%m-%d}",
            "; ".join(finding.examples),
        )
    return len(broken)

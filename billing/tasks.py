"""Celery's periodic tasks for the ledger: each is safe to run twice, late or concurrently."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from billing import events
from billing.ledger import expiry, invariants, spool
from billing.ledger.alerts import LONGEST_REFERENCE, raise_alert
from billing.receipts import day_roots
from billing.usage import overview, records

log = structlog.get_logger(__name__)

SWEEP_ROWS = 1000
PROOF_TASK = "prove the ledger"


@shared_task
def sweep_expired_reservations() -> int:
    """Expire reservations whose process died before settling. Return the number expired.

    What a process left in the spool is settled first, while the credits for it are still held.
    """
    spool.replay()
    if dead := expiry.end_dead_leases(settings.LEASE_SECONDS):
        log.error("processes_died", count=dead)
    total = 0
    while ended := expiry.sweep(SWEEP_ROWS):
        total += ended
    if total:
        log.warning("reservations_expired", count=total)
    return total


@shared_task
def expire_credits() -> int:
    """Expire what is left of expired grants. Return the number expired."""
    total = 0
    while expired := expiry.expire_lots(SWEEP_ROWS):
        total += expired
    return total


@shared_task
def publish_low_balances() -> int:
    """Publish balances that fell low to webhooks. Return the number of endpoints told."""
    return events.publish_low_balances()


@shared_task
def replay_spooled_settlements() -> int:
    """Replay settlements that stopping processes left in the spool. Return their number."""
    return spool.replay()


@shared_task
def roll_up_usage(hours: int = 2) -> int:
    """Rebuild the roll-ups of the last `hours` hours, and of all hours that are missing.

    Return the number of rows written.
    """
    written = overview.roll_up(hours)
    overview.note_run(overview.ROLL_UP_TASK, f"{written} rows")
    return written


@shared_task
def alert_of_rejected_usage(hours: int = 2) -> int:
    """Raise an alert for rejected usage figures: once per hour, model and upstream.

    Look at the requests of the last `hours` hours. Return the number of new alerts.
    """
    since = timezone.now() - timedelta(hours=hours)
    new = 0
    for found in records.rejected_usage(since):
        times = f"{found.requests} requests" if found.requests > 1 else "a request"
        new += raise_alert(
            "usage_rejected",
            f"{found.hour:%Y-%m-%d %Hh} {found.model} at {found.upstream}"[:LONGEST_REFERENCE],
            f"Figures of {times} can't be true, first of {found.request_id}: "
            f"{', '.join(found.figures)}. What they leave unknown was estimated, "
            "and a prompt above what was sent was charged at its bound.",
        )
    return new


@shared_task
def close_days() -> int:
    """Build the Merkle roots of days that have closed. Return their number."""
    return day_roots.close_days()


@shared_task
def prove_ledger() -> int:
    """Check the ledger's invariants, and raise an alert for each one that is broken.

    Also raise alerts for rejected usage that were missed during an outage of Celery.
    """
    alert_of_rejected_usage(hours=48)
    broken = [finding for finding in invariants.check() if finding.count]
    for finding in broken:
        log.error("ledger_invariant_broken", invariant=finding.invariant.name, count=finding.count)
        raise_alert(
            "invariant",
            f"{finding.invariant.name} {timezone.now():%Y-%m-%d}",
            "; ".join(finding.examples),
        )
    overview.note_run(PROOF_TASK, f"{len(broken)} broken")
    return len(broken)

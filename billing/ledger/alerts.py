"""Alerts about money, for staff."""

import structlog

from billing.models import LedgerAlert

log = structlog.get_logger(__name__)

# The columns' lengths.
LONGEST_REFERENCE = 200
_LONGEST_DETAIL = 500


def raise_alert(kind: str, reference: str, detail: str) -> bool:
    """Alert staff, once per kind and reference. Return whether the alert is new."""
    _, is_new = LedgerAlert.objects.get_or_create(
        kind=kind, reference=reference, defaults={"detail": detail[:_LONGEST_DETAIL]}
    )
    if is_new:
        log.error("ledger_alert", kind=kind, reference=reference, detail=detail)
    return is_new

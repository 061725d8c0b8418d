"""What about money a person should look at."""

import structlog

from billing.models import LedgerAlert

log = structlog.get_logger(__name__)

# Of the columns.
LONGEST_REFERENCE = 200
_LONGEST_DETAIL = 500


def raise_alert(kind: str, reference: str, detail: str) -> bool:
    """Have staff look at something, once for each kind and reference. Return whether it is new."""
    _, is_new = LedgerAlert.objects.get_or_create(
        kind=kind, reference=reference, defaults={"detail": detail[:_LONGEST_DETAIL]}
    )
    if is_new:
        log.error("ledger_alert", kind=kind, reference=reference, detail=detail)
    return is_new

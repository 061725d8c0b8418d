"""Admin pages for the ledger and payments. Each module registers its own."""

from billing.admin import (
    budgets,
    codes,
    disputes,
    ledger,
    manual_postings,
    orders,
    plans,
    receipts,
    reconciliation,
    refunds,
)

__all__ = [
    "budgets",
    "codes",
    "disputes",
    "ledger",
    "manual_postings",
    "orders",
    "plans",
    "receipts",
    "reconciliation",
    "refunds",
]

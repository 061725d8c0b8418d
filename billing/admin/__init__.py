"""Admin pages for the ledger and payments. Each module registers its own."""

from billing.admin import codes, disputes, ledger, orders, plans, refunds

__all__ = ["codes", "disputes", "ledger", "orders", "plans", "refunds"]

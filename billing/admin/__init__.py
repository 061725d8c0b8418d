"""Staff's pages for prices, the ledger and payments; each module registers its own."""

from billing.admin import codes, disputes, ledger, orders, plans, refunds

__all__ = ["codes", "disputes", "ledger", "orders", "plans", "refunds"]

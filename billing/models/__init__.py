"""How much: products and prices, credit accounts, transfers, reservations and usage.

Terms are accounting's. Amounts are integer nano-dollars (`…_nanos`; $1 is 10^9).
"""

from billing.models.ledger import CreditAccount, LedgerAlert, Reservation, Transfer
from billing.models.prices import CatalogueVersion, PriceVersion, Product
from billing.models.usage import KeySpend, RateWindow, UsageHour, UsageRecord

__all__ = [
    "CatalogueVersion",
    "CreditAccount",
    "KeySpend",
    "LedgerAlert",
    "PriceVersion",
    "Product",
    "RateWindow",
    "Reservation",
    "Transfer",
    "UsageHour",
    "UsageRecord",
]

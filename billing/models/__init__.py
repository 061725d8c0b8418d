"""How much: products and prices, credit accounts, transfers, reservations, usage and payments.

Terms are accounting's. Amounts are integer nano-dollars (`…_nanos`; $1 is 10^9), and what Stripe
charges is in cents (`…_cents`).
"""

from billing.models.budgets import BudgetRule, BudgetSpend, BudgetWarning
from billing.models.codes import CodeRedemption, CreditCode, Referral, ReferralLink
from billing.models.contracts import ContractPrice
from billing.models.ledger import (
    CreditAccount,
    FreeWindow,
    LedgerAlert,
    ProcessLease,
    Reservation,
    Transfer,
)
from billing.models.lots import CreditLot, LotMovement
from billing.models.manual_postings import ManualPosting
from billing.models.overview import MarginDay, ServiceHour, TaskRun, TeamDay
from billing.models.payments import (
    AutoTopUp,
    Dispute,
    FraudWarning,
    Order,
    PaymentCustomer,
    Refund,
    StripeEvent,
)
from billing.models.plans import (
    PlanOffer,
    PlanPrice,
    PlanRefund,
    Subscription,
    SubscriptionPayment,
)
from billing.models.prices import CatalogueVersion, PriceVersion, Product, RatesRow
from billing.models.receipts import DayRoot, SigningKey
from billing.models.reconciliation import (
    StatementChunk,
    StatementLine,
    UpstreamStatement,
    UsageCorrection,
)
from billing.models.usage import KeySpend, RateWindow, UsageHour, UsageRecord

__all__ = [
    "AutoTopUp",
    "BudgetRule",
    "BudgetSpend",
    "BudgetWarning",
    "CatalogueVersion",
    "CodeRedemption",
    "ContractPrice",
    "CreditAccount",
    "CreditCode",
    "CreditLot",
    "DayRoot",
    "Dispute",
    "FraudWarning",
    "FreeWindow",
    "KeySpend",
    "LedgerAlert",
    "LotMovement",
    "ManualPosting",
    "MarginDay",
    "Order",
    "PaymentCustomer",
    "PlanOffer",
    "PlanPrice",
    "PlanRefund",
    "PriceVersion",
    "ProcessLease",
    "Product",
    "RateWindow",
    "RatesRow",
    "Referral",
    "ReferralLink",
    "Refund",
    "Reservation",
    "ServiceHour",
    "SigningKey",
    "StatementChunk",
    "StatementLine",
    "StripeEvent",
    "Subscription",
    "SubscriptionPayment",
    "TaskRun",
    "TeamDay",
    "Transfer",
    "UpstreamStatement",
    "UsageCorrection",
    "UsageHour",
    "UsageRecord",
]

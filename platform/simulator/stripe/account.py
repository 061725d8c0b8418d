"""One Stripe account in test mode: its parts, and what each is given."""

from pathlib import Path

from simulator.stripe.balance import BalanceTransactions
from simulator.stripe.checkout import Checkout
from simulator.stripe.customers import Customers
from simulator.stripe.disputes import Disputes
from simulator.stripe.invoices import Invoices
from simulator.stripe.payments import Payments
from simulator.stripe.portal import Portal
from simulator.stripe.prices import ProductCatalogue
from simulator.stripe.refunds import Refunds
from simulator.stripe.store import Store
from simulator.stripe.subscriptions import Subscriptions
from simulator.stripe.webhooks import Webhooks


class Account:
    """The parts, by name. file: where everything is kept over restarts, if anywhere."""

    def __init__(self, file: Path | None, webhook_url: str, webhook_secret: str) -> None:
        self.store = store = Store(file)
        self.webhooks = webhooks = Webhooks(store, webhook_url, webhook_secret)
        self.balance = BalanceTransactions(store, webhooks)
        self.customers = Customers(store, webhooks)
        self.prices = ProductCatalogue(store, webhooks)
        self.payments = Payments(store, webhooks, self.balance, self.customers)
        self.refunds = Refunds(store, webhooks, self.balance)
        self.disputes = Disputes(store, webhooks, self.balance)
        self.invoices = Invoices(store, webhooks, self.customers, self.payments)
        self.subscriptions = Subscriptions(
            store, webhooks, self.customers, self.prices, self.invoices
        )
        self.checkout = Checkout(
            store,
            webhooks,
            customers=self.customers,
            prices=self.prices,
            payments=self.payments,
            invoices=self.invoices,
            subscriptions=self.subscriptions,
        )
        self.portal = Portal(store, self.customers, self.subscriptions)

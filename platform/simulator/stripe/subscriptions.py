"""Prices, subscriptions and their invoices. Time passes only when a test or a click says so."""

import contextlib
from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.form import is_true, whole
from simulator.stripe.payments import Payments
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

MONTH_SECONDS = 30 * 24 * 3600


class Subscriptions:
    """What customers pay for each month."""

    def __init__(self, store: Store, webhooks: Webhooks, payments: Payments) -> None:
        self._store = store
        self._webhooks = webhooks
        self._payments = payments

    def create_product(self, form: dict[str, Any]) -> Thing:
        """Makes a product."""
        return self._store.create(
            "product", "prod", name=form.get("name", ""), active=True,
            metadata=form.get("metadata", {}),
        )  # fmt: skip

    def create_price(self, form: dict[str, Any]) -> Thing:
        """Makes a price of a product, monthly unless it says otherwise."""
        product = form.get("product") or self.create_product(form.get("product_data", {}))["id"]
        recurring = form.get("recurring")
        return self._store.create(
            "price", "price",
            product=product,
            unit_amount=whole(form.get("unit_amount")),
            currency=form.get("currency", "usd"),
            recurring=recurring,
            type="recurring" if recurring else "one_time",
            lookup_key=form.get("lookup_key"),
            active=True,
            metadata=form.get("metadata", {}),
        )  # fmt: skip

    def start(self, customer: str, price_id: str, method: str, metadata: Thing) -> Thing:
        """Begins a subscription with its first invoice. Raises StripeError where it is not paid."""
        price = self._store.get("price", price_id)
        subscription = self._store.create(
            "subscription", "sub",
            customer=customer,
            status="incomplete",
            default_payment_method=method,
            cancel_at_period_end=False,
            canceled_at=None,
            ended_at=None,
            metadata=metadata,
            latest_invoice=None,
        )  # fmt: skip
        start = subscription["created"]
        subscription["items"] = {
            "object": "list",
            "data": [
                {
                    "id": f"si_{subscription['id'][4:]}",
                    "object": "subscription_item",
                    "price": price,
                    "quantity": 1,
                    "current_period_start": start,
                    "current_period_end": start + MONTH_SECONDS,
                }
            ],
        }
        self._webhooks.emit("customer.subscription.created", subscription)
        self._bill(subscription, price["unit_amount"], "subscription_create")
        return subscription

    def update(self, number: str, form: dict[str, Any]) -> Thing:
        """Changes the price (charging or crediting nothing for the running month), or asks for an
        end with the month.
        """
        subscription = self._store.get("subscription", number)
        self._refuse_ended(subscription)
        previous: Thing = {}
        if "cancel_at_period_end" in form:
            previous["cancel_at_period_end"] = subscription["cancel_at_period_end"]
            subscription["cancel_at_period_end"] = is_true(form["cancel_at_period_end"])
        for item in form.get("items", []):
            if new := item.get("price"):
                previous["items"] = {"data": [dict(subscription["items"]["data"][0])]}
                subscription["items"]["data"][0]["price"] = self._store.get("price", new)
        subscription["metadata"].update(form.get("metadata", {}))
        self._store.keep()
        self._webhooks.emit("customer.subscription.updated", subscription, previous)
        return subscription

    def cancel(self, number: str) -> Thing:
        """Ends a subscription now."""
        subscription = self._store.get("subscription", number)
        self._refuse_ended(subscription)
        subscription |= {"status": "canceled", "canceled_at": subscription["created"]}
        subscription["ended_at"] = subscription["items"]["data"][0]["current_period_end"]
        self._store.keep()
        self._webhooks.emit("customer.subscription.deleted", subscription)
        return subscription

    def renew(self, number: str) -> Thing:
        """Lets a month pass: the next invoice, an unpaid one's next try, or the end asked for."""
        subscription = self._store.get("subscription", number)
        self._refuse_ended(subscription)
        if subscription["cancel_at_period_end"]:
            return self.cancel(number)
        item = subscription["items"]["data"][0]
        item["current_period_start"] = item["current_period_end"]
        item["current_period_end"] += MONTH_SECONDS
        # Where nothing is paid it is past due from now on, and its invoice open: dunning.
        with contextlib.suppress(StripeError):
            self._bill(subscription, item["price"]["unit_amount"], "subscription_cycle")
        return subscription

    def pay_invoice(self, number: str, form: dict[str, Any]) -> Thing:
        """Tries an open invoice again, with the customer's default payment method."""
        invoice = self._store.get("invoice", number)
        subscription = self._store.get("subscription", invoice["subscription"])
        method = form.get("payment_method") or self._default_method(subscription)
        self._collect(invoice, subscription, method)
        return invoice

    def _bill(self, subscription: Thing, amount: int, reason: str) -> None:
        item = subscription["items"]["data"][0]
        invoice = self.new_invoice(
            subscription["customer"],
            amount,
            subscription=subscription["id"],
            billing_reason=reason,
            period_start=item["current_period_start"],
            period_end=item["current_period_end"],
            parent={
                "type": "subscription_details",
                "subscription_details": {
                    "subscription": subscription["id"],
                    "metadata": subscription["metadata"],
                },
            },
        )
        subscription["latest_invoice"] = invoice["id"]
        self._collect(invoice, subscription, self._default_method(subscription))

    def new_invoice(self, customer: str, amount: int, **fields: Any) -> Thing:
        """Makes an open invoice of an amount in cents."""
        invoice = self._store.create(
            "invoice", "in",
            customer=customer,
            amount_due=amount,
            amount_paid=0,
            amount_remaining=amount,
            total=amount,
            currency="usd",
            status="open",
            attempt_count=0,
            **{"subscription": None, "billing_reason": "manual", "parent": None} | fields,
        )  # fmt: skip
        count = len(self._store.find("invoice"))
        invoice["number"] = f"SIM-{count:05d}"
        invoice["hosted_invoice_url"] = f"/stripe/invoices/{invoice['id']}"
        invoice["invoice_pdf"] = f"/stripe/invoices/{invoice['id']}/pdf"
        self._webhooks.emit("invoice.finalized", invoice)
        return invoice

    def settle_invoice(self, invoice: Thing, intent: Thing) -> None:
        """Marks an invoice paid by an intent."""
        invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0}
        invoice["payments"] = {
            "object": "list",
            "data": [
                {
                    "object": "invoice_payment",
                    "amount_paid": invoice["amount_due"],
                    "status": "paid",
                    "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
                }
            ],
        }
        self._store.keep()
        self._webhooks.emit("invoice.paid", invoice)

    def _collect(self, invoice: Thing, subscription: Thing, method: str | None) -> None:
        invoice["attempt_count"] += 1
        before = subscription["status"]
        try:
            intent = self._payments.create_intent(
                {
                    "amount": invoice["amount_due"],
                    "customer": invoice["customer"],
                    "payment_method": method,
                    "confirm": "true",
                    "off_session": "true",
                    "metadata": {"invoice": invoice["id"]},
                }
            )
        except StripeError:
            subscription["status"] = "incomplete" if before == "incomplete" else "past_due"
            self._store.keep()
            self._webhooks.emit("invoice.payment_failed", invoice)
            self._tell_status(subscription, before)
            raise
        subscription["status"] = "active"
        self.settle_invoice(invoice, intent)
        self._tell_status(subscription, before)

    def _tell_status(self, subscription: Thing, before: str) -> None:
        if subscription["status"] != before:
            self._webhooks.emit("customer.subscription.updated", subscription, {"status": before})

    def _default_method(self, subscription: Thing) -> str | None:
        customer = self._store.get("customer", subscription["customer"])
        chosen: str | None = customer["invoice_settings"]["default_payment_method"]
        return chosen or subscription["default_payment_method"]

    def _refuse_ended(self, subscription: Thing) -> None:
        if subscription["status"] == "canceled":
            raise StripeError("This subscription is canceled.", code="resource_missing", status=404)

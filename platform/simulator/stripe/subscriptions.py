"""Subscriptions. Time passes only when a test or a click says so."""

import contextlib
import copy
import time
from typing import Any

from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError
from simulator.stripe.form import is_true, whole
from simulator.stripe.invoices import Invoices
from simulator.stripe.present import present
from simulator.stripe.prices import ProductCatalogue
from simulator.stripe.proration import proration_lines
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

PRORATIONS = {"none", "create_prorations", "always_invoice"}
BEHAVIOURS = {"allow_incomplete", "error_if_incomplete"}
ENDED = {"canceled", "incomplete_expired"}


class Subscriptions:
    """Subscriptions, monthly and with one item each."""

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        customers: Customers,
        prices: ProductCatalogue,
        invoices: Invoices,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._customers = customers
        self._prices = prices
        self._invoices = invoices

    def create(self, form: dict[str, Any], *, is_present: bool = False) -> Thing:
        """Begin a subscription with its first invoice. Raise StripeError where it is not paid
        and `payment_behavior` says `error_if_incomplete`. is_present: see `Invoices.take`.
        """
        is_strict = _behaviour(form) == "error_if_incomplete"
        customer = self._customers.get(str(form.get("customer")))["id"]
        lines = form.get("items", [])
        if len(lines) != 1:
            raise StripeError("A subscription has one item here.", param="items")
        price = self._prices.of_line(lines[0])
        if not price["recurring"]:
            raise StripeError("The price specified is set to `type=one_time`.", param="items")
        subscription = self._store.make("subscription", "sub")
        now = subscription["created"]
        item = self._store.make("subscription_item", "si") | {
            "current_period_start": now,
            "current_period_end": now + self._prices.seconds(price),
            "metadata": {},
            "price": price,
            "quantity": 1,
            "subscription": subscription["id"],
        }
        subscription |= {
            "automatic_tax": {"enabled": is_true(form.get("automatic_tax", {}).get("enabled"))},
            "billing_cycle_anchor": now,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "collection_method": "charge_automatically",
            "currency": price["currency"],
            "customer": customer,
            "default_payment_method": form.get("default_payment_method"),
            "description": form.get("description"),
            "ended_at": None,
            "items": {"object": "list", "data": [item]},
            "latest_invoice": None,
            "metadata": form.get("metadata", {}),
            "start_date": now,
            "status": "incomplete",
            "simulated": {"pending_lines": []},
        }
        lines = [self._full_line(item)]
        if is_strict:
            self._bill(
                subscription, lines, "subscription_create", is_strict=True, is_present=is_present
            )
            self._webhooks.emit("customer.subscription.created", self._store.add(subscription))
        else:
            self._webhooks.emit("customer.subscription.created", self._store.add(subscription))
            before = copy.deepcopy(subscription)
            self._bill(subscription, lines, "subscription_create")
            self._tell_change(subscription, before)
        return subscription

    def update(self, number: str, form: dict[str, Any]) -> Thing:
        """Change a subscription, or nothing of it: raises StripeError where that is refused."""
        subscription = self._running(number)
        before = copy.deepcopy(subscription)
        try:
            self._change(subscription, form)
        except StripeError:
            subscription.clear()
            subscription |= before
            raise
        self._tell_change(subscription, before)
        return subscription

    def cancel(self, number: str) -> Thing:
        """End a subscription now."""
        return self._end(self._running(number))

    def renew(self, number: str) -> Thing:
        """Let the period pass: the next one begins now, with an invoice. What is to end, ends."""
        subscription = self._running(number)
        if subscription["cancel_at_period_end"]:
            return self._end(subscription)
        before = copy.deepcopy(subscription)
        item = subscription["items"]["data"][0]
        self._start_period(subscription, item)
        if subscription["status"] != "unpaid":
            self._bill(subscription, [self._full_line(item)], "subscription_cycle")
        self._tell_change(subscription, before)
        return subscription

    def pay_invoice(self, number: str, form: dict[str, Any]) -> Thing:
        """Try an open invoice again. Raise StripeError where the card refuses."""
        invoice = self._invoices.get_open(number)
        subscription = self._of_invoice(invoice)
        method = form.get("payment_method") or self._method(subscription)
        try:
            intent = self._invoices.take(invoice, method)
        except StripeError:
            self._invoices.note_failure(invoice)
            raise
        self._invoices.settle(invoice, intent)
        if subscription["status"] not in ENDED:
            before = copy.deepcopy(subscription)
            subscription["status"] = "active"
            self._tell_change(subscription, before)
        return invoice

    def retry_invoice(self, number: str) -> Thing:
        """Try an open invoice again, as Stripe does some days later; it may stay open."""
        with contextlib.suppress(StripeError):
            self.pay_invoice(number, {})
        return self._store.get("invoice", number)

    def give_up(self, number: str, outcome: str) -> Thing:
        """End dunning: the subscription becomes `canceled` or `unpaid`."""
        subscription = self._running(number)
        if outcome == "canceled":
            return self._end(subscription, reason="payment_failed")
        before = copy.deepcopy(subscription)
        subscription["status"] = "unpaid"
        self._tell_change(subscription, before)
        return subscription

    def _change(self, subscription: Thing, form: dict[str, Any]) -> None:
        if "cancel_at_period_end" in form:
            ends = is_true(form["cancel_at_period_end"])
            subscription["cancel_at_period_end"] = ends
            item = subscription["items"]["data"][0]
            subscription["cancel_at"] = item["current_period_end"] if ends else None
            subscription["canceled_at"] = int(time.time()) if ends else None
        if "default_payment_method" in form:
            subscription["default_payment_method"] = form["default_payment_method"] or None
        subscription["metadata"] |= form.get("metadata", {})
        for line in form.get("items", []):
            self._switch(subscription, line, form)

    def _switch(self, subscription: Thing, line: Thing, form: dict[str, Any]) -> None:
        """Give the item another price."""
        item = subscription["items"]["data"][0]
        if line.get("id") != item["id"]:
            # Stripe would add a second item, and bill both: surely not what was meant.
            raise StripeError("Name the item by its `id`: a subscription has one here.")
        proration = form.get("proration_behavior", "create_prorations")
        if proration not in PRORATIONS:
            raise StripeError("Invalid proration_behavior", param="proration_behavior")
        is_strict = _behaviour(form) == "error_if_incomplete"
        new = self._prices.of_line(line)
        now = whole(form.get("proration_date"), int(time.time()))
        lines = proration_lines(self._prices, item, new, now) if proration != "none" else []
        item["price"] = new
        if form.get("billing_cycle_anchor") == "now":
            # A new period from now on: the new price in full, the old one's unused part given back.
            self._start_period(subscription, item)
            lines = [*lines[:1], self._full_line(item)]
        elif proration != "always_invoice":
            subscription["simulated"]["pending_lines"] += lines
            return
        self._bill(subscription, lines, "subscription_update", is_strict=is_strict)

    def _bill(
        self,
        subscription: Thing,
        lines: list[Thing],
        reason: str,
        *,
        is_strict: bool = False,
        is_present: bool = False,
    ) -> None:
        """Create an invoice of lines and pending items, and collect it.

        Without `is_strict` an invoice that is not paid stays open; with it StripeError is raised.
        """
        simulated = subscription["simulated"]
        for line in [*simulated["pending_lines"], *lines]:
            line["parent"]["subscription_item_details"]["subscription"] = subscription["id"]
        item = subscription["items"]["data"][0]
        # Stripe's `period` of an invoice is the one that has passed; the lines' is the one to come.
        passed = simulated.get("passed", [item["current_period_start"]] * 2)
        invoice = self._invoices.draft(
            subscription["customer"],
            [*simulated["pending_lines"], *lines],
            reason=reason,
            period=(passed[0], passed[1]),
            is_taxed=subscription["automatic_tax"]["enabled"],
            subscription=subscription,
        )
        method = self._method(subscription)
        intent, refused = None, False
        try:
            intent = self._invoices.take(invoice, method, is_present=is_present)
        except StripeError:
            if is_strict:
                raise
            refused = True
        self._invoices.finalize(invoice)
        simulated["pending_lines"] = []
        subscription["latest_invoice"] = invoice["id"]
        if refused:
            if subscription["status"] == "active":
                subscription["status"] = "past_due"
            self._invoices.note_failure(invoice)
        else:
            subscription["status"] = "active"
            self._invoices.settle(invoice, intent)

    def _start_period(self, subscription: Thing, item: Thing) -> None:
        passed = [item["current_period_start"], item["current_period_end"]]
        subscription["simulated"]["passed"] = passed
        # Later than the last start, so that no two periods are the same.
        start = max(int(time.time()), passed[0] + 1)
        item["current_period_start"] = subscription["billing_cycle_anchor"] = start
        item["current_period_end"] = start + self._prices.seconds(item["price"])

    def _full_line(self, item: Thing) -> Thing:
        period = (item["current_period_start"], item["current_period_end"])
        price = item["price"]
        return self._prices.invoice_line(
            price, price["unit_amount"], item=item["id"], period=period
        )

    def _end(self, subscription: Thing, reason: str = "cancellation_requested") -> Thing:
        now = int(time.time())
        subscription |= {"status": "canceled", "ended_at": now}
        subscription["canceled_at"] = subscription["canceled_at"] or now
        subscription["cancellation_details"] = {"reason": reason}
        self._webhooks.emit("customer.subscription.deleted", subscription)
        return subscription

    def _tell_change(self, subscription: Thing, before: Thing) -> None:
        old, new = present(self._store, before), present(self._store, subscription)
        previous = {name: old.get(name) for name in new if old.get(name) != new[name]}
        self._webhooks.emit("customer.subscription.updated", subscription, previous)

    def _of_invoice(self, invoice: Thing) -> Thing:
        parent = invoice["parent"] or {}
        number = parent.get("subscription_details", {}).get("subscription", "")
        return self._store.get("subscription", number)

    def _method(self, subscription: Thing) -> str | None:
        """Return what pays: the subscription's own method, else the customer's default."""
        customer = self._customers.get(subscription["customer"])
        chosen: str | None = customer["invoice_settings"]["default_payment_method"]
        return subscription["default_payment_method"] or chosen

    def _running(self, number: str) -> Thing:
        subscription = self._store.get("subscription", number)
        if subscription["status"] in ENDED:
            raise StripeError(
                f"No such subscription: '{number}'", code="resource_missing", status=404
            )
        return subscription


def _behaviour(form: dict[str, Any]) -> str:
    behaviour: str = form.get("payment_behavior", "allow_incomplete")
    if behaviour not in BEHAVIOURS:
        raise StripeError(
            f"The stand-in knows {sorted(BEHAVIOURS)} only.", param="payment_behavior"
        )
    return behaviour

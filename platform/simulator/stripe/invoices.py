"""Invoices: what they say, and how they are paid."""

import time
from typing import Any

from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError
from simulator.stripe.payments import LEAST_CENTS, Payments
from simulator.stripe.present import listed
from simulator.stripe.prices import tax_of
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

RETRY_SECONDS = 3 * 24 * 3600


class Invoices:
    """Invoices: drafts are finalized, open ones paid."""

    def __init__(
        self, store: Store, webhooks: Webhooks, customers: Customers, payments: Payments
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._customers = customers
        self._payments = payments

    def draft(
        self,
        customer: str,
        lines: list[Thing],
        *,
        reason: str,
        period: tuple[int, int],
        is_taxed: bool = False,
        subscription: Thing | None = None,
        metadata: Thing | None = None,
    ) -> Thing:
        """Return an invoice that nobody has seen yet."""
        invoice = self._store.make("invoice", "in")
        of_subscription = subscription and {
            "type": "subscription_details",
            "subscription_details": {
                "subscription": subscription["id"],
                "metadata": dict(subscription["metadata"]),
            },
            "quote_details": None,
        }
        page = f"{self._store.own_url}/invoices/{invoice['id']}"
        for line in lines:
            line["invoice"] = invoice["id"]
        invoice |= {
            "amount_paid": 0,
            "attempt_count": 0,
            "attempted": False,
            "automatic_tax": {"enabled": is_taxed, "status": "complete" if is_taxed else None},
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "currency": "usd",
            "customer": customer,
            "customer_email": self._customers.get(customer)["email"],
            "customer_name": self._customers.get(customer)["name"],
            "hosted_invoice_url": page,
            "invoice_pdf": f"{page}/pdf",
            "lines": listed(lines, f"/v1/invoices/{invoice['id']}/lines"),
            "metadata": metadata or {},
            "next_payment_attempt": None,
            "number": None,
            "parent": of_subscription,
            "period_start": period[0],
            "period_end": period[1],
            "status": "draft",
            "status_transitions": {"finalized_at": None, "paid_at": None},
        }
        return invoice | self._sums(customer, sum(line["amount"] for line in lines), is_taxed)

    def finalize(self, invoice: Thing) -> None:
        """Finalize a draft, and apply the customer's balance to it."""
        self._store.add(invoice)
        invoice["number"] = f"SIM-{len(self._store.find('invoice')):05d}"
        self._webhooks.emit("invoice.created", invoice)
        invoice["status"] = "open"
        invoice["status_transitions"]["finalized_at"] = int(time.time())
        self._customers.get(invoice["customer"])["balance"] = invoice["ending_balance"]
        self._webhooks.emit("invoice.finalized", invoice)

    def take(self, invoice: Thing, method: str | None, *, is_present: bool = False) -> Thing | None:
        """Take an invoice's money and return the payment intent, None where nothing is due.

        is_present: the cardholder is there, and have authenticated. Raise StripeError where the
        card refuses.
        """
        if invoice["amount_due"] == 0:
            return None
        return self._payments.create(
            {
                "amount": invoice["amount_due"],
                "confirm": "true",
                "customer": invoice["customer"],
                "description": "Subscription",
                "off_session": "false" if is_present else "true",
                "payment_method": method,
            },
            authenticated=is_present,
        )

    def settle(self, invoice: Thing, intent: Thing | None) -> None:
        """Mark an open invoice paid, by an intent where money was due."""
        invoice |= {
            "status": "paid",
            "attempted": True,
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "next_payment_attempt": None,
        }
        invoice["attempt_count"] += 1
        invoice["status_transitions"]["paid_at"] = int(time.time())
        if intent is not None:
            payment = self._store.create(
                "invoice_payment",
                "inpay",
                amount_paid=invoice["amount_due"],
                amount_requested=invoice["amount_due"],
                currency=invoice["currency"],
                invoice=invoice["id"],
                is_default=True,
                payment={"type": "payment_intent", "payment_intent": intent["id"]},
                status="paid",
            )
            self._webhooks.emit("invoice_payment.paid", payment)
        self._webhooks.emit("invoice.paid", invoice)
        self._webhooks.emit("invoice.payment_succeeded", invoice)

    def note_failure(self, invoice: Thing) -> None:
        """Leave an invoice open after an attempt that failed."""
        invoice["attempt_count"] += 1
        invoice["attempted"] = True
        invoice["next_payment_attempt"] = int(time.time()) + RETRY_SECONDS
        self._webhooks.emit("invoice.payment_failed", invoice)

    def void(self, number: str) -> Thing:
        """Give up an invoice that is not paid."""
        invoice = self.get_open(number)
        invoice |= {"status": "void", "next_payment_attempt": None}
        self._webhooks.emit("invoice.voided", invoice)
        return invoice

    def get_open(self, number: str) -> Thing:
        """Return an open invoice. Raise StripeError for another."""
        invoice = self._store.get("invoice", number)
        if invoice["status"] != "open":
            raise StripeError(
                f"Invoice is already {invoice['status']}", code="invoice_not_editable"
            )
        return invoice

    def _sums(self, customer: str, subtotal: int, is_taxed: bool) -> dict[str, Any]:
        """Return an invoice's sums in cents.

        A total below zero becomes the customer's credit, as one too small to be charged becomes
        their debt; both are settled with later invoices.
        """
        tax = tax_of(subtotal) if is_taxed else 0
        total = subtotal + tax
        starting = self._customers.get(customer)["balance"]
        due = max(0, total + starting)
        due = 0 if due < LEAST_CENTS else due
        taxes = [{"amount": tax, "tax_behavior": "exclusive", "taxable_amount": subtotal}]
        return {
            "amount_due": due,
            "amount_remaining": due,
            "ending_balance": total + starting - due,
            "starting_balance": starting,
            "subtotal": subtotal,
            "total": total,
            "total_excluding_tax": subtotal,
            "total_taxes": taxes if is_taxed else [],
        }

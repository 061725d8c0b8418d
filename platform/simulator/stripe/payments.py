"""Customers, payment methods, payment intents and what comes of them: charges, refunds, disputes.

Test payment methods behave as Stripe's of the same names (docs.stripe.com/testing):
`pm_card_visa` pays, `pm_card_chargeDeclined` does not, `pm_card_authenticationRequired` asks for
authentication whenever its owner is away, `pm_card_chargeCustomerFail` is kept but never pays.
"""

from typing import Any

from simulator.stripe.errors import StripeError, declined, missing
from simulator.stripe.form import is_true, whole
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

CARDS = {
    "pm_card_visa": ("visa", "4242"),
    "pm_card_mastercard": ("mastercard", "4444"),
    "pm_card_chargeDeclined": ("visa", "0002"),
    "pm_card_authenticationRequired": ("visa", "3184"),
    "pm_card_chargeCustomerFail": ("visa", "0341"),
}
_REFUSES = {"0002", "0341"}
_ASKS = {"3184"}
FEE_PER_THOUSAND = 29
FEE_FIXED_CENTS = 30


class Payments:
    """Money coming in and going back."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self.store = store
        self.webhooks = webhooks

    def create_customer(self, form: dict[str, Any]) -> Thing:
        """Makes a customer."""
        fields = {
            key: form.get(key) for key in ("email", "name", "description", "address", "phone")
        }
        customer = self.store.create(
            "customer",
            "cus",
            **fields,
            metadata=form.get("metadata", {}),
            invoice_settings={"default_payment_method": None},
            default_source=None,
        )
        self.webhooks.emit("customer.created", customer)
        return customer

    def update_customer(self, number: str, form: dict[str, Any]) -> Thing:
        """Changes a customer, its default payment method among the rest."""
        customer = self.store.get("customer", number)
        settings = form.pop("invoice_settings", {})
        if method := settings.get("default_payment_method"):
            self.store.get("payment_method", method)
            customer["invoice_settings"]["default_payment_method"] = method
        customer["metadata"].update(form.pop("metadata", {}))
        customer.update(form)
        self.store.keep()
        self.webhooks.emit("customer.updated", customer)
        return customer

    def attach(self, name: str, customer: str) -> Thing:
        """Keeps a card for a customer: a test card by its name, or a payment method by its id."""
        self.store.get("customer", customer)
        is_test_card = name in CARDS
        method = self.new_method(name) if is_test_card else self.store.get("payment_method", name)
        method["customer"] = customer
        self.store.keep()
        self.webhooks.emit("payment_method.attached", method)
        return method

    def new_method(self, name: str) -> Thing:
        """Makes a payment method of a test card."""
        brand, last4 = CARDS[name]
        card = {"brand": brand, "last4": last4, "exp_month": 12, "exp_year": 2034}
        return self.store.create("payment_method", "pm", type="card", card=card, customer=None)

    def detach(self, number: str) -> Thing:
        """Forgets a customer's card, and that it was the default."""
        method = self.store.get("payment_method", number)
        owner, method["customer"] = method["customer"], None
        if owner:
            settings = self.store.get("customer", owner)["invoice_settings"]
            if settings["default_payment_method"] == number:
                settings["default_payment_method"] = None
        self.store.keep()
        self.webhooks.emit("payment_method.detached", method, {"customer": owner})
        return method

    def create_intent(self, form: dict[str, Any]) -> Thing:
        """Makes a payment intent, and confirms it where the form says so."""
        amount = whole(form.get("amount"))
        if amount < 50:
            raise StripeError(
                "Amount must be at least $0.50 usd", code="amount_too_small", param="amount"
            )
        if form.get("customer"):
            self.store.get("customer", form["customer"])
        intent = self.store.create(
            "payment_intent",
            "pi",
            amount=amount,
            amount_received=0,
            currency=form.get("currency", "usd"),
            customer=form.get("customer"),
            payment_method=form.get("payment_method"),
            description=form.get("description"),
            receipt_email=form.get("receipt_email"),
            setup_future_usage=form.get("setup_future_usage"),
            metadata=form.get("metadata", {}),
            status="requires_payment_method",
            latest_charge=None,
            last_payment_error=None,
            next_action=None,
            invoice=None,
        )
        intent["client_secret"] = f"{intent['id']}_secret_simulated"
        self.webhooks.emit("payment_intent.created", intent)
        if is_true(form.get("confirm")):
            self.confirm(intent["id"], form)
        return intent

    def confirm(self, number: str, form: dict[str, Any], *, authenticated: bool = False) -> Thing:
        """Tries to take the money. Raises StripeError where the card does not give it."""
        intent = self.store.get("payment_intent", number)
        if intent["status"] in {"succeeded", "canceled"}:
            raise StripeError(
                f"This PaymentIntent's status is {intent['status']}.",
                code="payment_intent_unexpected_state",
            )
        name = form.get("payment_method") or intent["payment_method"]
        method = self._method(name)
        intent["payment_method"] = method["id"]
        last4 = method["card"]["last4"]
        if last4 in _REFUSES:
            self._fail(intent, "card_declined")
        if last4 in _ASKS and not authenticated:
            if is_true(form.get("off_session")):
                self._fail(intent, "authentication_required")
            intent["status"] = "requires_action"
            intent["next_action"] = {"type": "redirect_to_url"}
            self.store.keep()
            self.webhooks.emit("payment_intent.requires_action", intent)
            return intent
        self._succeed(intent, method)
        return intent

    def cancel(self, number: str) -> Thing:
        """Ends an intent that has taken no money."""
        intent = self.store.get("payment_intent", number)
        if intent["status"] == "succeeded":
            raise StripeError(
                "You cannot cancel this PaymentIntent because it has a status of succeeded.",
                code="payment_intent_unexpected_state",
            )
        intent["status"] = "canceled"
        self.store.keep()
        self.webhooks.emit("payment_intent.canceled", intent)
        return intent

    def refund(self, form: dict[str, Any]) -> Thing:
        """Gives money back: all that is left, or `amount` cents of it."""
        charge = self._charge_of(form)
        left = charge["amount"] - charge["amount_refunded"]
        amount = whole(form.get("amount"), left)
        if left == 0:
            raise StripeError("Charge has already been refunded.", code="charge_already_refunded")
        if not 0 < amount <= left:
            raise StripeError("Refund amount is greater than unrefunded amount.", param="amount")
        if charge["disputed"]:
            raise StripeError("The charge is disputed.", code="charge_disputed")
        refund = self.store.create(
            "refund",
            "re",
            amount=amount,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            reason=form.get("reason"),
            metadata=form.get("metadata", {}),
            status="succeeded",
        )
        moved = self._move(-amount, "refund", refund["id"])
        refund["balance_transaction"] = moved["id"]
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self.store.keep()
        self.webhooks.emit("refund.created", refund)
        self.webhooks.emit("charge.refunded", charge)
        return refund

    def dispute(self, charge_id: str, amount: int | None = None) -> Thing:
        """A cardholder disputes a charge: Stripe takes the money back at once."""
        charge = self.store.get("charge", charge_id)
        charge["disputed"] = True
        dispute = self.store.create(
            "dispute",
            "du",
            amount=amount or charge["amount"] - charge["amount_refunded"],
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            reason="fraudulent",
            status="needs_response",
            balance_transactions=[],
        )
        self.webhooks.emit("charge.dispute.created", dispute)
        moved = self._move(-dispute["amount"], "adjustment", dispute["id"], fee=1500)
        dispute["balance_transactions"].append(moved)
        self.store.keep()
        self.webhooks.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close_dispute(self, number: str, *, won: bool) -> Thing:
        """Ends a dispute; what is won comes back."""
        dispute = self.store.get("dispute", number)
        dispute["status"] = "won" if won else "lost"
        if won:
            moved = self._move(dispute["amount"], "adjustment", dispute["id"])
            dispute["balance_transactions"].append(moved)
            self.store.get("charge", dispute["charge"])["disputed"] = False
        self.store.keep()
        if won:
            self.webhooks.emit("charge.dispute.funds_reinstated", dispute)
        self.webhooks.emit("charge.dispute.closed", dispute)
        return dispute

    def warn_of_fraud(self, charge_id: str) -> Thing:
        """The card's issuer suspects fraud, before any dispute."""
        charge = self.store.get("charge", charge_id)
        warning = self.store.create(
            "radar.early_fraud_warning",
            "issfr",
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            actionable=True,
            fraud_type="unauthorized_use_of_card",
        )
        self.webhooks.emit("radar.early_fraud_warning.created", warning)
        return warning

    def _method(self, name: str | None) -> Thing:
        if not name:
            raise StripeError(
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        return self.new_method(name) if name in CARDS else self.store.get("payment_method", name)

    def _succeed(self, intent: Thing, method: Thing) -> None:
        charge = self.store.create(
            "charge",
            "ch",
            amount=intent["amount"],
            amount_refunded=0,
            currency=intent["currency"],
            customer=intent["customer"],
            payment_intent=intent["id"],
            payment_method=method["id"],
            payment_method_details={"type": "card", "card": method["card"]},
            paid=True,
            refunded=False,
            disputed=False,
            status="succeeded",
            metadata=dict(intent["metadata"]),
            receipt_url=None,
        )
        fee = intent["amount"] * FEE_PER_THOUSAND // 1000 + FEE_FIXED_CENTS
        charge["balance_transaction"] = self._move(
            intent["amount"], "charge", charge["id"], fee=fee
        )["id"]
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "latest_charge": charge["id"],
            "last_payment_error": None,
            "next_action": None,
        }
        if intent["setup_future_usage"] and intent["customer"]:
            self.attach(method["id"], intent["customer"])
        self.store.keep()
        self.webhooks.emit("charge.succeeded", charge)
        self.webhooks.emit("payment_intent.succeeded", intent)

    def _fail(self, intent: Thing, code: str) -> None:
        """Writes down that the card refused, and raises it."""
        error = {"type": "card_error", "code": code, "message": "Your card was declined."}
        intent["status"] = "requires_payment_method"
        intent["last_payment_error"] = error
        self.store.keep()
        self.webhooks.emit("payment_intent.payment_failed", intent)
        raise declined(code, intent)

    def _charge_of(self, form: dict[str, Any]) -> Thing:
        if number := form.get("charge"):
            return self.store.get("charge", number)
        intent = self.store.get("payment_intent", str(form.get("payment_intent")))
        if intent["latest_charge"] is None:
            raise missing("charge", intent["id"])
        return self.store.get("charge", intent["latest_charge"])

    def _move(self, amount: int, kind: str, source: str, fee: int = 0) -> Thing:
        """Books an amount in cents on the operator's Stripe balance."""
        return self.store.create(
            "balance_transaction",
            "txn",
            amount=amount,
            fee=fee,
            net=amount - fee,
            currency="usd",
            type=kind,
            reporting_category={"adjustment": "dispute"}.get(kind, kind),
            source=source,
            status="available",
        )

"""Payment intents, and the charges that come of them."""

from typing import Any, NoReturn

from simulator.stripe import cards
from simulator.stripe.balance import BalanceTransactions, charge_fee
from simulator.stripe.cards import Card
from simulator.stripe.customers import Customers
from simulator.stripe.errors import StripeError, card_error, declined
from simulator.stripe.form import is_true, whole
from simulator.stripe.present import present
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

LEAST_CENTS = 50
OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}


class Payments:
    """Money coming in."""

    def __init__(
        self, store: Store, webhooks: Webhooks, balance: BalanceTransactions, customers: Customers
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._balance = balance
        self._customers = customers

    def create(self, form: dict[str, Any], *, authenticated: bool = False) -> Thing:
        """Create a payment intent, and confirm it if the form says so."""
        amount = whole(form.get("amount"))
        if amount < LEAST_CENTS:
            raise StripeError(
                "Amount must be at least $0.50 usd", code="amount_too_small", param="amount"
            )
        if form.get("customer"):
            self._customers.get(form["customer"])
        intent = self._store.create(
            "payment_intent",
            "pi",
            amount=amount,
            amount_received=0,
            canceled_at=None,
            currency=form.get("currency", "usd"),
            customer=form.get("customer"),
            description=form.get("description"),
            last_payment_error=None,
            latest_charge=None,
            metadata=form.get("metadata", {}),
            next_action=None,
            payment_method=None,
            receipt_email=form.get("receipt_email"),
            setup_future_usage=form.get("setup_future_usage"),
            status="requires_payment_method",
        )
        intent["client_secret"] = f"{intent['id']}_secret_simulated"
        intent["simulated"] = {"billing": form.get("billing_details")}
        self._webhooks.emit("payment_intent.created", intent)
        if is_true(form.get("confirm")):
            self.confirm(intent["id"], form, authenticated=authenticated)
        elif form.get("payment_method"):
            intent["payment_method"] = self._method(intent, form["payment_method"])["id"]
            intent["status"] = "requires_confirmation"
        return intent

    def confirm(self, number: str, form: dict[str, Any], *, authenticated: bool = False) -> Thing:
        """Try to take the money. Raise StripeError where the card does not give it."""
        intent = self._open_intent(number, "confirm")
        method = self._method(intent, form.get("payment_method") or intent["payment_method"])
        intent["payment_method"] = method["id"]
        card = cards.behaviour(method)
        is_away = is_true(form.get("off_session"))
        if card.declines:
            self.fail(intent, card.declines)
        if _must_ask(card, method) and not authenticated:
            if is_away:
                self.fail(intent, "authentication_required")
            intent["status"] = "requires_action"
            action = {"url": f"{self._store.own_url}/", "return_url": form.get("return_url")}
            intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": action}
            self._webhooks.emit("payment_intent.requires_action", intent)
        elif card.is_delayed:
            intent |= {"status": "processing", "next_action": None}
            intent["latest_charge"] = self._charge(intent, method, status="pending")["id"]
            self._webhooks.emit("payment_intent.processing", intent)
        else:
            self._succeed(intent, self._charge(intent, method, status="succeeded"))
        return intent

    def settle(self, intent: Thing, *, succeeds: bool) -> None:
        """End a delayed payment, well or not."""
        if intent["status"] != "processing":
            raise StripeError(f"This PaymentIntent's status is {intent['status']}.")
        charge = self._store.get("charge", intent["latest_charge"])
        if succeeds:
            charge |= {"status": "succeeded", "paid": True, "amount_captured": charge["amount"]}
            self._succeed(intent, charge)
        else:
            self._refuse(intent, charge, card_error("insufficient_funds"))

    def cancel(self, number: str) -> Thing:
        """End an intent that has taken no money."""
        intent = self._open_intent(number, "cancel")
        intent |= {"status": "canceled", "canceled_at": intent["created"]}
        self._webhooks.emit("payment_intent.canceled", intent)
        return intent

    def fail(self, intent: Thing, reason: str) -> NoReturn:
        """Write down why the card was not charged, and raise it."""
        method = self._store.get("payment_method", intent["payment_method"])
        error = card_error(reason, payment_method=present(self._store, method))
        if reason not in {"authentication_required", "payment_intent_authentication_failure"}:
            charge = self._charge(intent, method, status="failed")
            error["charge"] = charge["id"]
            self._refuse(intent, charge, error)
        else:
            self._refuse(intent, None, error)
        raise declined(error, payment_intent=present(self._store, intent))

    def _open_intent(self, number: str, action: str) -> Thing:
        intent = self._store.get("payment_intent", number)
        if intent["status"] not in OPEN:
            raise StripeError(
                f"You cannot {action} this PaymentIntent because it has a status of "
                f"{intent['status']}.",
                code="payment_intent_unexpected_state",
                payment_intent=present(self._store, intent),
            )
        return intent

    def _method(self, intent: Thing, name: str | None) -> Thing:
        if not name:
            raise StripeError(
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        method = self._customers.method(name)
        if method["customer"] not in {None, intent["customer"]}:
            raise StripeError(
                "The PaymentMethod belongs to a Customer. Please include the Customer in the "
                "`customer` parameter on the PaymentIntent.",
                param="payment_method",
            )
        return method

    def _charge(self, intent: Thing, method: Thing, *, status: str) -> Thing:
        is_paid = status == "succeeded"
        kind = method["type"]
        charge = self._store.create(
            "charge",
            "ch",
            amount=intent["amount"],
            amount_captured=intent["amount"] if is_paid else 0,
            amount_refunded=0,
            balance_transaction=None,
            billing_details=intent["simulated"]["billing"] or method["billing_details"],
            captured=True,
            currency=intent["currency"],
            customer=intent["customer"],
            description=intent["description"],
            disputed=False,
            failure_code=None,
            failure_message=None,
            metadata=dict(intent["metadata"]),
            paid=is_paid,
            payment_intent=intent["id"],
            payment_method=method["id"],
            payment_method_details={"type": kind, kind: method[kind]},
            receipt_email=intent["receipt_email"],
            refunded=False,
            status=status,
        )
        charge["receipt_url"] = f"{self._store.own_url}/receipts/{charge['id']}"
        return charge

    def _succeed(self, intent: Thing, charge: Thing) -> None:
        kind = "charge" if charge["payment_method_details"]["type"] == "card" else "payment"
        fee = charge_fee(intent["amount"])
        moved = self._balance.move(intent["amount"], kind, charge["id"], fee=fee)
        charge["balance_transaction"] = moved["id"]
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "latest_charge": charge["id"],
            "last_payment_error": None,
            "next_action": None,
        }
        if intent["setup_future_usage"] and intent["customer"]:
            self._customers.attach(charge["payment_method"], intent["customer"])
        self._webhooks.emit("charge.succeeded", charge)
        self._webhooks.emit("payment_intent.succeeded", intent)

    def _refuse(self, intent: Thing, charge: Thing | None, error: Thing) -> None:
        intent |= {
            "status": "requires_payment_method",
            "last_payment_error": error,
            "next_action": None,
            "payment_method": None,
        }
        if charge is not None:
            charge |= {"status": "failed", "failure_code": error["code"]}
            charge["failure_message"] = error["message"]
            intent["latest_charge"] = charge["id"]
            self._webhooks.emit("charge.failed", charge)
        self._webhooks.emit("payment_intent.payment_failed", intent)


def _must_ask(card: Card, method: Thing) -> bool:
    """Return whether the cardholder has to authenticate: each time, or until the card is kept."""
    return card.asks == "always" or (card.asks == "kept" and method["customer"] is None)

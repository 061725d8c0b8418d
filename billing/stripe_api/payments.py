"""Payments, and what becomes of them: refunds, disputes, warnings of fraud."""

from datetime import UTC, datetime

import stripe

from billing.stripe_api.client import calling
from billing.stripe_api.objects import (
    Charge,
    Dispute,
    FraudWarning,
    PaymentIntent,
    Refund,
    id_of,
    metadata_of,
)

_AUTHENTICATION = "authentication_required"


def charge_card(
    *, order: str, customer_id: str, payment_method_id: str, amount_cents: int, title: str
) -> PaymentIntent:
    """Takes an order's amount from a kept card, its owner being away.

    The order's id is the idempotency key: asked again, it is the same payment. Raises
    CardRefusedError and the other kinds of StripeError.
    """
    with calling() as client:
        intent = client.v1.payment_intents.create(
            {
                "amount": amount_cents,
                "currency": "usd",
                "customer": customer_id,
                "payment_method": payment_method_id,
                "confirm": True,
                "off_session": True,
                "description": title,
                "metadata": {"order": order},
            },
            {"idempotency_key": f"order-{order}"},
        )
    return _intent(intent)


def get_payment_intent(payment_intent_id: str) -> PaymentIntent:
    """Returns a payment as it is now. Raises StripeError."""
    with calling() as client:
        return _intent(client.v1.payment_intents.retrieve(payment_intent_id))


def payments_of(customer_id: str, since: datetime) -> list[PaymentIntent]:
    """Returns the payments that were begun for a customer, the newest first. Raises StripeError.

    A list shows what is there at once, where Stripe's search is minutes behind.
    """
    with calling() as client:
        listed = client.v1.payment_intents.list(
            {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        return [_intent(each) for each in listed.auto_paging_iter()]


def cancel_payment_intent(payment_intent_id: str) -> PaymentIntent:
    """Ends a payment that has taken no money. Raises StripeError."""
    with calling() as client:
        return _intent(client.v1.payment_intents.cancel(payment_intent_id))


def get_charge(charge_id: str) -> Charge:
    """Returns a charge as it is now. Raises StripeError."""
    with calling() as client:
        charge = client.v1.charges.retrieve(charge_id)
    return Charge(
        id=charge.id,
        payment_intent_id=id_of(charge.payment_intent),
        receipt_url=charge.receipt_url or "",
    )


def create_refund(
    *, request: str, payment_intent_id: str, amount_cents: int, again: bool = False
) -> Refund:
    """Gives back a part of a payment; the request's id is the idempotency key.

    `again` has a second key, for when Stripe keeps a failure under the first and made no refund.
    Raises StripeError.
    """
    with calling() as client:
        return _refund(
            client.v1.refunds.create(
                {
                    "payment_intent": payment_intent_id,
                    "amount": amount_cents,
                    "metadata": {"refund": request},
                },
                {"idempotency_key": f"refund-{request}{'-again' if again else ''}"},
            )
        )


def get_refund(refund_id: str) -> Refund:
    """Returns a refund as it is now. Raises StripeError."""
    with calling() as client:
        return _refund(client.v1.refunds.retrieve(refund_id))


def refunds_of(payment_intent_id: str) -> list[Refund]:
    """Returns every refund of a payment. Raises StripeError."""
    with calling() as client:
        listed = client.v1.refunds.list({"payment_intent": payment_intent_id, "limit": 100})
        return [_refund(each) for each in listed.auto_paging_iter()]


def get_dispute(dispute_id: str) -> Dispute:
    """Returns a dispute as it is now. Raises StripeError."""
    with calling() as client:
        return _dispute(client.v1.disputes.retrieve(dispute_id))


def disputes_of(payment_intent_id: str) -> list[Dispute]:
    """Returns every dispute of a payment. Raises StripeError."""
    with calling() as client:
        listed = client.v1.disputes.list({"payment_intent": payment_intent_id, "limit": 100})
        return [_dispute(each) for each in listed.auto_paging_iter()]


def get_fraud_warning(warning_id: str) -> FraudWarning:
    """Returns an early fraud warning. Raises StripeError."""
    with calling() as client:
        warning = client.v1.radar.early_fraud_warnings.retrieve(warning_id)
        intent = id_of(warning.payment_intent)
        charge = id_of(warning.charge)
    return FraudWarning(
        id=warning.id,
        payment_intent_id=intent or get_charge(charge).payment_intent_id,
        fraud_type=warning.fraud_type,
    )


def _intent(intent: stripe.PaymentIntent) -> PaymentIntent:
    error = intent.last_payment_error
    return PaymentIntent(
        id=intent.id,
        status=intent.status,
        amount_cents=intent.amount,
        received_cents=intent.amount_received,
        currency=intent.currency,
        is_live=intent.livemode,
        customer_id=id_of(intent.customer),
        charge_id=id_of(intent.latest_charge),
        order=metadata_of(intent, "order"),
        failure=(error.message or error.code or "") if error else "",
        needs_authentication=intent.status == "requires_action"
        or _AUTHENTICATION in (getattr(error, "code", None), getattr(error, "decline_code", None)),
    )


def _refund(refund: stripe.Refund) -> Refund:
    return Refund(
        id=refund.id,
        payment_intent_id=id_of(refund.payment_intent),
        amount_cents=refund.amount,
        currency=refund.currency,
        status=refund.status or "",
        failure=getattr(refund, "failure_reason", None) or "",
        request=metadata_of(refund, "refund"),
        created_at=datetime.fromtimestamp(refund.created, UTC),
    )


def _dispute(dispute: stripe.Dispute) -> Dispute:
    moved = dispute.balance_transactions
    begun = dispute.created
    due = getattr(getattr(dispute, "evidence_details", None), "due_by", None)
    return Dispute(
        id=dispute.id,
        payment_intent_id=id_of(dispute.payment_intent),
        amount_cents=dispute.amount,
        reason=dispute.reason,
        status=dispute.status,
        moved_cents=tuple(transaction.amount for transaction in moved),
        at=datetime.fromtimestamp(min([each.created for each in moved], default=begun), UTC),
        evidence_due_at=datetime.fromtimestamp(due, UTC) if due else None,
    )

"""Payments (PaymentIntents), charges, refunds, disputes and early fraud warnings."""

from datetime import UTC, datetime

import stripe

from billing.stripe_api.client import stripe_client
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
    *, order_id: str, customer_id: str, payment_method_id: str, amount_cents: int, title: str
) -> PaymentIntent:
    """Charge a saved card for an order, off-session.

    The order's id is the idempotency key, so a repeated call returns the same payment. Raise
    CardDeclinedError and the other kinds of StripeError.
    """
    with stripe_client() as client:
        intent = client.v1.payment_intents.create(
            {
                "amount": amount_cents,
                "currency": "usd",
                "customer": customer_id,
                "payment_method": payment_method_id,
                "confirm": True,
                "off_session": True,
                "description": title,
                "metadata": {"order": order_id},
            },
            {"idempotency_key": f"order-{order_id}"},
        )
    return _intent(intent)


def get_payment_intent(payment_intent_id: str) -> PaymentIntent:
    """Return the payment's current state. Raise StripeError."""
    with stripe_client() as client:
        return _intent(client.v1.payment_intents.retrieve(payment_intent_id))


def payments_of(customer_id: str, since: datetime) -> list[PaymentIntent]:
    """Return a customer's payments created since then, newest first. Raise StripeError.

    Lists are consistent at once, whereas Stripe's search may lag by a minute or more
    (https://docs.stripe.com/search#data-freshness).
    """
    with stripe_client() as client:
        listed = client.v1.payment_intents.list(
            {"customer": customer_id, "created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        return [_intent(each) for each in listed.auto_paging_iter()]


def cancel_payment_intent(payment_intent_id: str) -> PaymentIntent:
    """Cancel a payment that has not succeeded. Raise StripeError."""
    with stripe_client() as client:
        return _intent(client.v1.payment_intents.cancel(payment_intent_id))


def get_charge(charge_id: str) -> Charge:
    """Return the charge's current state. Raise StripeError."""
    with stripe_client() as client:
        charge = client.v1.charges.retrieve(charge_id)
    return Charge(
        id=charge.id,
        payment_intent_id=id_of(charge.payment_intent),
        receipt_url=charge.receipt_url or "",
    )


def create_refund(
    *, local_id: str, payment_intent_id: str, amount_cents: int, has_new_key: bool = False
) -> Refund:
    """Refund a part of a payment; `local_id`, our row's id, is the idempotency key.

    `has_new_key` uses a second key, for when Stripe replays a failure stored for the first and made
    no refund. Raise StripeError.
    """
    with stripe_client() as client:
        return _refund(
            client.v1.refunds.create(
                {
                    "payment_intent": payment_intent_id,
                    "amount": amount_cents,
                    "metadata": {"refund": local_id},
                },
                {"idempotency_key": f"refund-{local_id}{'-again' if has_new_key else ''}"},
            )
        )


def get_refund(refund_id: str) -> Refund:
    """Return the refund's current state. Raise StripeError."""
    with stripe_client() as client:
        return _refund(client.v1.refunds.retrieve(refund_id))


def refunds_of(payment_intent_id: str) -> list[Refund]:
    """Return every refund of a payment. Raise StripeError."""
    with stripe_client() as client:
        listed = client.v1.refunds.list({"payment_intent": payment_intent_id, "limit": 100})
        return [_refund(each) for each in listed.auto_paging_iter()]


def get_dispute(dispute_id: str) -> Dispute:
    """Return the dispute's current state. Raise StripeError."""
    with stripe_client() as client:
        return _dispute(client.v1.disputes.retrieve(dispute_id))


def disputes_of(payment_intent_id: str) -> list[Dispute]:
    """Return every dispute of a payment. Raise StripeError."""
    with stripe_client() as client:
        listed = client.v1.disputes.list({"payment_intent": payment_intent_id, "limit": 100})
        return [_dispute(each) for each in listed.auto_paging_iter()]


def get_fraud_warning(warning_id: str) -> FraudWarning:
    """Return an early fraud warning. Raise StripeError."""
    with stripe_client() as client:
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
        order_id=metadata_of(intent, "order"),
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
        local_id=metadata_of(refund, "refund"),
        created_at=datetime.fromtimestamp(refund.created, UTC),
    )


def _dispute(dispute: stripe.Dispute) -> Dispute:
    moved = dispute.balance_transactions
    created = dispute.created
    due = getattr(getattr(dispute, "evidence_details", None), "due_by", None)
    return Dispute(
        id=dispute.id,
        payment_intent_id=id_of(dispute.payment_intent),
        amount_cents=dispute.amount,
        reason=dispute.reason,
        status=dispute.status,
        moved_cents=tuple(transaction.amount for transaction in moved),
        at=datetime.fromtimestamp(min([each.created for each in moved], default=created), UTC),
        evidence_due_at=datetime.fromtimestamp(due, UTC) if due else None,
    )

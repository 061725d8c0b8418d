"""What each type of Stripe's events makes us do: one function each.

A handler gets the id of the object that the event is about, asks Stripe how it stands, and books
that. It returns what it came to, in a few words for staff. It may be called again at any time.
"""

from collections.abc import Callable

from billing.models import PaymentCustomer
from billing.payments import customers, disputes, invoices, money_back, orders, subscriptions
from billing.stripe_api import checkout, payments
from billing.stripe_api.customers import owner_of


class NotOursError(Exception):
    """The event is about something that this service did not begin."""


def handle_checkout_session(session_id: str) -> str:
    """A session is over: paid, to be paid later, failed or expired."""
    session = checkout.get_session(session_id)
    if session.mode == "payment":
        order = orders.find_order(session.client_reference_id)
        if order is None:
            raise NotOursError("The session is of no order of ours.")
        order = orders.confirm_session(order, session)
        return f"Order {order.number} is {order.state}."
    if session.mode == "subscription":
        row = subscriptions.find_row(session.client_reference_id)
        if row is None:
            raise NotOursError("The session is of no subscription of ours.")
        row = subscriptions.confirm_session(row, session)
        return f"The subscription is {row.status}."
    if session.mode == "setup":
        return handle_customer(session.customer_id)
    raise NotOursError(f"Nothing is done about sessions to {session.mode}.")


def handle_payment_intent(payment_intent_id: str) -> str:
    """A payment succeeded or failed."""
    order = orders.order_of_payment(payment_intent_id)
    if order is None:
        raise NotOursError("The payment is of no order of ours.")
    return f"Order {order.number} is {order.state}."


def handle_subscription(subscription_id: str) -> str:
    """A subscription began, changed, paused or ended."""
    row = subscriptions.sync(subscription_id)
    if row is None:
        raise NotOursError("The subscription is none of ours.")
    return f"The subscription is {row.status}."


def handle_paid_invoice(invoice_id: str) -> str:
    """A month of a plan is paid, or the rest of one on a dearer plan."""
    payment = invoices.note_invoice(invoice_id)
    if payment is None:
        raise NotOursError("The invoice is of no subscription of ours.")
    return f"{payment.amount_cents} cents are booked."


def handle_failed_invoice(invoice_id: str) -> str:
    """A month of a plan could not be collected."""
    row = invoices.subscription_of(invoice_id)
    if row is None:
        raise NotOursError("The invoice is of no subscription of ours.")
    return f"The subscription is {row.status}."


def handle_refund(refund_id: str) -> str:
    """A refund was made, or went on."""
    return _catch_up(payments.get_refund(refund_id).payment_intent_id)


def handle_charge_refunded(charge_id: str) -> str:
    """A part of a charge was given back, or all of it."""
    return _catch_up(payments.get_charge(charge_id).payment_intent_id)


def handle_dispute(dispute_id: str) -> str:
    """A payment is disputed, or a dispute went on."""
    return _catch_up(payments.get_dispute(dispute_id).payment_intent_id)


def handle_fraud_warning(warning_id: str) -> str:
    """A card's issuer holds a payment for fraud."""
    found = payments.get_fraud_warning(warning_id)
    warning = disputes.note_fraud_warning(_payment_of(found.payment_intent_id), found)
    return f"{warning.payment} may be fraud."


def _catch_up(payment_intent_id: str) -> str:
    return money_back.catch_up(_payment_of(payment_intent_id))


def _payment_of(payment_intent_id: str) -> disputes.Payment:
    payment = money_back.payment_of(payment_intent_id)
    if payment is None:
        raise NotOursError("It is of no payment of ours.")
    return payment


def handle_customer(customer_id: str) -> str:
    """A customer changed, perhaps the card that pays for the team."""
    customer = customers.find_customer(customer_id)
    if customer is None:
        raise NotOursError("The customer is no team's.")
    customer = customers.refresh_card(customer)
    card = f"{customer.card_brand} {customer.card_last_four}".strip()
    return f"The team's card is {card or 'none'}."


def handle_payment_method(payment_method_id: str) -> str:
    """A card was kept or removed. A removed one has no owner any more, so we know it by its id."""
    owner = owner_of(payment_method_id)
    if not owner:
        kept = PaymentCustomer.objects.filter(payment_method_id=payment_method_id).first()
        owner = kept.stripe_id if kept else ""
    return handle_customer(owner)


HANDLERS: dict[str, Callable[[str], str]] = {
    "checkout.session.completed": handle_checkout_session,
    "checkout.session.async_payment_succeeded": handle_checkout_session,
    "checkout.session.async_payment_failed": handle_checkout_session,
    "checkout.session.expired": handle_checkout_session,
    "payment_intent.succeeded": handle_payment_intent,
    "payment_intent.payment_failed": handle_payment_intent,
    "customer.subscription.created": handle_subscription,
    "customer.subscription.updated": handle_subscription,
    "customer.subscription.deleted": handle_subscription,
    "customer.subscription.paused": handle_subscription,
    "customer.subscription.resumed": handle_subscription,
    "invoice.paid": handle_paid_invoice,
    "invoice.payment_failed": handle_failed_invoice,
    "refund.created": handle_refund,
    "refund.updated": handle_refund,
    "refund.failed": handle_refund,
    "charge.refunded": handle_charge_refunded,
    "charge.dispute.created": handle_dispute,
    "charge.dispute.updated": handle_dispute,
    "charge.dispute.funds_withdrawn": handle_dispute,
    "charge.dispute.funds_reinstated": handle_dispute,
    "charge.dispute.closed": handle_dispute,
    "radar.early_fraud_warning.created": handle_fraud_warning,
    "payment_method.attached": handle_payment_method,
    "payment_method.detached": handle_payment_method,
    "customer.updated": handle_customer,
}

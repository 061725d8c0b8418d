"""What each type of Stripe's events makes us do: one function each.

A handler gets the id of the object that the event is about, asks Stripe how it stands, and books
that. It returns what it came to, in a few words for staff. It may be called again at any time.
"""

from collections.abc import Callable

from billing.payments import orders
from billing.stripe_api import checkout


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
    raise NotOursError(f"Nothing is done about sessions to {session.mode}.")


def handle_payment_intent(payment_intent_id: str) -> str:
    """A payment succeeded or failed."""
    order = orders.order_of_payment(payment_intent_id)
    if order is None:
        raise NotOursError("The payment is of no order of ours.")
    return f"Order {order.number} is {order.state}."


HANDLERS: dict[str, Callable[[str], str]] = {
    "checkout.session.completed": handle_checkout_session,
    "checkout.session.async_payment_succeeded": handle_checkout_session,
    "checkout.session.async_payment_failed": handle_checkout_session,
    "checkout.session.expired": handle_checkout_session,
    "payment_intent.succeeded": handle_payment_intent,
    "payment_intent.payment_failed": handle_payment_intent,
}

"""How an order stands, for its buyer to read: asked of Stripe, and credited on the way if paid."""

from dataclasses import dataclass
from enum import StrEnum

from billing.models import Order
from billing.payments import orders
from billing.stripe_api import checkout, payments
from billing.stripe_api.client import StripeError


class Step(StrEnum):
    """Where an order is on its way."""

    PAID = "paid"
    PROCESSING = "processing"  # paid for as far as the buyer is concerned; the money is to come
    UNPAID = "unpaid"  # Stripe's page still waits for it
    FAILED = "failed"
    EXPIRED = "expired"
    UNDER_REVIEW = "under_review"  # another sum was paid than was asked for
    UNKNOWN = "unknown"  # Stripe does not answer


_ENDS = {
    Order.State.PAID: Step.PAID,
    Order.State.FAILED: Step.FAILED,
    Order.State.EXPIRED: Step.EXPIRED,
}


@dataclass(frozen=True)
class Standing:
    """An order and its step. `refusal` is why the last try to pay it came to nothing."""

    order: Order
    step: Step
    refusal: str = ""

    @property
    def may_change(self) -> bool:
        """Whether news may come by themselves, within minutes."""
        return self.step in {Step.PROCESSING, Step.UNKNOWN}

    @property
    def can_be_paid(self) -> bool:
        """Whether the buyer can go on to Stripe's page."""
        return self.step is Step.UNPAID


def standing_of(order: Order) -> Standing:
    """Asks Stripe how an order stands, and credits it if it is paid."""
    if order.state == Order.State.PAID:
        return Standing(order, Step.PAID)
    try:
        return _asked(order)
    except orders.PaymentMismatchError:
        return Standing(order, Step.UNDER_REVIEW)
    except StripeError:
        return recorded_standing_of(order)


def recorded_standing_of(order: Order) -> Standing:
    """Returns what is known without asking Stripe."""
    return Standing(order, _ENDS.get(Order.State(order.state), Step.UNKNOWN), order.failure)


def _asked(order: Order) -> Standing:
    if order.session_id is None:
        order = orders.confirm(order)
        if order.state == Order.State.OPEN:
            is_tried = order.payment_intent_id or order.origin == Order.Origin.AUTO_TOP_UP
            return Standing(order, Step.PROCESSING if is_tried else Step.UNPAID)
        return recorded_standing_of(order)
    session = checkout.get_session(order.session_id)
    order = orders.confirm_session(order, session)
    if order.state != Order.State.OPEN:
        return recorded_standing_of(order)
    if session.status != "open":
        return Standing(order, Step.PROCESSING)
    refusal = ""
    if session.payment_intent_id:
        refusal = payments.get_payment_intent(session.payment_intent_id).failure
    return Standing(order, Step.UNPAID, refusal)

"""Orders of credits: placed, paid through Checkout, credited once, and their status for buyers.

The row is written before Stripe is called. It credits the row's amount, after what Stripe says was
paid has been checked against it. A browser's return or a webhook is never proof of payment: both
only make us ask Stripe.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from accounts import audit
from accounts.access import Actor
from accounts.formats import dollars_text
from accounts.models import Team, User
from billing import events
from billing.errors import PaymentMismatchError, ReplayedFailureError, StripeBusyError, StripeError
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import AutoTopUp, Order
from billing.payments import auto_top_up_outcome, disputes
from billing.payments.customers import get_or_create_customer
from billing.pricing.money import (
    NANOS_PER_CENT,
    cents_text,
    dollars_short_text,
    nanos_from_dollars,
)
from billing.stripe_api import checkout, payments
from billing.stripe_api.objects import PaymentIntent, Session
from billing.stripe_settings import is_live

Problem = AutoTopUp.Problem

log = structlog.get_logger(__name__)

CHECK_AFTER = timedelta(minutes=5)
# A session expires after a day, and a delayed payment method may take two more weeks to settle.
CHECK_UNTIL = timedelta(days=21)
SESSION_LIFETIME = timedelta(hours=25)
# A double click finds the first one's call still in progress.
BUSY_RETRY_DELAYS_SECONDS = (0.2, 0.5, 1, 2)


class OrderError(Exception):
    """An order that can't be placed; the message is for the customer."""


class Step(StrEnum):
    """How far an order has got, for its buyer."""

    PAID = "paid"
    PROCESSING = "processing"  # the buyer is done, the money has not arrived yet
    UNPAID = "unpaid"  # Stripe's page is still open
    FAILED = "failed"
    EXPIRED = "expired"
    UNDER_REVIEW = "under_review"  # the amount paid is not the amount ordered
    UNKNOWN = "unknown"  # Stripe does not answer


_STEP_OF_STATE = {
    Order.State.PAID: Step.PAID,
    Order.State.FAILED: Step.FAILED,
    Order.State.EXPIRED: Step.EXPIRED,
}


@dataclass(frozen=True)
class OrderStatus:
    """An order and its step. `refusal` is why the last attempt to pay failed, if it did."""

    order: Order
    step: Step
    refusal: str = ""

    @property
    def may_change(self) -> bool:
        """Whether the step may change within minutes without the buyer's doing."""
        return self.step in {Step.PROCESSING, Step.UNKNOWN}


def amount_bounds_cents() -> tuple[int, int]:
    """Return the minimum and maximum amount of an order in cents."""
    return (
        nanos_from_dollars(settings.TOP_UP_MINIMUM_DOLLARS) // NANOS_PER_CENT,
        nanos_from_dollars(settings.TOP_UP_MAXIMUM_DOLLARS) // NANOS_PER_CENT,
    )


def require_amount(amount_cents: int) -> None:
    """Raise OrderError unless the amount is within the bounds."""
    least, most = amount_bounds_cents()
    if not least <= amount_cents <= most:
        bounds = [dollars_text(cents_text(cents).removesuffix(".00")) for cents in (least, most)]
        text = gettext("Choose an amount from {least} to {most}.")
        raise OrderError(text.format(least=bounds[0], most=bounds[1]))


def place(
    team: Team,
    user: User,
    amount_cents: int,
    order_id: uuid.UUID | None = None,
    *,
    ip_address: str | None = None,
) -> Order:
    """Create an order, or find the one with this id: a form sent twice is one order.

    Raise OrderError for an amount out of bounds, and for an id that is another team's order.
    """
    require_amount(amount_cents)
    credit_nanos = amount_cents * NANOS_PER_CENT
    with transaction.atomic():
        order, is_new = Order.objects.get_or_create(
            id=order_id or uuid.uuid4(),
            defaults={
                "team": team,
                "user": user,
                "amount_cents": amount_cents,
                "credit_nanos": credit_nanos,
                "is_live": is_live(),
            },
        )
        if is_new:
            detail = {"amount_dollars": dollars_short_text(credit_nanos)}
            actor = Actor(team=team, user=user)
            audit.record(
                actor, "credits.ordered", order.number, detail=detail, ip_address=ip_address
            )
    if (order.team_id, order.amount_cents) != (team.pk, amount_cents):
        text = gettext("This form was already submitted with another amount. Submit it again.")
        raise OrderError(text)
    return order


def has_checkout(order: Order) -> bool:
    """Return whether the order is one that its buyer pays on a Checkout page, and still unpaid."""
    return order.state == Order.State.OPEN and order.origin == Order.Origin.CHECKOUT


def open_checkout(order: Order, user: User, *, success_url: str, cancel_url: str) -> str:
    """Return the URL of the order's Checkout page, or "" if it can no longer be paid.

    Repeated calls return the same page. Raise StripeError.
    """
    for delay_seconds in BUSY_RETRY_DELAYS_SECONDS:
        try:
            return _open_checkout(order, user, success_url, cancel_url)
        except StripeBusyError:
            time.sleep(delay_seconds)
    return _open_checkout(order, user, success_url, cancel_url)


def status_of(order: Order) -> OrderStatus:
    """Ask Stripe for the order's status, and credit the order if it is paid."""
    if order.state == Order.State.PAID:
        return OrderStatus(order, Step.PAID)
    try:
        return _status_at_stripe(order)
    except PaymentMismatchError:
        return OrderStatus(order, Step.UNDER_REVIEW)
    except StripeError:
        return recorded_status_of(order)


def status_between_checks(order: Order) -> OrderStatus:
    """Return the recorded status, for a page that asks Stripe only now and then.

    An open order counts as being processed.
    """
    status = recorded_status_of(order)
    return OrderStatus(order, Step.PROCESSING) if status.step is Step.UNKNOWN else status


def recorded_status_of(order: Order) -> OrderStatus:
    """Return the status as far as our row has it, without asking Stripe."""
    step = _STEP_OF_STATE.get(Order.State(order.state), Step.UNKNOWN)
    return OrderStatus(order, step, order.failure)


def receipt_url(order: Order) -> str:
    """Return the URL of Stripe's receipt, or "" if there is none. Raise StripeError."""
    return payments.get_charge(order.charge_id).receipt_url if order.charge_id else ""


def confirm(order: Order) -> Order:
    """Ask Stripe about the order, credit it if it is paid, and return its current state.

    Raise StripeError, and PaymentMismatchError (after an alert) if what was paid differs.
    """
    order.refresh_from_db()
    if order.state == Order.State.PAID:
        return order
    if order.session_id:
        return confirm_session(order, checkout.get_session(order.session_id))
    if order.payment_intent_id:
        return confirm_payment(order, payments.get_payment_intent(order.payment_intent_id))
    return _expire_if_never_opened(order)


def confirm_session(order: Order, session: Session) -> Order:
    """Confirm an order by its session's current state. Raise the same errors as `confirm`."""
    if session.client_reference_id != str(order.pk):
        raise _mismatch(order, f"session {session.id} is of another order")
    if session.payment_status != "paid" and order.session_id not in {None, session.id}:
        return order  # a page that nobody was sent to, because Stripe's answer was lost
    if session.status == "expired":
        return _close(order, Order.State.EXPIRED, "Checkout was not completed in time.")
    if session.status != "complete" or not session.payment_intent_id:
        return order
    return confirm_payment(order, payments.get_payment_intent(session.payment_intent_id), session)


def confirm_payment(order: Order, intent: PaymentIntent, session: Session | None = None) -> Order:
    """Confirm an order by its payment's current state. Raise the same errors as `confirm`."""
    if intent.status == "processing":
        return order
    if intent.status != "succeeded":
        problem = Problem.AUTHENTICATION if intent.needs_authentication else Problem.DECLINED
        return fail(order, intent.failure or "The payment was not completed.", problem)
    subtotal = session.subtotal_cents if session else intent.amount_cents
    total = session.total_cents if session else intent.amount_cents
    found = (intent.order_id, intent.currency, intent.is_live, subtotal, intent.received_cents)
    if found != (str(order.pk), "usd", order.is_live, order.amount_cents, total):
        raise _mismatch(order, f"payment {intent.id} has {found}")
    order = _credit(order, intent, session, tax_cents=total - subtotal)
    if order.payment_intent_id != intent.id:
        detail = f"paid by {order.payment_intent_id}, and again by {intent.id}"
        raise _mismatch(order, detail, surplus=intent.id)
    return order


def order_of_payment(payment_intent_id: str) -> Order | None:
    """Return the order of a payment, confirmed first, or None if the payment is not ours.

    Refunds and disputes thus find their payment credited, in whatever order events arrive. Raise
    the same errors as `confirm`.
    """
    order = Order.objects.filter(payment_intent_id=payment_intent_id).first()
    if order is not None and order.state == Order.State.PAID:
        return order
    intent = payments.get_payment_intent(payment_intent_id)
    order = order or find_order(intent.order_id)
    if order is None:
        return None
    if order.origin == Order.Origin.CHECKOUT:
        session = checkout.session_of_payment(payment_intent_id)
        return confirm_session(order, session) if session else confirm(order)
    return confirm_payment(order, intent)


def fail(order: Order, reason: str, problem: Problem) -> Order:
    """Close an open order as failed, and return its current state.

    `problem` decides when auto top-up tries again.
    """
    return _close(order, Order.State.FAILED, reason, problem)


def find_order(text: str) -> Order | None:
    """Return the order with this id from outside, which may be no UUID."""
    try:
        return Order.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def orders_to_check() -> list[Order]:
    """Return the orders that have been open long enough for a webhook to have been lost."""
    now = timezone.now()
    found = Order.objects.filter(
        state=Order.State.OPEN,
        is_live=is_live(),
        created_at__lt=now - CHECK_AFTER,
        created_at__gt=now - CHECK_UNTIL,
    )
    return list(found.select_related("team").order_by("created_at"))


def _open_checkout(order: Order, user: User, success_url: str, cancel_url: str) -> str:
    order.refresh_from_db()
    if order.session_id:
        return checkout.get_session(order.session_id).url
    if order.state != Order.State.OPEN:
        return ""
    customer_id = get_or_create_customer(order.team, user).stripe_id
    session = _create_session(order, customer_id, success_url, cancel_url)
    failpoint("after_checkout_opened")
    if Order.objects.filter(pk=order.pk, session_id=None).update(session_id=session.id):
        return session.url
    order.refresh_from_db()
    return checkout.get_session(order.session_id or session.id).url


def _create_session(order: Order, customer_id: str, success_url: str, cancel_url: str) -> Session:
    """Create the order's session, or find the one created despite Stripe's reported failure."""
    create = partial(
        checkout.create_payment_session,
        order_id=str(order.pk),
        customer_id=customer_id,
        amount_cents=order.amount_cents,
        title="API credits",
        success_url=success_url,
        cancel_url=cancel_url,
    )
    try:
        return create()
    except ReplayedFailureError:
        found = checkout.find_session(order_id=str(order.pk), customer_id=customer_id)
        return found or create(retry=uuid.uuid4().hex)


def _status_at_stripe(order: Order) -> OrderStatus:
    if order.session_id is None:
        order = confirm(order)
        if order.state == Order.State.OPEN:
            is_started = order.payment_intent_id or order.origin == Order.Origin.AUTO_TOP_UP
            return OrderStatus(order, Step.PROCESSING if is_started else Step.UNPAID)
        return recorded_status_of(order)
    session = checkout.get_session(order.session_id)
    order = confirm_session(order, session)
    if order.state != Order.State.OPEN:
        return recorded_status_of(order)
    if session.status != "open":
        return OrderStatus(order, Step.PROCESSING)
    refusal = ""
    if session.payment_intent_id:
        refusal = payments.get_payment_intent(session.payment_intent_id).failure
    return OrderStatus(order, Step.UNPAID, refusal)


def _credit(
    order: Order, intent: PaymentIntent, session: Session | None, *, tax_cents: int
) -> Order:
    """Credit the order unless it is credited already."""
    account = postings.open_account(order.team)
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order.pk)
        if order.state == Order.State.PAID:
            return order
        order.state = Order.State.PAID
        order.payment_intent_id = intent.id
        order.charge_id = intent.charge_id or None
        order.session_id = session.id if session else order.session_id
        order.invoice_id = session.invoice_id if session else ""
        order.tax_cents = tax_cents
        order.failure = ""
        order.ended_at = timezone.now()
        order.save()
        postings.top_up(
            account, order.credit_nanos, reference=intent.id, memo=f"Order {order.number}"
        )
        auto_top_up_outcome.record_paid(order)
        events.publish_order_paid(order)
        failpoint("in_credit")
    log.info("order_paid", order=order.number, amount_cents=order.amount_cents)
    disputes.collect_debts(order.team)
    return order


def _expire_if_never_opened(order: Order) -> Order:
    """Expire an order without a session, once a session would have expired."""
    is_old = order.created_at < timezone.now() - SESSION_LIFETIME
    if order.origin == Order.Origin.CHECKOUT and is_old:
        return _close(order, Order.State.EXPIRED, "Checkout was never opened.")
    return order


def _close(order: Order, state: Order.State, reason: str, problem: Problem = Problem.NONE) -> Order:
    """Close an open order without payment, and record the outcome for auto top-up with it."""
    with transaction.atomic():
        closed = Order.objects.filter(pk=order.pk, state=Order.State.OPEN).update(
            state=state, failure=reason[:300], ended_at=timezone.now()
        )
        if closed:
            auto_top_up_outcome.record_failed(order, problem)
            if state == Order.State.FAILED:
                events.publish_order_failed(order, reason)
    order.refresh_from_db()
    return order


def _mismatch(order: Order, detail: str, surplus: str = "") -> PaymentMismatchError:
    """Raise the alert, and return the error.

    Alert once per order, and once more for every payment (`surplus`) beyond the credited one.
    """
    raise_alert("payment_mismatch", f"{order.pk} {surplus}".strip(), detail)
    return PaymentMismatchError(f"Order {order.number}: {detail}")

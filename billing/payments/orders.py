"""Orders of credits: placed, paid at Checkout, and credited once, whoever notices first.

A row is written before Stripe hears of the order. What it credits is the row's figure, after what
Stripe says was paid has been held against it. Nothing is credited because a browser or a webhook
says so: both only make us ask.
"""

import time
import uuid
from datetime import timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import AutoTopUp, Order
from billing.payments import auto_top_up_outcomes, debts
from billing.payments.customers import customer_of
from billing.pricing.money import (
    NANOS_PER_CENT,
    cents_text,
    dollars_short_text,
    nanos_from_dollars,
)
from billing.stripe_api import checkout, client, payments
from billing.stripe_api.objects import PaymentIntent, Session

Problem = AutoTopUp.Problem

log = structlog.get_logger(__name__)

FIRST_CHECK = timedelta(minutes=5)
SESSION_LIFE = timedelta(hours=25)
# A session lives for a day, and a slow payment method takes up to two weeks after it.
LAST_CHECK = timedelta(days=21)
# Who clicks twice is there a moment after themselves.
BUSY_PAUSES_SECONDS = (0.2, 0.5, 1, 2)


class OrderError(Exception):
    """An order that can't be placed; the message is for the customer."""


class PaymentMismatchError(Exception):
    """What was paid is not what the order asked for: a person has to look."""


def amount_bounds_cents() -> tuple[int, int]:
    """Returns the smallest and the largest amount of an order."""
    return (
        nanos_from_dollars(settings.TOP_UP_MINIMUM_DOLLARS) // NANOS_PER_CENT,
        nanos_from_dollars(settings.TOP_UP_MAXIMUM_DOLLARS) // NANOS_PER_CENT,
    )


def require_amount(amount_cents: int) -> None:
    """Raises OrderError for an amount that is not sold."""
    least, most = amount_bounds_cents()
    if not least <= amount_cents <= most:
        lower, upper = (cents_text(cents).removesuffix(".00") for cents in (least, most))
        raise OrderError(f"Credits are sold from {lower} to {upper}. Choose an amount between.")


def place(
    team: Team,
    user: User,
    amount_cents: int,
    order_id: uuid.UUID | None = None,
    *,
    ip_address: str | None = None,
) -> Order:
    """Writes an order down, or finds the one of that id: a form sent twice is one order.

    Raises OrderError for an amount that is not sold, and for an id that is somebody else's.
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
                "is_live": client.is_live(),
            },
        )
        if is_new:
            detail = {"amount_dollars": dollars_short_text(credit_nanos)}
            actor = Actor(team=team, user=user)
            audit.record(
                actor, "credits.ordered", order.number, detail=detail, ip_address=ip_address
            )
    if (order.team_id, order.amount_cents) != (team.pk, amount_cents):
        raise OrderError("This form was sent before with another amount. Send it again.")
    return order


def open_checkout(order: Order, user: User, *, success_url: str, cancel_url: str) -> str:
    """Returns the address of Stripe's page for the order; empty where it can't be paid any more.

    Asked twice it is the same page. Raises StripeError.
    """
    for pause_seconds in BUSY_PAUSES_SECONDS:
        try:
            return _open_checkout(order, user, success_url, cancel_url)
        except client.StripeBusyError:
            time.sleep(pause_seconds)
    return _open_checkout(order, user, success_url, cancel_url)


def _open_checkout(order: Order, user: User, success_url: str, cancel_url: str) -> str:
    order.refresh_from_db()
    if order.session_id:
        return checkout.get_session(order.session_id).url
    if order.state != Order.State.OPEN:
        return ""
    customer_id = customer_of(order.team, user).stripe_id
    session = _open_session(order, customer_id, success_url, cancel_url)
    failpoint("after_checkout_opened")
    if Order.objects.filter(pk=order.pk, session_id=None).update(session_id=session.id):
        return session.url
    order.refresh_from_db()
    return checkout.get_session(order.session_id or session.id).url


def confirm(order: Order) -> Order:
    """Asks Stripe how the order stands, credits it if it is paid, and returns it as it is then.

    Raises StripeError, and PaymentMismatchError (after an alert) where something else was paid.
    """
    order.refresh_from_db()
    if order.state == Order.State.PAID:
        return order
    if order.session_id:
        return confirm_session(order, checkout.get_session(order.session_id))
    if order.payment_intent_id:
        return confirm_payment(order, payments.get_payment_intent(order.payment_intent_id))
    return _end_if_never_opened(order)


def confirm_session(order: Order, session: Session) -> Order:
    """Confirms an order by its session, as Stripe has it now. Raises as confirm does."""
    if session.client_reference_id != str(order.pk):
        raise _mismatch(order, f"session {session.id} is of another order")
    if session.payment_status != "paid" and order.session_id not in {None, session.id}:
        return order  # a page that nobody was led to, Stripe having lost its answer
    if session.status == "expired":
        return _end(order, Order.State.EXPIRED, "Checkout was not finished in time.")
    if session.status != "complete" or not session.payment_intent_id:
        return order
    return confirm_payment(order, payments.get_payment_intent(session.payment_intent_id), session)


def confirm_payment(order: Order, intent: PaymentIntent, session: Session | None = None) -> Order:
    """Confirms an order by its payment, as Stripe has it now. Raises as confirm does."""
    if intent.status == "processing":
        return order
    if intent.status != "succeeded":
        problem = Problem.AUTHENTICATION if intent.needs_authentication else Problem.DECLINED
        return fail(order, intent.failure or "The payment was not completed.", problem)
    subtotal = session.subtotal_cents if session else intent.amount_cents
    total = session.total_cents if session else intent.amount_cents
    found = (intent.order, intent.currency, intent.is_live, subtotal, intent.received_cents)
    if found != (str(order.pk), "usd", order.is_live, order.amount_cents, total):
        raise _mismatch(order, f"payment {intent.id} has {found}")
    order = _credit(order, intent, session, tax_cents=total - subtotal)
    if order.payment_intent_id != intent.id:
        raise _mismatch(order, f"paid by {order.payment_intent_id}, and again by {intent.id}")
    return order


def order_of_payment(payment_intent_id: str) -> Order | None:
    """Returns the order that a payment is of, confirmed first; None: it is none of ours.

    So whatever befell a payment finds it credited, in whatever order the news comes. Raises as
    confirm does.
    """
    order = Order.objects.filter(payment_intent_id=payment_intent_id).first()
    if order is not None and order.state == Order.State.PAID:
        return order
    intent = payments.get_payment_intent(payment_intent_id)
    order = order or find_order(intent.order)
    if order is None:
        return None
    if order.origin == Order.Origin.CHECKOUT:
        session = checkout.session_of_payment(payment_intent_id)
        return confirm_session(order, session) if session else confirm(order)
    return confirm_payment(order, intent)


def fail(order: Order, why: str, problem: Problem) -> Order:
    """Ends an open order that was not paid, and returns it as it is then.

    `problem` is what an auto top-up does about it.
    """
    return _end(order, Order.State.FAILED, why, problem)


def find_order(text: str) -> Order | None:
    """Returns the order of an id that came from outside, if it is one."""
    try:
        return Order.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def open_orders() -> list[Order]:
    """Returns the orders whose webhook may have been lost: open for minutes, or for days."""
    now = timezone.now()
    found = Order.objects.filter(
        state=Order.State.OPEN,
        is_live=client.is_live(),
        created_at__lt=now - FIRST_CHECK,
        created_at__gt=now - LAST_CHECK,
    )
    return list(found.select_related("team").order_by("created_at"))


def _open_session(order: Order, customer_id: str, success_url: str, cancel_url: str) -> Session:
    """Opens the order's session, or finds the one that was opened though Stripe said it failed."""
    open_payment = partial(
        checkout.open_payment,
        order=str(order.pk),
        customer_id=customer_id,
        amount_cents=order.amount_cents,
        title="API credits",
        success_url=success_url,
        cancel_url=cancel_url,
    )
    try:
        return open_payment()
    except client.FailureKeptError:
        found = checkout.find_session(order=str(order.pk), customer_id=customer_id)
        return found or open_payment(retry=uuid.uuid4().hex)


def _credit(
    order: Order, intent: PaymentIntent, session: Session | None, *, tax_cents: int
) -> Order:
    """Credits the order, if nobody has yet."""
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
        auto_top_up_outcomes.note_paid(order)
        failpoint("in_credit")
    log.info("order_paid", order=order.number, amount_cents=order.amount_cents)
    debts.collect(order.team)
    return order


def _end_if_never_opened(order: Order) -> Order:
    """Ends an order that nobody was led to pay, once its page would have expired."""
    is_old = order.created_at < timezone.now() - SESSION_LIFE
    if order.origin == Order.Origin.CHECKOUT and is_old:
        return _end(order, Order.State.EXPIRED, "Checkout was never opened.")
    return order


def _end(order: Order, state: Order.State, why: str, problem: Problem = Problem.NONE) -> Order:
    """Ends an open order that came to nothing; what that means to auto top-up is noted with it."""
    with transaction.atomic():
        ended = Order.objects.filter(pk=order.pk, state=Order.State.OPEN).update(
            state=state, failure=why[:300], ended_at=timezone.now()
        )
        if ended:
            auto_top_up_outcomes.note_failed(order, problem)
    order.refresh_from_db()
    return order


def _mismatch(order: Order, what: str) -> PaymentMismatchError:
    """Raises the alarm, and returns the error."""
    raise_alert("payment_mismatch", str(order.pk), what)
    return PaymentMismatchError(f"Order {order.number}: {what}")

"""Refunds: requested by staff or made in Stripe's dashboard, and booked once either way.

The row and the ledger's debit are written before Stripe is called, so credits that are being
refunded can't be spent meanwhile. If Stripe rejects the refund, or it fails later, they return.
"""

import uuid
from datetime import timedelta
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from billing.errors import ReplayedFailureError, StripeError, StripeRejectedError
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import CreditAccount, Order, Refund, Transfer
from billing.payments.refundable_part import (
    OrderPart,
    part_of_amount,
    part_of_charge,
    refundable_part,
)
from billing.pricing.money import cents_text
from billing.stripe_api import payments
from billing.stripe_api.objects import Refund as StripeRefund
from billing.usage.lots import refundable_nanos

log = structlog.get_logger(__name__)

# Longer than the call right after the request may take; then another process retries.
RETRY_AFTER = timedelta(minutes=1)
DASHBOARD_REASON = "Made in Stripe's dashboard."

# A state is only ever followed by one of a higher rank, in whatever order events arrive.
_RANK = {
    Refund.State.REQUESTED: 0,
    Refund.State.PENDING: 1,
    Refund.State.SUCCEEDED: 2,
    Refund.State.FAILED: 3,
    Refund.State.CANCELED: 3,
}
# https://docs.stripe.com/api/refunds/object#refund_object-status
_STATE_OF_STATUS = {
    "pending": Refund.State.PENDING,
    "requires_action": Refund.State.PENDING,
    "succeeded": Refund.State.SUCCEEDED,
    "failed": Refund.State.FAILED,
    "canceled": Refund.State.CANCELED,
}


class RefundError(Exception):
    """A refund that can't be made; the message is for staff, `field` is the form's field."""

    def __init__(self, message: str, field: str = "amount") -> None:
        super().__init__(message)
        self.field = field


def request_refund(
    order: Order,
    amount_cents: int,
    *,
    reason: str,
    is_forced: bool,
    staff: User,
    refund_id: uuid.UUID | None = None,
) -> Refund:
    """Book a refund of `amount_cents` before tax, submit it to Stripe, and return its state.

    Tax is refunded in proportion. A forced refund may exceed the unspent credits; the operator
    bears the difference. `refund_id` makes a form that is sent twice one refund. If Stripe does not
    answer, the refund stays `requested` and is submitted again. Raise RefundError.
    """
    requested = Refund(
        id=refund_id or uuid.uuid4(),
        order=order,
        amount_cents=amount_cents,
        reason=reason.strip()[:300],
        is_forced=is_forced,
        requested_by=staff,
    )
    refund = _book(requested, staff)
    failpoint("after_refund_booked")
    return submit(refund)


def check_request(order: Order, amount_cents: int, *, reason: str) -> None:
    """Raise RefundError if a refund of that amount before tax can't be requested now."""
    _requested_part(order, Refund(order=order, amount_cents=amount_cents, reason=reason.strip()))


def submit(refund: Refund, *, is_retry: bool = False) -> Refund:
    """Submit a requested refund to Stripe, and return its current state.

    The row's id is the idempotency key. Stripe may forget keys after 24 hours, so a retry looks
    among the payment's refunds first.
    """
    if refund.state != Refund.State.REQUESTED:
        return refund
    try:
        found = _find_at_stripe(refund) if is_retry else None
        found = found or _create_at_stripe(refund)
    except StripeRejectedError as error:
        return _fail_rejected(refund, str(error))
    except StripeError as error:
        log.warning("refund_not_submitted", refund=str(refund.pk), error=str(error))
        return refund
    failpoint("after_refund_submitted")
    return record_refund(refund.order, found) or refund


def record_refund(order: Order, found: StripeRefund) -> Refund | None:
    """Update our row of a refund from Stripe, and book each of its effects once.

    A refund that we did not request takes its credits now, forced: the money has left. Return None
    (after an alert) if nothing of the order is left for it to take.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order.pk)
        refund = _row_of(order, found) or _book_dashboard_refund(order, found)
        if refund is None:
            return None
        state = _STATE_OF_STATUS.get(found.status, Refund.State.PENDING)
        refund.stripe_id = found.id
        if _RANK[state] > _RANK[Refund.State(refund.state)]:
            _advance(refund, state, found.failure)
        refund.save()
    return refund


def fail_requested(order: Order) -> None:
    """Fail the refunds that Stripe does not know yet: a disputed payment can't be refunded.

    The caller holds the order's lock, and fetched Stripe's refunds after the dispute.
    """
    for refund in order.refunds.filter(state=Refund.State.REQUESTED, stripe_id=None):
        _advance(refund, Refund.State.FAILED, "The payment was disputed first.")
        refund.save()


def refunds_to_submit() -> list[Refund]:
    """Return the refunds that Stripe has not answered for."""
    found = Refund.objects.filter(
        state=Refund.State.REQUESTED, created_at__lt=timezone.now() - RETRY_AFTER
    )
    return list(found.select_related("order").order_by("created_at"))


def unspent_cents(order: Order) -> int:
    """Return how much of an order can be refunded without force, in cents before tax."""
    account = CreditAccount.objects.filter(team=order.team).first()
    remaining = refundable_part(order)
    if account is None or not remaining.credit_nanos:
        return 0
    unspent_nanos = min(refundable_nanos(account), remaining.credit_nanos)
    return remaining.amount_cents * unspent_nanos // remaining.credit_nanos


def _book(refund: Refund, staff: User) -> Refund:
    """Create the row and debit its credits, or return the refund this form has already made."""
    account = postings.open_account(refund.order.team)
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=refund.order_id)
        earlier = Refund.objects.filter(pk=refund.pk).first()
        if earlier is not None:
            return _require_same(earlier, refund)
        _set_amounts(refund, _requested_part(order, refund))
        unspent = cents_text(unspent_cents(order))
        refund.save(force_insert=True)
        try:
            _debit(account, refund)
        except postings.InsufficientCreditsError:
            raise RefundError(
                f"Only {unspent} of this order is unspent. Refund at most that much, or force the "
                "refund: the spent part becomes a goodwill loss."
            ) from None
        detail = {
            "amount_cents": refund.amount_cents,
            "reason": refund.reason,
            "is_forced": refund.is_forced,
        }
        actor = audit.Staff(order.team, staff)
        audit.record(actor, "refund.requested", f"Order {order.number}", detail=detail)
    return refund


def _requested_part(order: Order, refund: Refund) -> OrderPart:
    """Return the part of the order that a request refunds. Raise RefundError."""
    if order.state != Order.State.PAID:
        raise RefundError("This order is not paid, so there is nothing to refund.")
    if not refund.reason:
        raise RefundError("Enter a reason. It is kept with the refund.", "reason")
    if order.disputes.filter(is_withdrawn=True, is_reinstated=False).exists():
        raise RefundError("This payment is disputed: Stripe has already withdrawn the funds.")
    remaining = refundable_part(order)
    if not 0 < refund.amount_cents <= remaining.amount_cents:
        raise RefundError(
            f"Enter an amount up to {cents_text(remaining.amount_cents)}, which is what has not "
            "been refunded yet."
        )
    return part_of_amount(remaining, refund.amount_cents)


def _require_same(earlier: Refund, refund: Refund) -> Refund:
    if (earlier.order_id, earlier.amount_cents) != (refund.order_id, refund.amount_cents):
        raise RefundError("This form was already submitted with another amount. Reload the page.")
    return earlier


def _book_dashboard_refund(order: Order, found: StripeRefund) -> Refund | None:
    """Book a refund that was made in Stripe's dashboard."""
    part = part_of_charge(order, found.amount_cents)
    if part.credit_nanos == 0:
        detail = f"{found.id} of Order {order.number}, which is already refunded in full"
        raise_alert("refund_of_nothing", found.id, detail)
        return None
    refund = Refund(order=order, reason=DASHBOARD_REASON, is_forced=True)
    _set_amounts(refund, part)
    refund.save(force_insert=True)
    _debit(postings.open_account(order.team), refund)
    return refund


def _set_amounts(refund: Refund, part: OrderPart) -> None:
    refund.amount_cents = part.amount_cents
    refund.tax_cents = part.tax_cents
    refund.credit_nanos = part.credit_nanos


def _debit(account: CreditAccount, refund: Refund) -> None:
    postings.refund(
        account,
        refund.credit_nanos,
        reference=str(refund.pk),
        credit=postings.Credit(Transfer.Kind.TOP_UP, refund.order.payment_intent_id or ""),
        is_forced=refund.is_forced,
        memo=f"Order {refund.order.number}",
    )


def _row_of(order: Order, found: StripeRefund) -> Refund | None:
    """Return our row of a refund, by Stripe's id or by our id in the refund's metadata."""
    known = order.refunds.filter(stripe_id=found.id).first()
    if known is not None:
        return known
    for refund in order.refunds.filter(stripe_id=None):
        cents = refund.amount_cents + refund.tax_cents
        if (str(refund.pk), cents) == (found.local_id, found.amount_cents):
            return refund
    return None


def _create_at_stripe(refund: Refund) -> StripeRefund:
    """Create a refund at Stripe, or find the one created despite Stripe's reported failure."""
    create = partial(
        payments.create_refund,
        local_id=str(refund.pk),
        payment_intent_id=refund.order.payment_intent_id or "",
        amount_cents=refund.amount_cents + refund.tax_cents,
    )
    try:
        return create()
    except ReplayedFailureError:
        return _find_at_stripe(refund) or create(has_new_key=True)


def _find_at_stripe(refund: Refund) -> StripeRefund | None:
    listed = payments.refunds_of(refund.order.payment_intent_id or "")
    return next((each for each in listed if each.local_id == str(refund.pk)), None)


def _fail_rejected(refund: Refund, reason: str) -> Refund:
    """Fail a refund that Stripe rejected."""
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=refund.order_id)
        refund = Refund.objects.select_related("order__team").get(pk=refund.pk)
        if refund.state == Refund.State.REQUESTED and refund.stripe_id is None:
            _advance(refund, Refund.State.FAILED, reason)
            refund.save()
    return refund


def _advance(refund: Refund, state: Refund.State, error: str) -> None:
    """Advance a refund to a state; a failed or canceled one returns its credits."""
    refund.state = state
    if state == Refund.State.PENDING:
        return
    refund.ended_at = timezone.now()
    if _RANK[state] == _RANK[Refund.State.FAILED]:
        refund.error = error[:300]
        order = refund.order
        account = postings.open_account(order.team)
        postings.reverse_refund(account, reference=str(refund.pk), memo=f"Order {order.number}")
        log.warning("refund_failed", refund=str(refund.pk), error=error)
